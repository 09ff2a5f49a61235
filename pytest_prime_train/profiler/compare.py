"""Two runs: what changed, and whether that is more than noise.

Steps of one run depend on each other, so a run is cut into blocks whose means are taken as
independent (batch means); the interval is Welch's on the logarithm of the ratio of the two means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any

from pytest_prime_train.profiler.api import Profile
from pytest_prime_train.profiler.diagnosis import Diagnosis, rounded
from pytest_prime_train.profiler.evidence import Evidence, step_times

MOST_BLOCKS = 20
STEPS_PER_BLOCK = 3
_T_99 = {
    2: 9.925, 3: 5.841, 4: 4.604, 5: 4.032, 6: 3.707, 7: 3.499, 8: 3.355, 9: 3.25, 10: 3.169,
    12: 3.055, 14: 2.977, 16: 2.921, 18: 2.878, 20: 2.845, 25: 2.787, 30: 2.75, 40: 2.704,
}  # fmt: skip
"""Student's 99.5th percentile by degrees of freedom, from any table of it."""


@dataclass(frozen=True, slots=True)
class Change:
    """How one number differs.

    Attributes:
        name: What it is, with its unit.
        a: Its mean in the first run.
        b: Its mean in the second.
        change: b / a - 1; ``None`` where a is 0.
        low: Lower end of the 99 % interval of the change; ``None`` where it cannot be told.
        high: Its upper end.
    """

    name: str
    a: float
    b: float
    change: float | None
    low: float | None
    high: float | None

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out no change at all."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def as_json(self) -> dict[str, Any]:
        """The stable form."""
        return {
            "name": self.name,
            "a": rounded(self.a, 6),
            "b": rounded(self.b, 6),
            "change": rounded(self.change),
            "low": rounded(self.low),
            "high": rounded(self.high),
            "significant": self.significant,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs beside each other.

    Attributes:
        a: Diagnosis of the first.
        b: Diagnosis of the second.
        changes: How their numbers differ.
    """

    a: Diagnosis
    b: Diagnosis
    changes: tuple[Change, ...]

    def as_json(self) -> dict[str, Any]:
        """The stable document of ``prime-train profile A B --format json``."""
        return {
            "a": self.a.as_json(),
            "b": self.b.as_json(),
            "verdict_changed": self.a.verdict != self.b.verdict,
            "changes": [change.as_json() for change in self.changes],
        }


def compare(a: Profile, b: Profile) -> Comparison:
    """Compare two runs."""
    changes = []
    for name, series in _SERIES:
        change = compare_series(name, series(a.evidence), series(b.evidence))
        if change is not None:
            changes.append(change)
    return Comparison(a.diagnosis, b.diagnosis, tuple(changes))


def compare_series(name: str, a: Sequence[float], b: Sequence[float]) -> Change | None:
    """Compare two series of steps; ``None`` where one has nothing."""
    first, second = _known(a), _known(b)
    if not first or not second:
        return None
    mean_a, mean_b = sum(first) / len(first), sum(second) / len(second)
    if not mean_a and not mean_b:
        return None
    change = mean_b / mean_a - 1 if mean_a else None
    low, high = _interval(first, second)
    return Change(name, mean_a, mean_b, change, low, high)


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if value == value]


def _interval(a: Sequence[float], b: Sequence[float]) -> tuple[float | None, float | None]:
    first, second = _log_mean(a), _log_mean(b)
    if first is None or second is None:
        return None, None
    log_a, error_a, free_a = first
    log_b, error_b, free_b = second
    error = sqrt(error_a**2 + error_b**2)
    if error == 0:
        return exp(log_b - log_a) - 1, exp(log_b - log_a) - 1
    free = error**4 / (error_a**4 / free_a + error_b**4 / free_b)
    margin = _student(free) * error
    return exp(log_b - log_a - margin) - 1, exp(log_b - log_a + margin) - 1


def _log_mean(values: Sequence[float]) -> tuple[float, float, int] | None:
    """Logarithm of the mean, its standard error, and the degrees of freedom."""
    blocks = min(MOST_BLOCKS, len(values) // STEPS_PER_BLOCK)
    mean = sum(values) / len(values)
    if blocks < 3 or mean <= 0:
        return None
    means = []
    for number in range(blocks):
        part = values[number * len(values) // blocks : (number + 1) * len(values) // blocks]
        means.append(sum(part) / len(part))
    middle = sum(means) / blocks
    spread = sqrt(sum((value - middle) ** 2 for value in means) / (blocks - 1))
    return log(mean), spread / sqrt(blocks) / mean, blocks - 1


def _student(free: float) -> float:
    return next((value for known, value in _T_99.items() if free <= known + 0.5), 2.576)


def _per_step(name: str) -> Callable[[Evidence], Sequence[float]]:
    return lambda evidence: evidence.trainer.values(name)


def _per_batch(name: str) -> Callable[[Evidence], Sequence[float]]:
    return lambda evidence: evidence.orchestrator.values(name)


_SERIES: tuple[tuple[str, Callable[[Evidence], Sequence[float]]], ...] = (
    ("step_seconds", lambda evidence: step_times(evidence.trainer)),
    ("wait_for_batch_seconds", _per_step("time/wait_for_batch")),
    ("forward_backward_seconds", _per_step("time/forward_backward")),
    ("broadcast_weights_seconds", _per_step("time/broadcast_weights")),
    ("load_data_seconds", _per_step("time/load_data")),
    ("save_ckpt_seconds", _per_step("time/save_ckpt")),
    ("trainer_tokens_per_second", _per_step("perf/throughput")),
    ("wait_for_policy_seconds", _per_batch("time/wait_for_policy")),
    ("tokens_per_batch", _per_batch("progress/tokens")),
    ("off_policy_mean", _per_batch("off_policy/mean")),
    ("error_share", _per_batch("train/agg/all/has_error/mean")),
)
