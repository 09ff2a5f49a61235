"""A profile of a run that is still going, at almost no cost.

Only what was appended is read, only the latest steps are kept, and they are judged once a minute
at most.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import replace
from pathlib import Path
from time import monotonic

from pytest_prime_train.metrics import RunMetrics, Tail
from pytest_prime_train.metrics.rows import PackedRow
from pytest_prime_train.metrics.tail import HISTORY_FILE, metrics_files
from pytest_prime_train.profiler.api import profile_of
from pytest_prime_train.profiler.context import find_context
from pytest_prime_train.profiler.diagnosis import Diagnosis
from pytest_prime_train.profiler.evidence import WANTED
from pytest_prime_train.profiler.idle import Price
from pytest_prime_train.profiler.thresholds import DEFAULTS, Thresholds

MOST_ROWS = 2_000
"""Rows that are kept: some hundred steps of both writers."""

JUDGE_EVERY_S = 60.0


class LiveProfile:
    """Follows a run.

    Nothing here raises for what a run writes; where nothing can be said the answers are empty.
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        *,
        gpus: int | None = None,
        usd_per_gpu_hour: float | None = None,
        thresholds: Thresholds = DEFAULTS,
    ) -> None:
        """Args:
        run: The run's directory, or its metrics.jsonl; neither need exist yet.
        gpus: All GPUs of the run, where its configs do not say.
        usd_per_gpu_hour: Price of one.
        thresholds: Where judgements turn.
        """
        self._path = Path(run)
        folder = self._path.parent if self._path.suffix == ".jsonl" else self._path
        files = [*metrics_files(self._path), folder / HISTORY_FILE]
        self._tails = [Tail(file, wanted=WANTED) for file in files]
        self._rows: deque[PackedRow] = deque(maxlen=MOST_ROWS)
        self._gpus = gpus
        self._price = None if usd_per_gpu_hour is None else Price(usd_per_gpu_hour, "as given")
        self._thresholds = thresholds
        self._has_news = False
        self._judged_at = float("-inf")
        self._diagnosis: Diagnosis | None = None
        self._warning = ""

    def poll(self, *, now: bool = False) -> bool:
        """Read what is new.

        Args:
            now: Judge at once, however short ago that was.

        Returns:
            Whether there was anything new.
        """
        found = False
        for tail in self._tails[:-1]:
            rows = tail.poll_packed()
            self._rows.extend(rows)
            found = found or bool(rows)
        # Of W&B's history only what metrics.jsonl does not have.
        for row in self._tails[-1].poll_packed():
            if row.shape.source == "gauges":
                self._rows.append(row)
        self._has_news = self._has_news or found
        due = now or monotonic() - self._judged_at >= JUDGE_EVERY_S
        if self._has_news and due:
            self._judge()
        return found

    def diagnosis(self) -> Diagnosis | None:
        """What the latest steps show; ``None`` before there are enough."""
        return self._diagnosis

    def line(self) -> str:
        """One line for a summary; empty before there are enough steps."""
        diagnosis = self._diagnosis
        if diagnosis is None:
            return ""
        wait = diagnosis.shares.get("wait_for_batch", 0.0)
        hold = diagnosis.shares.get("wait_for_policy", 0.0)
        parts = [f"{diagnosis.step_seconds:.0f} s a step"]
        if wait >= 0.05:
            parts.append(f"the trainer waits {100 * wait:.0f} % of it for batches")
        elif hold >= 0.05:
            parts.append(f"the engines wait about {60 * min(hold, 1.6):.0f} % for the trainer")
        return f"profile: {diagnosis.verdict}, {', '.join(parts)}"

    def warning(self) -> str:
        """A sentence while GPUs idle, with what would help; the same until that changes."""
        return self._warning

    def _judge(self) -> None:
        self._has_news = False
        self._judged_at = monotonic()
        run = RunMetrics()
        run.add(self._rows)
        context = find_context(str(self._path))
        if self._gpus is not None and context.train_gpus != context.train_gpus:
            context = replace(context, train_gpus=self._gpus / 2, infer_gpus=self._gpus / 2)
        found = profile_of(run, context, str(self._path), self._price, self._thresholds)
        if not found.diagnosis.steps_used >= self._thresholds.min_steps:
            return
        self._diagnosis = found.diagnosis
        self._warning = self._warn(found.evidence.wait, found.evidence.producer_idle)

    def _warn(self, wait: float, idle: float) -> str:
        diagnosis = self._diagnosis
        limit = self._thresholds.idle_warning
        if diagnosis is None or not (wait > limit or idle > limit):
            return ""
        who, share, whose = (
            ("the trainer's", wait, "batches")
            if wait > limit
            else ("the engines'", idle, "weights")
        )
        cure = next(
            (
                f"; {remedy.key} = {remedy.value} may help"
                for remedy in diagnosis.remedies
                if remedy.value is not None
            ),
            "",
        )
        # To the nearest ten, so that the sentence does not change with every step.
        return (
            f"{who} GPUs stand still about {round(10 * share) * 10} % of the time, waiting for "
            f"{whose} ({diagnosis.verdict}){cure}"
        )
