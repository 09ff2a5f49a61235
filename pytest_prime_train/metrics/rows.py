"""One line of a metrics file as a row of finite numbers, told by its company who wrote it.

Facts about the writers, from prime-rl v0.6.0 to main of 2026-08-21: the trainer writes five rows a
step (perf, optim, tensor statistics, time, disk), the orchestrator one per shipped batch and one
per finished evaluation; both use the names ``time/step`` and ``time/save_ckpt``.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping
from json import JSONDecoder
from math import isfinite
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeAlias

Source: TypeAlias = Literal["trainer", "orchestrator", "evaluation", "gauges", "other"]
"""Who wrote a row; ``gauges`` are what only W&B gets: engines, dispatcher, event loop."""

SOURCES: tuple[Source, ...] = ("trainer", "orchestrator", "evaluation", "gauges", "other")

MOST_NAMES = 20_000
"""Different names that are kept; a file with more is not prime-rl's, and would eat the memory."""

MOST_SHAPES = 5_000
"""Different sets of names that are remembered; prime-rl has about ten."""

MOST_SALVAGES = 50
"""Places of a torn line at which a whole row is looked for."""

LONGEST_NAME = 300
"""Characters of a name beyond which it is dropped: prime-rl's are below 120."""

GREATEST_STEP = 10**12

LATEST_TIME = 1e11

SHORTEST_RELAUNCH_S = 60.0
"""No launch of prime-rl gets from a crash to its first finished step in less."""

GAP_STEPS = 0.5
"""Share of a step that writing and evaluation between two rows may take at most."""

_TRAINER_NAMES = frozenset(
    ("time/wait_for_batch", "time/forward_backward", "time/load_data", "time/broadcast_weights")
)
_ORCHESTRATOR_NAMES = frozenset(
    (
        "progress/tokens",
        "progress/rollouts",
        "progress/samples",
        "time/wait_for_policy",
        "time/pack",
        "time/teacher_logprobs",
        "time/generate_completions",
        "time/wait_for_ckpt",
        "off_policy/mean",
        "off_policy/dropped",
    )
)
_TRAINER_HEADS = frozenset(
    (
        "perf",
        "optim",
        "loss",
        "entropy",
        "mismatch_kl",
        "kl_ent_ratio",
        "system",
        "max_vio",
        "routing_confidence",
        "is_masked",
        "masked_mismatch_kl",
        "unmasked_mismatch_kl",
        "importance_ratio",
        "val",
    )
)
_ORCHESTRATOR_HEADS = frozenset(
    ("train", "batch", "off_policy", "reward", "seq_len", "pre_filters", "scheduler", "progress")
)
BIGGEST = 1e30
"""No quantity of a run is greater; what is would overflow where it is squared."""

_GAUGE_HEADS = frozenset(("inference", "dispatcher", "concurrency", "watcher", "event_loop_lag"))
_OUTSIDE = frozenset(("step", "time", "_step", "_timestamp", "_runtime", "_wandb"))


class Row(NamedTuple):
    """What one line says.

    Attributes:
        source: Who wrote it.
        step: Step of the run, which starts at 1 (at 0 up to v0.6); ``None`` for gauges.
        time: When it was written, in seconds since the epoch; ``None`` where the line is silent.
        attempt: Launch of the run that wrote it, from 1, counted for each writer alone.
        values: Finite numbers by name; never empty.
    """

    source: Source
    step: int | None
    time: float | None
    attempt: int
    values: dict[str, float]


def source_of(names: Iterable[str]) -> Source:
    """Tell the writer of a row from the names in it.

    >>> source_of(["time/step", "time/save_ckpt", "time/wait_for_batch"])
    'trainer'
    >>> source_of(["time/step", "time/save_ckpt", "progress/tokens"])
    'orchestrator'
    """
    evaluation = trainer = orchestrator = gauges = False
    for name in names:
        if name in _TRAINER_NAMES:
            return "trainer"
        if name in _ORCHESTRATOR_NAMES:
            return "orchestrator"
        head = name.partition("/")[0]
        evaluation = evaluation or head == "eval"
        trainer = trainer or head in _TRAINER_HEADS
        orchestrator = orchestrator or head in _ORCHESTRATOR_HEADS
        gauges = gauges or head in _GAUGE_HEADS
    if evaluation:
        return "evaluation"
    if trainer:
        return "trainer"
    if gauges:
        return "gauges"
    return "orchestrator" if orchestrator else "other"


def _no_number(_: str) -> None:
    """What stands for NaN and the infinities."""


class Shape:
    """What rows with the same names have in common.

    Attributes:
        source: Who writes them.
        names: The names that are kept, in the order of the row.
    """

    __slots__ = ("_get", "names", "source")

    def __init__(self, source: Source, names: tuple[str, ...]) -> None:
        self.source = source
        self.names = names
        # With one name itemgetter returns no tuple.
        self._get = itemgetter(*names, names[0]) if names else None

    def numbers(self, data: Mapping[str, Any]) -> array[float] | None:
        """The values in the order of ``names``; ``None`` where one is no finite number."""
        if self._get is None:
            return None
        try:
            numbers = array("d", self._get(data))
        except (TypeError, OverflowError):
            return None
        numbers.pop()
        in_range = min(numbers, default=0.0) > -BIGGEST and max(numbers, default=0.0) < BIGGEST
        return numbers if in_range and isfinite(sum(numbers)) else None


class PackedRow(NamedTuple):
    """As ``Row``, for reading many: the numbers stand in the order of ``shape.names``."""

    shape: Shape
    step: int | None
    time: float | None
    attempt: int
    numbers: array[float]

    def unpacked(self) -> Row:
        """The row by name."""
        shape = self.shape
        values = dict(zip(shape.names, self.numbers, strict=True))
        return Row(shape.source, self.step, self.time, self.attempt, values)


class RowParser:
    """Turns lines into rows; remembers what tells a new attempt from a late row.

    Attributes:
        lines: Lines seen, empty ones left out.
        torn: Lines of which nothing could be read: cut by a kill, or no JSON object.
        salvaged: Lines that began with a torn one and ended with a whole one, which was kept.
        dropped: Values that were no finite numbers.
    """

    def __init__(self, wanted: Iterable[str] | None = None) -> None:
        """Args:
        wanted: Beginnings of the names to keep, such as ``time/``; ``None`` keeps all. A line
            without one is not even parsed.
        """
        self._beginnings = None if wanted is None else tuple(wanted)
        marks = "|".join(map(re.escape, self._beginnings or ()))
        self._marked = re.compile(f'"(?:{marks})'.encode()).search if marks else None
        self._keep: dict[str, bool] = {}
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._finite_shapes: dict[tuple[str, ...], Shape] = {}
        self._scan = JSONDecoder(parse_constant=_no_number).raw_decode
        self._writers: dict[Source, _Writer] = {}
        self.lines = 0
        self.torn = 0
        self.salvaged = 0
        self.dropped = 0

    def parse(self, line: bytes) -> Row | None:
        """Read one line.

        Returns:
            The row, or ``None`` where the line has nothing to say. Never raises.
        """
        packed = self.pack(line)
        return None if packed is None else packed.unpacked()

    def row(self, data: Mapping[str, Any]) -> Row | None:
        """The row for a line that is parsed already, such as one of W&B's history."""
        packed = self.pack_object(data)
        return None if packed is None else packed.unpacked()

    def pack(self, line: bytes) -> PackedRow | None:
        """As ``parse``, in the form for many rows."""
        if not line or line.isspace():
            return None
        self.lines += 1
        if self._marked is not None and self._marked(line) is None:
            # A row of other names; whether it is whole does not matter.
            return None
        data = self._object(line.decode("utf-8", "replace"))
        if data is None:
            self.torn += 1
            return None
        return self.pack_object(data)

    def pack_object(self, data: Mapping[str, Any]) -> PackedRow | None:
        """As ``row``, in the form for many rows."""
        shape = self._shape(data)
        numbers = shape.numbers(data)
        if numbers is None:
            wanted = len(shape.names)
            shape = self._finite(data)
            numbers = shape.numbers(data)
            missing = sum(data[name] is None for name in data) if data else 0
            self.dropped += max(0, wanted - len(shape.names) - missing)
            if numbers is None:
                return None
        step = _step_of(data.get("step"))
        moment = _time_of(data.get("time"))
        if moment is None:
            moment = _time_of(data.get("_timestamp"))
        source = shape.source
        if source == "gauges" or source == "evaluation":
            # Evaluations end when they end: an earlier step than the last says nothing there.
            writer = self._writers.get("orchestrator")
            return PackedRow(shape, step, moment, writer.attempt if writer else 1, numbers)
        writer = self._writers.get(source)
        if writer is None:
            writer = self._writers[source] = _Writer(is_trainer=source == "trainer")
        if step is None:
            if "_step" not in data or source == "other":
                return PackedRow(Shape("other", shape.names), None, moment, 1, numbers)
            # A history from which the run's own step is gone: its rows are still one a step.
            step = writer.next_step(shape.names[0])
        seconds = data.get("time/step")
        if seconds is not None and type(seconds) is not float:
            seconds = _finite_or_none(seconds)
        attempt = writer.attempt_of(step, shape.names[0], seconds, moment)
        return PackedRow(shape, step, moment, attempt, numbers)

    def _object(self, line: str) -> dict[str, Any] | None:
        """The object in a line; of a torn line that runs into a whole one, the whole one."""
        try:
            whole, end = self._scan(line)
            if type(whole) is dict and (end == len(line) or line[end:].isspace()):
                return whole
        except (ValueError, RecursionError):
            pass
        start = 0
        for _ in range(MOST_SALVAGES):
            start = line.find('{"', start)
            if start < 0:
                return None
            try:
                data, end = self._scan(line, start)
            except (ValueError, RecursionError):
                data, end = None, 0
            if type(data) is dict and (not line[end:] or line[end:].isspace()):
                self.salvaged += bool(line[:start].strip())
                return data
            start += 1
        return None

    def _shape(self, data: Mapping[str, Any]) -> Shape:
        names = tuple(data)
        shape = self._shapes.get(names)
        if shape is None:
            # Told from all names, because the telling one may not be wanted.
            source = source_of(name for name in names if name not in _OUTSIDE)
            shape = Shape(source, tuple(filter(self._wants, names)))
            if len(self._shapes) < MOST_SHAPES:
                self._shapes[names] = shape
        return shape

    def _finite(self, data: Mapping[str, Any]) -> Shape:
        """The shape of what can be used of a row that has other things than finite numbers.

        An exported history may have every name in every row, and nothing behind most of them.
        """
        present = tuple(name for name in data if _finite_or_none(data[name]) is not None)
        known = self._finite_shapes.get(present)
        if known is None:
            source = source_of(name for name in present if name not in _OUTSIDE)
            known = Shape(source, tuple(filter(self._wants, present)))
            if len(self._finite_shapes) < MOST_SHAPES:
                self._finite_shapes[present] = known
        return known

    def _wants(self, name: str) -> bool:
        wanted = self._keep.get(name)
        if wanted is None:
            if len(self._keep) >= MOST_NAMES:
                return False
            wanted = self._keep[name] = (
                name not in _OUTSIDE
                and len(name) <= LONGEST_NAME
                and (self._beginnings is None or name.startswith(self._beginnings))
            )
        return wanted


def _finite_or_none(value: object) -> float | None:
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if -BIGGEST < number < BIGGEST else None


def _step_of(value: object) -> int | None:
    """A step that can be one."""
    if type(value) is int:
        return value if 0 <= value < GREATEST_STEP else None
    if type(value) is float and 0 <= value < GREATEST_STEP and value.is_integer():
        return int(value)
    return None


def _time_of(value: object) -> float | None:
    """Seconds since the epoch, between 1970 and the year 5138."""
    if (type(value) is float or type(value) is int) and 0 < value < LATEST_TIME:
        return float(value)
    return None


class _Writer:
    """Where one writer was: a step that comes again is the work of a new attempt."""

    __slots__ = ("attempt", "ended", "first_names", "is_trainer", "step")

    def __init__(self, *, is_trainer: bool) -> None:
        self.is_trainer = is_trainer
        self.attempt = 1
        self.step = -1
        self.first_names: set[str] = set()
        self.ended: float | None = None

    def attempt_of(self, step: int, first: str, seconds: float | None, moment: float | None) -> int:
        """The attempt that a row belongs to.

        Args:
            step: Step of the row.
            first: First name of the row: rows of a kind begin with the same one.
            seconds: What the row says the step took.
            moment: When the row was written.
        """
        moves = step != self.step or first in self.first_names
        if (moves and step <= self.step) or self._began_anew(seconds, moment):
            self.attempt += 1
            self.ended = None
        if moves:
            self.first_names.clear()
            self.step = step
        self.first_names.add(first)
        if moment is not None and seconds is not None:
            self.ended = moment
        return self.attempt

    def next_step(self, first: str) -> int:
        """The step of a row that says none, by its first name."""
        return self.step + 1 if self.step < 0 or first in self.first_names else self.step

    def _began_anew(self, seconds: float | None, moment: float | None) -> bool:
        """Whether a relaunch found a checkpoint of the very last step, and so repeats none.

        The trainer's step covers all that it does: more time went by than the step says it took.
        The orchestrator's is the time since its last batch, 0 for the first of a launch.
        """
        if not self.is_trainer:
            return seconds == 0.0 and self.ended is not None
        if seconds is None or moment is None or self.ended is None:
            return False
        unexplained = moment - self.ended - seconds
        return unexplained > max(SHORTEST_RELAUNCH_S, GAP_STEPS * seconds)
