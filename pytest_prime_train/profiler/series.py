"""The steps of a run as the few hundred points that a plot can show."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_prime_train.metrics import RunMetrics, Table
from pytest_prime_train.profiler.diagnosis import rounded

MOST_POINTS = 400

PARTS = {
    "wait_for_batch": "waits for a batch",
    "load_data": "loads data",
    "forward_backward": "forward and backward",
    "broadcast_weights": "broadcasts weights",
    "save_ckpt": "saves a checkpoint",
    "other": "anything else",
}
"""Parts of the trainer's step, in the order in which they are stacked."""


@dataclass(frozen=True, slots=True)
class StepSeries:
    """Means over neighbouring steps, one a point.

    Attributes:
        steps: First step of each point.
        per_point: Steps that each point stands for.
        values: By name, a value a point; ``None`` where there is none.
        restarts: Points at which a new attempt begins.
        saves: Points with a checkpoint.
        evaluations: Points at which an evaluation was triggered.
    """

    steps: tuple[int, ...] = ()
    per_point: int = 1
    values: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    restarts: tuple[int, ...] = ()
    saves: tuple[int, ...] = ()
    evaluations: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For the page's own script."""
        return {
            "steps": list(self.steps),
            "values": {name: list(values) for name, values in self.values.items()},
            "units": UNITS,
            "labels": LABELS,
        }


UNITS = {
    **dict.fromkeys(PARTS, "s"),
    "trainer_waits": "%",
    "engines_wait": "%",
    "throughput": "tokens/s",
    "staleness": "versions",
    "staleness_max": "versions",
}
LABELS = {
    **PARTS,
    "trainer_waits": "the trainer waits for batches",
    "engines_wait": "the orchestrator waits for weights",
    "throughput": "throughput of forward and backward",
    "staleness": "mean age of what is trained on",
    "staleness_max": "greatest age",
}


def step_series(run: RunMetrics) -> StepSeries:
    """Bring the live steps of a run down to what can be shown."""
    table = run.trainer
    order = sorted((table.steps[index], index) for index in table.live_indexes())
    if not order:
        return StepSeries()
    indexes = [index for _, index in order]
    steps = [step for step, _ in order]
    size = -(-len(indexes) // MOST_POINTS)
    starts = range(0, len(indexes), size)
    mean = _Means(table, indexes, size)
    times = mean.column("time/step")
    parts = {name: mean.column(f"time/{name}") for name in PARTS if name != "other"}
    parts["other"] = [
        None if total is None else max(0.0, total - sum(part[i] or 0.0 for part in parts.values()))
        for i, total in enumerate(times)
    ]
    values = {name: _rounded(column) for name, column in parts.items()}
    values["trainer_waits"] = _percent(parts["wait_for_batch"], times)
    values["throughput"] = _rounded(mean.column("perf/throughput"))
    other = _at_steps(run.orchestrator, steps)
    beside = _Means(run.orchestrator, other, size)
    values["engines_wait"] = _percent(
        beside.column("time/wait_for_policy"), beside.column("time/step"), most=100.0
    )
    values["staleness"] = _rounded(beside.column("off_policy/mean"))
    values["staleness_max"] = _rounded(beside.column("off_policy/max", max))
    saves = table.column("time/save_ckpt")
    triggered = set(run.evaluation.steps)
    return StepSeries(
        steps=tuple(steps[start] for start in starts),
        per_point=size,
        values={name: tuple(column) for name, column in values.items()},
        restarts=_points(
            [
                place
                for place in range(1, len(indexes))
                if table.attempts[indexes[place]] != table.attempts[indexes[place - 1]]
            ],
            size,
        ),
        saves=_points([p for p, index in enumerate(indexes) if saves[index] > 0], size),
        evaluations=_points([p for p, step in enumerate(steps) if step in triggered], size),
    )


class _Means:
    """Means of a table's columns over as many neighbouring records as make a point."""

    def __init__(self, table: Table, indexes: Sequence[int | None], size: int) -> None:
        self.table = table
        self.indexes = indexes
        self.size = size

    def column(
        self, name: str, of: Callable[[Sequence[float]], float] | None = None
    ) -> list[float | None]:
        column = self.table.column(name)
        points: list[float | None] = []
        for start in range(0, len(self.indexes), self.size):
            found = array("d")
            for index in self.indexes[start : start + self.size]:
                if index is not None and column[index] == column[index]:
                    found.append(column[index])
            if not found:
                points.append(None)
            else:
                points.append(of(found) if of is not None else sum(found) / len(found))
        return points


def _at_steps(table: Table, steps: Sequence[int]) -> list[int | None]:
    known = {table.steps[index]: index for index in table.live_indexes()}
    return [known.get(step) for step in steps]


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [rounded(value, 3) for value in values]


def _percent(
    parts: Sequence[float | None], wholes: Sequence[float | None], most: float | None = None
) -> list[float | None]:
    result: list[float | None] = []
    for part, whole in zip(parts, wholes, strict=True):
        if part is None or not whole:
            result.append(None)
        else:
            share = 100 * part / whole
            result.append(rounded(share if most is None else min(share, most), 2))
    return result


def _points(places: Sequence[int], size: int) -> tuple[int, ...]:
    return tuple(sorted({place // size for place in places}))
