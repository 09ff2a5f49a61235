"""A document while changes are applied to it: finding, moving and dropping its parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from pytest_prime_train.config.tree import Node, grow, plant, same
from pytest_prime_train.findings import KeyPath

PARTS: dict[str, dict[str, tuple[KeyPath, ...]]] = {
    "rl": {
        "launcher": ((),),
        "trainer": (("trainer",),),
        "orchestrator": (("orchestrator",),),
        "inference": (("inference",), ("teacher_inference",)),
    },
    "sft": {
        "launcher": ((),),
        "trainer": ((),),
        "sft": ((),),
        "inference": (("inference",),),
    },
    "trainer": {"trainer": ((),)},
    "orchestrator": {"orchestrator": ((),)},
    "inference": {"inference": ((),)},
    "evals": {"evals": ((),)},
    "env_server": {"env_server": ((),)},
    "synthesize": {"synthesize": ((),)},
}
"""Root -> part of prime-rl -> the tables of such a file that configure it."""

Weight: TypeAlias = Literal["person", "note"]
"""``person``: the result is a guess or has lost something until somebody looks; ``note``: worth
knowing."""


class Remark(NamedTuple):
    """What is to be said about one key that a change met.

    Attributes:
        weight: Whether it needs a person.
        change: Id of the change.
        message: What happened, with the value, in one sentence.
        recommendation: What to write or to look at.
        old: Where the key was written; ``None`` for what was written nowhere.
        node: The part of the result that it is about, or ``None`` for what is gone.
    """

    weight: Weight
    change: str
    message: str
    recommendation: str
    old: KeyPath | None
    node: Node | None


class Draft:
    """A document on its way from one version to another.

    Attributes:
        root: Program of prime-rl that reads it.
        tree: The document as it is by now.
        origin: The version that it was written for.
        target: The version that it is meant for in the end.
        remarks: What is to be said about it, in the order in which it was met.
        applied: Ids of the changes that did something.
        change: Id of the change that is being applied.
        newest: The version that its newest key came with, where the file mixes keys of different
            times; else the origin.
        around: For a document that is read over others: what all of them make together; ``None``
            for one that stands alone.
    """

    def __init__(
        self, data: dict[str, Any], root: str, origin: str, target: str, newest: str = ""
    ) -> None:
        self.root = root
        self.tree = grow(data)
        self.origin = origin
        self.target = target
        self.remarks: list[Remark] = []
        self.applied: list[str] = []
        self.change = ""
        self.newest = newest or origin
        self.around: dict[str, Any] | None = None

    def places(self, part: str) -> tuple[KeyPath, ...]:
        """The tables of such a file that configure a part, whether it has them or not."""
        return PARTS[self.root].get(part, ())

    def get(self, path: KeyPath) -> Node | None:
        """What stands at a path by now."""
        node = self.tree
        for part in path:
            found: Node | None = None
            if type(node.children) is dict:
                found = node.children.get(str(part)) if type(part) is str else None
            elif type(node.children) is list and type(part) is int and part < len(node.children):
                found = node.children[part]
            if found is None:
                return None
            node = found
        return node

    def text(self, path: KeyPath) -> str:
        """The text at a path; empty where there is none, or something else."""
        node = self.get(path)
        return node.value if node is not None and type(node.value) is str else ""

    def has_around(self, path: KeyPath) -> bool:
        """Whether the files that the document is read over have a key, where it is read so."""
        value: Any = self.around
        for part in path:
            if type(value) is not dict or part not in value:
                return False
            value = value[str(part)]
        return value is not None

    def text_around(self, path: KeyPath) -> str:
        """The text at a path, in the document or in what it is read over; else empty."""
        found = self.text(path)
        value: Any = self.around
        for part in path:
            value = value.get(str(part)) if type(value) is dict else None
        return found or (value if type(value) is str else "")

    def find(self, prefix: KeyPath, pattern: str) -> list[KeyPath]:
        """The paths that fit a dotted key in which ``[]`` stands for every element of an array."""
        found: list[KeyPath] = [prefix]
        for piece in pattern.split("."):
            name = piece.removesuffix("[]")
            every = name != piece
            fitting: list[KeyPath] = []
            for path in found:
                node = self.get((*path, name))
                if node is None:
                    continue
                if every:
                    fitting += [(*path, name, number) for number in range(len(node.items))]
                else:
                    fitting.append((*path, name))
            found = fitting
        return found

    def take(self, path: KeyPath) -> Node | None:
        """Cut out what stands at a path."""
        table = self.get(path[:-1])
        if table is None or type(path[-1]) is not str or path[-1] not in table.table:
            return None
        self.mark()
        return table.table.pop(path[-1])

    def put(self, path: KeyPath, node: Node) -> bool:
        """Plant something at a path, with the tables around it.

        Tables are merged; of two values the one that is there already wins.

        Returns:
            Whether all of it was planted: not so where there was another value already, or where
            a value stands in the way.
        """
        table = self.tree
        for part in path[:-1]:
            if type(part) is int:
                table = table.items[part]
                continue
            if not table.is_table:
                return False
            table = table.table.setdefault(str(part), Node(None, None, {}))
        if not table.is_table:
            return False
        self.mark()
        name = str(path[-1])
        there = table.table.get(name)
        if there is None:
            table.table[name] = node
            return True
        return _merge(there, node)

    def mark(self) -> None:
        """Note that the change that is being applied has done something."""
        if self.change not in self.applied:
            self.applied.append(self.change)

    def add(self, path: KeyPath, value: Any) -> None:
        """Write a value that the file did not have, unless there is one."""
        if self.get(path) is None:
            self.put(path, plant(value))

    def set(self, node: Node, value: Any) -> None:
        """Replace a value."""
        if not same(node.value, value):
            self.mark()
            node.value = value

    def drop(self, path: KeyPath) -> Node | None:
        """As ``take``, for what is not coming back."""
        return self.take(path)

    def move(self, old: KeyPath, new: KeyPath) -> Node | None:
        """Move what stands at a path; the node, or ``None`` where there is nothing to move.

        What cannot be moved because another value is there already is dropped, with a remark that
        needs a person unless both say the same.
        """
        node = self.take(old)
        if node is None:
            return None
        # A table that this empties and that only led to it goes as well.
        there = self.get(new)
        before = there.data() if there is not None else None
        if not self.put(new, node) and not same(before, node.data()):
            self.needs_person(
                f"{_dotted(old)} and {_dotted(new)} are both set, and only the second is kept",
                f"Remove {_dotted(old)}, or write its value as {_dotted(new)}.",
                node.source,
                there,
            )
        return node

    def prune(self, path: KeyPath) -> None:
        """Drop a table that is empty."""
        node = self.get(path)
        if node is not None and node.is_table and not node.table:
            self.take(path)

    def needs_person(
        self,
        message: str,
        recommendation: str,
        old: KeyPath | None = None,
        node: Node | None = None,
    ) -> None:
        """Say that somebody has to look at a key."""
        self.mark()
        self.remarks.append(Remark("person", self.change, message, recommendation, old, node))

    def note(
        self,
        message: str,
        recommendation: str = "",
        old: KeyPath | None = None,
        node: Node | None = None,
    ) -> None:
        """Say what is worth knowing about a key."""
        self.mark()
        self.remarks.append(Remark("note", self.change, message, recommendation, old, node))

    def sources(self, *patterns: str) -> Iterator[KeyPath]:
        """The paths of the environments of the orchestrator, or of an sft or evals file."""
        for part in ("orchestrator", "evals", "sft"):
            for prefix in self.places(part):
                for pattern in patterns:
                    yield from self.find(prefix, pattern)


def _merge(there: Node, node: Node) -> bool:
    """Plant the parts of a table that another one does not have; whether that was all of it."""
    if not there.is_table or not node.is_table:
        return False
    whole = True
    for key, child in node.table.items():
        if key not in there.table:
            there.table[key] = child
        elif not same(there.table[key].data(), child.data()):
            whole = _merge(there.table[key], child) and whole
    return whole


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)
