"""Keeping what the runner tells; a run never fails for its history."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from pytest_prime_train.findings import UsageError
from pytest_prime_train.history.database import opened, transaction
from pytest_prime_train.history.entries import Draft, add, now
from pytest_prime_train.report.secrets import mask_all
from pytest_prime_train.supervision.recording import AttemptEnd, RunEnd, RunStart


class HistoryRecorder:
    """Keeps a run in the history of this machine.

    Args:
        path: The database; ``None`` for the user's own.
        complain: Told once why nothing can be kept.
    """

    def __init__(self, path: Path | None = None, complain: Callable[[str], None] | None = None):
        self._path = path
        self._complain = complain or _to_standard_error
        self._entry: int | None = None
        self._is_broken = False

    def _keep(self, work: Callable[[sqlite3.Connection], None]) -> None:
        if self._is_broken:
            return
        try:
            with opened(self._path) as connection:
                work(connection)
        except (UsageError, OSError, sqlite3.Error) as error:
            self._is_broken = True
            self._complain(f"this run is not kept in the history: {error}")

    def run_started(self, start: RunStart) -> None:
        """Keep the config of a run."""
        import psutil

        pid = os.getpid()
        draft = Draft(
            kind="launched",
            files=start.configs,
            root=start.root,
            version=start.version,
            data=start.data,
            run=start.run,
            run_dir=str(start.run_dir),
            prime_rl_commit=start.commit,
            overrides=start.overrides,
            command=start.command,
            findings=start.findings,
            tags=("spot",) if start.is_spot else (),
            pid=pid,
            pid_started=psutil.Process(pid).create_time(),
        )

        def work(connection: sqlite3.Connection) -> None:
            self._entry = add(connection, draft)

        self._keep(work)

    def _write(self, query: str, *values: object) -> None:
        if self._entry is None:
            return

        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.execute(query, values)

        self._keep(work)

    def attempt_started(self, number: int, resume_step: int | None) -> None:
        """Keep that prime-rl is launched."""
        self._write(
            "INSERT OR REPLACE INTO attempts (entry, number, started, resume_step) "
            "VALUES (?, ?, ?, ?)",
            self._entry, number, now(), resume_step,
        )  # fmt: skip

    def attempt_ended(self, end: AttemptEnd) -> None:
        """Keep how a launch ended."""
        self._write(
            "UPDATE attempts SET ended = ?, last_step = ?, seconds = ?, cause = ?, detail = ?, "
            "code = ? WHERE entry = ? AND number = ?",
            now(), end.last_step, end.seconds, end.cause, mask_all(end.detail), end.exit_code,
            self._entry, end.number,
        )  # fmt: skip

    def checkpoint(self, step: int, state: str) -> None:
        """Keep that a step is complete, or backed up."""
        self._write(
            "INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?)", self._entry, step, state, now()
        )

    def run_ended(self, end: RunEnd) -> None:
        """Keep how the run ended."""
        self._write(
            "UPDATE entries SET ended = ?, code = ?, outcome = ?, last_step = ?, lost_steps = ?, "
            "cost_usd = ?, seconds = ? WHERE id = ?",
            now(), end.code, end.outcome, end.last_step, end.lost_steps, end.cost_usd,
            end.seconds, self._entry,
        )  # fmt: skip


def _to_standard_error(sentence: str) -> None:
    from pytest_prime_train.report.console import complain

    complain("prime-train", sentence) if sys.stderr is not None else None
