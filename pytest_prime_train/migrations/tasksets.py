"""Arguments of classic environments, which are typed fields of tasksets now."""

from __future__ import annotations

from typing import Any

from pytest_prime_train.config.tree import Node
from pytest_prime_train.findings import KeyPath
from pytest_prime_train.migrations.draft import Draft
from pytest_prime_train.migrations.words import dotted, show

_TYPES: dict[type, frozenset[str]] = {
    bool: frozenset(("boolean",)),
    int: frozenset(("integer", "number")),
    float: frozenset(("number",)),
    str: frozenset(("string",)),
    list: frozenset(("array",)),
    dict: frozenset(("object",)),
}


def arguments_of(draft: Draft, path: KeyPath, args: Node, home: KeyPath, id: str) -> None:
    """Move the arguments of an environment to its taskset.

    Where the fields of the taskset are known, what is none of them is left out.

    Args:
        draft: The draft.
        path: Where the arguments are.
        args: The arguments.
        home: The taskset.
        id: The taskset's id.
    """
    from pytest_prime_train.migrations.data import SEEN, TASKSETS

    name = id.replace("_", "-").lower().removesuffix("-v1")
    fields = TASKSETS.get(name)
    if fields is None:
        doubtful = [key for key in args.table if key not in SEEN.get(name, ())]
        draft.move(path, home)
        if doubtful:
            draft.needs_person(
                f"arguments of the environment {show(id)} ({', '.join(doubtful)}) became fields "
                "of its taskset, which can have other names",
                f"Compare {dotted(home)} with the fields of the taskset class of the package.",
                args.source,
                draft.get(home),
            )
        return
    for key in list(args.table):
        node = args.table[key]
        place, types = fields.get(key, ("", ""))
        if place and _fits(node, types):
            draft.move((*path, key), (*home, *place.split(".")))
            continue
        draft.drop((*path, key))
        known = ", ".join(sorted(fields)) or "none"
        draft.needs_person(
            f"the argument {key} of the environment {show(id)} was left out: its taskset has "
            f"{'another type for it' if place else 'no such field'}",
            f"Write what it stood for in another way; the fields of the taskset are {known}.",
            node.source,
            draft.get(home),
        )
    draft.drop(path)


def _fits(node: Node, types: str) -> bool:
    """Whether a field of these types of JSON takes a value."""
    wanted = types.split()
    if "any" in wanted or (node.is_none and "null" in wanted):
        return True
    value: Any = node.data()
    return not _TYPES.get(type(value), frozenset()).isdisjoint(wanted)
