"""When a key of prime-rl came and went; what became of it is told by the table of migrations.

Loaded only for files with keys that the judging version does not know, and to tell a file's age.
"""

from __future__ import annotations

from functools import cache

from pytest_prime_train.findings import KeyPath
from pytest_prime_train.schema.data.lifetimes import KEYS
from pytest_prime_train.schema.versions import VERSIONS


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
