"""Carrying out changes on the tree of a document."""

from __future__ import annotations

from typing import Any

from pytest_prime_train.config.tree import Node, plant
from pytest_prime_train.findings import KeyPath, format_key
from pytest_prime_train.fixing.changes import Change


class CannotChange(Exception):
    """A change that the document does not allow, with the reason in one sentence."""


def carry_out(tree: Node, change: Change, headers: set[KeyPath]) -> None:
    """Carry out one change.

    Args:
        tree: The document.
        change: What to do.
        headers: The tables that the text opens with headers.

    Raises:
        CannotChange: Something in the document stands in the way.
    """
    if change.act == "delete":
        _take(tree, change.path, headers)
    elif change.act == "rename":
        if _find(tree, change.target) is not None:
            raise CannotChange(f"{format_key(change.target)} is set already")
        node = _take(tree, change.path, headers)
        _table(tree, change.target[:-1]).table[str(change.target[-1])] = node
    elif change.act == "add":
        _table(tree, change.path)
    else:
        _set(tree, change.path, change.value)


def _set(tree: Node, path: KeyPath, value: Any) -> None:
    table = _table(tree, path[:-1])
    name = str(path[-1])
    there = table.table.get(name)
    if there is None:
        table.table[name] = plant(value)
    elif there.children is not None:
        raise CannotChange(f"{format_key(path)} is a table")
    else:
        there.value = value


def _take(tree: Node, path: KeyPath, headers: set[KeyPath]) -> Node:
    parent = _find(tree, path[:-1])
    if parent is None or type(path[-1]) is not str or path[-1] not in parent.table:
        raise CannotChange(f"{format_key(path)} is not in the file")
    node = parent.table.pop(path[-1])
    # A table that only this key made goes with it; one with a header of its own stays.
    above = path[:-1]
    while above and parent.is_table and not parent.table:
        source = parent.source
        if type(above[-1]) is int or source is None or source in headers:
            break
        holder = _find(tree, above[:-1])
        if holder is None or above[-1] not in holder.table:
            break
        holder.table.pop(str(above[-1]))
        parent, above = holder, above[:-1]
    return node


def _find(tree: Node, path: KeyPath) -> Node | None:
    node = tree
    for part in path:
        if type(part) is int:
            if part >= len(node.items):
                return None
            node = node.items[part]
        elif part in node.table:
            node = node.table[str(part)]
        else:
            return None
    return node


def _table(tree: Node, path: KeyPath) -> Node:
    """The table at a path, made where there is none yet.

    Raises:
        CannotChange: Something else stands there.
    """
    node = tree
    for depth, part in enumerate(path):
        if type(part) is int:
            if part >= len(node.items):
                raise CannotChange(f"{format_key(path[:depth])} has no element {part}")
            node = node.items[part]
        elif node.is_table:
            node = node.table.setdefault(str(part), Node(None, None, {}))
        if not node.is_table and (depth + 1 == len(path) or type(path[depth + 1]) is not int):
            raise CannotChange(f"{format_key(path[: depth + 1])} is no table")
    return node
