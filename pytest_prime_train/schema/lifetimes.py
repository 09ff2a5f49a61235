"""When a key of prime-rl came and went, and what became of it.

Loaded only for files with keys that the judging version does not know, and to tell a file's age.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from pytest_prime_train.findings import KeyPath
from pytest_prime_train.schema.data.lifetimes import CHANGES, KEYS, MESSAGES
from pytest_prime_train.schema.versions import VERSIONS


class Change(NamedTuple):
    """What became of a key.

    Attributes:
        new: Path of the key that took its place, written with ``[]`` for elements of arrays;
            empty where only a person can say which, ``None`` where none did.
        since: First bundled version that does not read the old key.
        message: What happened, in one sentence.
        whole: The former table where the change is about one that the key is in, else ``""``.
    """

    new: str | None
    since: str
    message: str
    whole: str = ""


def dotted(path: KeyPath) -> str:
    """A key as it is kept here.

    >>> dotted(("orchestrator", "env", 0, "id"))
    'orchestrator.env[].id'
    """
    text = ""
    for part in path:
        text += "[]" if type(part) is int else f".{part}"
    return text.removeprefix(".")


@cache
def _table(root: str, parent: str) -> dict[str, int]:
    words = KEYS.get(root, {}).get(parent, "").split()
    return {name: int(mask, 16) for name, mask in zip(words[::2], words[1::2], strict=True)}


def versions_of(root: str, key: str) -> int:
    """The bundled versions that read a key of a root, one bit each, the oldest the lowest; 0 for
    a key that never was.
    """
    parent, _, name = key.rpartition(".")
    return _table(root, parent).get(name, 0)


def names(mask: int) -> tuple[str, ...]:
    """The versions that bits stand for, oldest first."""
    return tuple(version for number, version in enumerate(VERSIONS) if mask >> number & 1)


def change_of(root: str, key: str, version: str) -> Change | None:
    """What became of a key that older versions than ``version`` read; ``None`` if nobody knows."""
    rows = CHANGES.get(root, {})
    judging = VERSIONS.index(version)
    old, rest = key, ""
    while old:
        fitting = [row for row in rows.get(old, ()) if row[1] <= judging]
        if fitting:
            # The last change before the judging version is the one that ended the key.
            new, since, message = max(fitting, key=lambda row: row[1])
            if new:
                new = new + rest if versions_of(root, new + rest) >> judging & 1 else ""
            return Change(new, VERSIONS[since], MESSAGES[message], old if rest else "")
        cut = max(old.rfind("."), old.rfind("[]"))
        if cut < 0:
            return None
        old, rest = old[:cut], old[cut:] + rest
    return None
