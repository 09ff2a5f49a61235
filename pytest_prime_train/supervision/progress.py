"""How far a run is: from its metrics, and from its logs where a version keeps none.

A log that grows is no progress: prime-rl writes a line about its queue every few seconds, also
while nothing moves. Only a step that was not there before is.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from pytest_prime_train.metrics import RunTail

_WANTED = ("time/step", "time/wait_for", "perf/throughput", "progress/tokens", "reward/", "train/")
_STEP_LINE = re.compile(rb"\bStep (\d{1,9}) \|")
_REWARD = re.compile(r"(?:^|/)reward/(?:all/)?mean$")
_LOG_NAMES = ("trainer", "orchestrator")
_LEAST_HANG_S = 600.0
_FIRST_STEP_S = 3600.0
_STEPS_LONG = 5.0
_KEPT = 50
_CHUNK = 1 << 20


class Progress:
    """Follows one run over all of its attempts.

    Attributes:
        trainer_step: Newest step that the trainer has finished; -1 before the first.
        orchestrator_step: Newest batch that the orchestrator has shipped; -1 likewise.
        throughput: Tokens per second of the trainer in its newest step; ``None`` if unknown.
        reward: Mean reward of the newest batch; ``None`` if unknown.
        steps_seen: Steps in this attempt.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._tail = RunTail(run_dir, wanted=_WANTED)
        self._logs: dict[Path, int] = {}
        self.trainer_step = self.orchestrator_step = -1
        self.throughput: float | None = None
        self.reward: float | None = None
        self.steps_seen = 0
        self._moved_at = time.monotonic()
        self._durations: deque[float] = deque(maxlen=_KEPT)
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """Forget what earlier attempts have written."""
        self._tail.poll()
        self._read_logs()
        self.steps_seen = 0
        self.trainer_step = self.orchestrator_step = -1
        self._moved_at = time.monotonic()

    def poll(self) -> bool:
        """Read what is new; whether a step is."""
        before = (self.trainer_step, self.orchestrator_step)
        for row in self._tail.poll():
            if row.step is None or row.source not in ("trainer", "orchestrator"):
                continue
            if row.source == "trainer":
                self.trainer_step = max(self.trainer_step, row.step)
                self.throughput = row.values.get("perf/throughput", self.throughput)
            else:
                self.orchestrator_step = max(self.orchestrator_step, row.step)
                self.reward = _reward(row.values, self.reward)
        for name, step in self._read_logs():
            if name == "trainer":
                self.trainer_step = max(self.trainer_step, step)
            else:
                self.orchestrator_step = max(self.orchestrator_step, step)
        moved = (self.trainer_step, self.orchestrator_step) != before
        if moved:
            now = time.monotonic()
            if self.trainer_step > before[0] >= 0:
                self._durations.append((now - self._moved_at) / (self.trainer_step - before[0]))
            if self.trainer_step > before[0]:
                self.steps_seen += 1
            self._moved_at = now
        return moved

    @property
    def step(self) -> int:
        """Newest step that any part has finished; -1 before the first."""
        return max(self.trainer_step, self.orchestrator_step)

    def stuck_s(self) -> float:
        """Seconds since a step was finished, or since the attempt began."""
        return time.monotonic() - self._moved_at

    def step_s(self) -> float | None:
        """Median seconds of a step; ``None`` before the second."""
        return statistics.median(self._durations) if self._durations else None

    def patience_s(self) -> float:
        """Seconds without a step after which a run hangs.

        The first step has an hour, because models are downloaded and compiled before it. Later
        ones have ten minutes, or five times the median step where that is longer.
        """
        if self.step < 0:
            return _FIRST_STEP_S
        return max(_LEAST_HANG_S, _STEPS_LONG * (self.step_s() or 0.0))

    def _read_logs(self) -> list[tuple[str, int]]:
        """Steps that were told of in the logs since the last call."""
        found: list[tuple[str, int]] = []
        for folder in (self._run_dir / "logs" / "latest", self._run_dir / "logs"):
            for name in _LOG_NAMES:
                for suffix in (".log", ".stdout"):
                    for step in self._new_steps(folder / f"{name}{suffix}"):
                        found.append((name, step))
        return found

    def _new_steps(self, path: Path) -> list[int]:
        with suppress(OSError):
            path = path.resolve()
            size = path.stat().st_size
            known = self._logs.get(path, 0)
            offset = known if known <= size else 0
            if size == offset:
                return []
            with path.open("rb") as file:
                file.seek(max(offset, size - _CHUNK))
                text = file.read(_CHUNK)
            # The last line waits until it is whole.
            whole = text.rfind(b"\n") + 1
            self._logs[path] = max(offset, size - _CHUNK) + whole
            return [int(step) for step in _STEP_LINE.findall(text[:whole])]
        return []


def _reward(values: dict[str, float], otherwise: float | None) -> float | None:
    names = [name for name in values if _REWARD.search(name)]
    if not names:
        return otherwise
    # The mean over all environments has the shortest name.
    return values[min(names, key=lambda name: (len(name), name))]
