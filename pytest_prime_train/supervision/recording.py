"""What a supervised run tells whoever keeps its history."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol


class RunStart(NamedTuple):
    """A run as it is launched.

    Attributes:
        run: Id of the run.
        run_dir: Its directory.
        configs: The files of the launch, in order.
        overrides: Arguments of prime-rl behind them.
        command: The whole command, without what differs between attempts.
        root: Program of prime-rl.
        version: Version of prime-rl that judged it.
        commit: Commit of prime-rl where it is known; empty otherwise.
        findings: Findings of the pre-flight, as ``prime-train validate --format json`` has them.
        data: What the files and overrides make, as data.
        is_spot: Whether the machine can be taken away at any time.
    """

    run: str
    run_dir: Path
    configs: tuple[str, ...]
    overrides: tuple[str, ...]
    command: tuple[str, ...]
    root: str
    version: str
    commit: str
    findings: tuple[Mapping[str, object], ...]
    data: Mapping[str, object]
    is_spot: bool = False


class AttemptEnd(NamedTuple):
    """How one launch of prime-rl ended.

    Attributes:
        number: From 1.
        first_step: Step that it resumed from; 0 for a fresh start.
        last_step: Last step that it reached.
        seconds: How long it ran.
        cause: Class of failure; ``finished`` for none.
        detail: The line that told, without secrets.
        exit_code: Of the launcher; ``None`` where the runner ended it.
    """

    number: int
    first_step: int
    last_step: int
    seconds: float
    cause: str
    detail: str
    exit_code: int | None


class RunEnd(NamedTuple):
    """How a supervised run ended.

    Attributes:
        code: Exit code of the runner.
        outcome: The same in a word.
        last_step: Last step that was reached.
        lost_steps: Steps that were done more than once.
        cost_usd: What it cost; ``None`` where no price was given.
        seconds: From the first launch on.
    """

    code: int
    outcome: str
    last_step: int
    lost_steps: int
    cost_usd: float | None
    seconds: float


class Recorder(Protocol):
    """Keeps what happens; no method raises, because a run must not fail for its history."""

    def run_started(self, start: RunStart) -> None:
        """A run is about to be launched for the first time by this process."""

    def attempt_started(self, number: int, resume_step: int | None) -> None:
        """prime-rl is about to be launched; ``None`` for a fresh start."""

    def attempt_ended(self, end: AttemptEnd) -> None:
        """A launch of prime-rl has ended."""

    def checkpoint(self, step: int, state: str) -> None:
        """A step is ``complete`` on this machine, or ``backed-up`` in the store."""

    def run_ended(self, end: RunEnd) -> None:
        """The runner is about to exit."""


class NoRecorder:
    """Keeps nothing."""

    def run_started(self, start: RunStart) -> None:
        """Nothing is kept."""

    def attempt_started(self, number: int, resume_step: int | None) -> None:
        """Nothing is kept."""

    def attempt_ended(self, end: AttemptEnd) -> None:
        """Nothing is kept."""

    def checkpoint(self, step: int, state: str) -> None:
        """Nothing is kept."""

    def run_ended(self, end: RunEnd) -> None:
        """Nothing is kept."""
