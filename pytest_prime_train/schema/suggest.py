"""The right name for a wrong one. Loaded only where something is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher, get_close_matches
from functools import cache

from pytest_prime_train.findings import KeyPath, format_key
from pytest_prime_train.schema.bundle import Schema, schema_of
from pytest_prime_train.schema.nodes import Node

_NEAR = 0.75
_MOST_PLACES = 3


def suggest(schema: Schema, root: str, path: KeyPath, table: str) -> str:
    """A sentence with the exact key to write, or nothing.

    Args:
        schema: What the judging version reads.
        root: Program that reads the config.
        path: The unknown key.
        table: Class of prime-rl that does not have it.
    """
    key, parent = str(path[-1]), path[:-1]
    fields, _, aliases, _ = schema.tables[table]
    near = nearest(key, [*fields, *aliases])
    if near:
        return f"Rename {format_key(path)} to {format_key((*parent, near))}."
    places = list(dict.fromkeys(p for p in _places(schema.version, root) if p[-1] == key))
    if places:
        # The place that shares most of its path is most likely meant.
        places.sort(key=lambda place: (-_shared(place, path), len(place), place))
        shown = [format_key(place) for place in places[:_MOST_PLACES]]
        return f"Move {format_key(path)} to {' or '.join(shown)}."
    return ""


def nearest(word: str, known: list[str]) -> str | None:
    """The known word that was most likely meant, or ``None``."""
    folded = word.lower().replace("-", "_")
    best, score = None, _NEAR
    for candidate in known:
        if folded == candidate.lower():
            return candidate
        ratio = SequenceMatcher(None, folded, candidate).ratio()
        # A word cut short, or with something added at its end, is meant even where it is short.
        if candidate.startswith(folded) or folded.startswith(candidate):
            ratio = max(ratio, _NEAR + 0.01 if min(len(folded), len(candidate)) > 2 else 0)
        if ratio > score:
            best, score = candidate, ratio
    return best


def _shared(place: KeyPath, path: KeyPath) -> int:
    return sum(1 for part, other in zip(place, path, strict=False) if part == other)


@cache
def _places(version: str, root: str) -> tuple[tuple[str, ...], ...]:
    """Every key of a root, except those below arrays and unions of environment packages."""
    schema = schema_of(version)
    return tuple(_walk(schema, schema.roots[root], (), frozenset()))


def _walk(
    schema: Schema, table: str, path: tuple[str, ...], above: frozenset[str]
) -> Iterator[tuple[str, ...]]:
    if table in above:
        return
    for key, (node, _) in schema.tables[table][0].items():
        yield (*path, key)
        for inner in _tables_below(node):
            yield from _walk(schema, inner, (*path, key), above | {table})


def _tables_below(node: Node) -> tuple[str, ...]:
    kind = node[0]
    if kind == "null":
        return _tables_below(node[1])
    if kind in ("table", "switch"):
        return (node[1],)
    if kind == "tagged":
        return tuple(name for _, name in node[2])
    return ()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known word most like ``word``, or nothing.

    >>> did_you_mean("unknown-keys", ["unknown-key", "wrong-type"])
    "; did you mean 'unknown-key'?"
    """
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
