"""Which steps count: those of live attempts after the warm-up, with the evaluations told apart."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import isnan, nan
from typing import NamedTuple

from pytest_prime_train.metrics import RunMetrics, Table
from pytest_prime_train.profiler.thresholds import Thresholds


class Steady(NamedTuple):
    """Steady steps of one writer.

    Attributes:
        table: All its records.
        indexes: The records that count, in the order of writing.
    """

    table: Table
    indexes: list[int]

    def __len__(self) -> int:
        return len(self.indexes)

    def values(self, name: str) -> array[float]:
        """A column at the steps that count; NaN where there is no value."""
        column = self.table.column(name)
        return array("d", [column[index] for index in self.indexes])

    def total(self, name: str) -> float:
        """Sum over the steps that count; 0 without any value."""
        return sum(value for value in self.values(name) if value == value)

    def mean(self, name: str, weights: Sequence[float] | None = None) -> float:
        """Mean over the steps that have a value; NaN where none has."""
        return weighted_mean(self.values(name), weights)

    def halves(self) -> tuple[Steady, Steady]:
        """The earlier and the later half."""
        middle = len(self.indexes) // 2
        return (
            Steady(self.table, self.indexes[:middle]),
            Steady(self.table, self.indexes[middle:]),
        )


def steady_steps(table: Table, marker: str, thresholds: Thresholds) -> Steady:
    """Choose the steps of a writer.

    Args:
        table: Its records.
        marker: Name that a record needs to count; without it only the rest of a torn step is there.
        thresholds: How many steps of an attempt are its warm-up.
    """
    times = table.column(marker)
    seen: dict[int, int] = {}
    chosen = []
    for index, attempt in enumerate(table.attempts):
        place = seen.get(attempt, 0)
        seen[attempt] = place + 1
        if place >= thresholds.warm_up and table.live[index] and times[index] > 0:
            chosen.append(index)
    return Steady(table, chosen)


def weighted_mean(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Mean of the values that are there; NaN where none is."""
    total = weight = 0.0
    for place, value in enumerate(values):
        if isnan(value):
            continue
        factor = 1.0 if weights is None else weights[place]
        if factor == factor:
            total += factor * value
            weight += factor
    return total / weight if weight > 0 else nan


def median(values: Sequence[float]) -> float:
    """Median of the values that are there; NaN where none is."""
    ordered = sorted(value for value in values if value == value)
    if not ordered:
        return nan
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values: Sequence[float], share: float) -> float:
    """Percentile of the values that are there; NaN where none is."""
    ordered = sorted(value for value in values if value == value)
    if not ordered:
        return nan
    rank = share * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def window(run: RunMetrics, trainer: Steady, orchestrator: Steady) -> tuple[float, float]:
    """When the steady steps were, in seconds since the epoch; from minus to plus infinity where
    no times are known.
    """
    moments = [
        part.table.times[index]
        for part in (trainer, orchestrator)
        for index in part.indexes
        if part.table.times[index] == part.table.times[index]
    ]
    if not moments:
        return float("-inf"), float("inf")
    return min(moments), max(moments)
