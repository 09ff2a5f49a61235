"""Every key of a bundled version, and a document with one of them."""

from __future__ import annotations

from typing import Any, TypeAlias

from pytest_prime_train.schema.bundle import Schema
from pytest_prime_train.schema.nodes import Node

Kinds: TypeAlias = dict[str, tuple[Schema, Node]]
"""Dotted key, ``[]`` standing for every element of an array -> what it takes."""


def keys_of(schema: Schema, root: str) -> Kinds:
    """Every dotted key of a program, with what it takes in any variant of a union."""
    found: Kinds = {}

    def add(name: str, node: Node) -> None:
        if name not in found:
            found[name] = (schema, node)
        elif found[name][1] != node:
            # Of what can be left out in one variant, that much is taken.
            parts = (found[name][1], node)
            bare = tuple(part[1] if part[0] == "null" else part for part in parts)
            both: Node = ("either", *(one for part in bare for one in alternatives(part)))
            nullable = any(part[0] == "null" for part in parts)
            found[name] = (schema, ("null", both) if nullable else both)

    def walk(node: Node, path: str, seen: frozenset[str]) -> None:
        kind = node[0]
        if kind == "null":
            walk(node[1], path, seen)
        elif kind == "list":
            walk(node[1], f"{path}[]", seen)
        elif kind in ("table", "switch"):
            if node[1] in seen:
                return
            for key, (inner, _) in schema.tables[node[1]][0].items():
                name = f"{path}.{key}" if path else key
                add(name, inner)
                walk(inner, name, seen | {node[1]})
        elif kind == "tagged":
            for _, table in node[2]:
                walk(("table", table), path, seen)
        elif kind == "either":
            for part in node[1:]:
                walk(part, path, seen)

    walk(("table", schema.roots[root]), "", frozenset())
    return found


def alternatives(node: Node) -> tuple[Node, ...]:
    """The parts of a union, or the node itself."""
    return tuple(node[1:]) if node[0] == "either" else (node,)


def sample(schema: Schema, node: Node) -> Any:
    """A value that a node takes."""
    kind = node[0]
    if kind == "null":
        return sample(schema, node[1])
    if kind == "enum":
        return node[1][-1]
    if kind in ("int", "float"):
        return 3 if kind == "int" else 0.5
    if kind == "bool":
        return True
    if kind == "list":
        return [sample(schema, node[1])]
    if kind == "either":
        return sample(schema, node[1])
    if kind in ("str", "path", "any"):
        return "text"
    return {}


def document(key: str, value: Any) -> dict[str, Any]:
    """A document with one key."""
    result: Any = value
    for piece in reversed(key.split(".")):
        name = piece.removesuffix("[]")
        result = {name: [result] if name != piece else result}
    found: dict[str, Any] = result
    return found
