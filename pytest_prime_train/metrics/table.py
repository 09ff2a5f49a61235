"""The steps of one writer, and gauges over time, as columns of numbers."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from math import nan

from pytest_prime_train.metrics.rows import MOST_SHAPES, PackedRow, Shape


class _Block:
    """Rows of one shape, number after number, and the record that each belongs to."""

    __slots__ = ("indexes", "is_dense", "names", "numbers")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        # Whether every record so far has exactly one row of it.
        self.is_dense = True
        self.indexes: array[int] = array("q")
        self.numbers: array[float] = array("d")


class Columns:
    """Numbers by record and name. Appending is quick; a column is put together when asked for."""

    def __init__(self) -> None:
        self._blocks: dict[Shape | tuple[str, ...], _Block] = {}

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """The names that occur, in the order of their first occurrence."""
        return tuple(dict.fromkeys(name for block in self._blocks.values() for name in block.names))

    def has(self, name: str) -> bool:
        """Whether any record has a value of this name."""
        return any(name in block.names for block in self._blocks.values())

    def column(self, name: str) -> array[float]:
        """The values of a name, one a record, NaN where it has none."""
        column = array("d", [nan]) * len(self)
        for block in self._blocks.values():
            if name in block.names:
                width = len(block.names)
                numbers = block.numbers[block.names.index(name) :: width]
                if block.is_dense and len(numbers) == len(column):
                    column = numbers
                    continue
                for index, number in zip(block.indexes, numbers, strict=True):
                    column[index] = number
        return column

    def record(self, index: int) -> dict[str, float]:
        """What one record says, by name."""
        values: dict[str, float] = {}
        for block in self._blocks.values():
            width = len(block.names)
            place = bisect_left(block.indexes, index)
            while place < len(block.indexes) and block.indexes[place] == index:
                numbers = block.numbers[place * width : (place + 1) * width]
                values.update(zip(block.names, numbers, strict=True))
                place += 1
        return values

    def _put(self, index: int, shape: Shape, numbers: array[float]) -> None:
        block = self._blocks.get(shape)
        if block is None:
            # Shapes that were not remembered are told by their names.
            key: Shape | tuple[str, ...] = shape
            if len(self._blocks) >= MOST_SHAPES:
                key = shape.names
                block = self._blocks.get(key)
            if block is None:
                block = self._blocks[key] = _Block(shape.names)
        if index != len(block.indexes):
            block.is_dense = False
        block.indexes.append(index)
        block.numbers.extend(numbers)


class Gauges(Columns):
    """What was measured from time to time, a record a row, in the order of writing.

    Attributes:
        times: When, in seconds since the epoch; NaN where unknown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.times: array[float] = array("d")

    def __len__(self) -> int:
        return len(self.times)

    def add(self, row: PackedRow) -> None:
        """Append a row."""
        self._put(len(self.times), row.shape, row.numbers)
        self.times.append(nan if row.time is None else row.time)


class Table(Columns):
    """One record a step and attempt, in the order in which they were written.

    All rows of a step make one record; of a name that comes twice the last value counts. A step
    that is repeated after a resume gets a new record, and the old one is no longer live.

    Attributes:
        steps: Step of each record.
        times: When its last row was written, seconds since the epoch; NaN where unknown.
        attempts: Launch that wrote it, from 1.
        live: 1 for the last record of a step, 0 for one that a resume has thrown away.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: array[int] = array("q")
        self.times: array[float] = array("d")
        self.attempts: array[int] = array("i")
        self.live = bytearray()
        self._last: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, row: PackedRow) -> None:
        """Put a row with a step into its record; one without is left out."""
        if row.step is None:
            return
        index = len(self.steps) - 1
        if index < 0 or self.steps[index] != row.step or self.attempts[index] != row.attempt:
            index = self._record(row.step, row.attempt, index)
        if row.time is not None:
            self.times[index] = row.time
        self._put(index, row.shape, row.numbers)

    def _record(self, step: int, attempt: int, last: int) -> int:
        if (
            last >= 0
            and self.steps[last] == step
            and attempt == self.attempts[last] + 1
            and "time/step" not in self.record(last)
        ):
            # Its first rows came before the one that shows the gap of a relaunch.
            self.attempts[last] = attempt
            return last
        known = self._last.get(step)
        if known is not None:
            if self.attempts[known] == attempt:
                return known
            self.live[known] = 0
        index = len(self.steps)
        self.steps.append(step)
        self.times.append(nan)
        self.attempts.append(attempt)
        self.live.append(1)
        self._last[step] = index
        return index

    def live_indexes(self) -> Iterator[int]:
        """The records that count, in the order of writing."""
        return (index for index, alive in enumerate(self.live) if alive)
