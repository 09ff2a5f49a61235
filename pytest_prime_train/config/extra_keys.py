"""Keys of a fork of prime-rl, which pyproject.toml names in ``extra-keys``.

Loaded only for files with faults, where such keys are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pytest_prime_train.schema.validate import Fault


def without_extra(faults: Sequence[Fault], patterns: Sequence[str]) -> list[Fault]:
    """The faults without the unknown keys that a pattern names.

    Args:
        faults: Of one config.
        patterns: Dotted keys with a glob for each part, such as ``trainer.my_block.*``; the keys
            below a key that is named are named with it.
    """
    split = [tuple(pattern.split(".")) for pattern in patterns]
    return [one for fault in faults for one in _left(fault, split)]


def _left(fault: Fault, patterns: Sequence[tuple[str, ...]]) -> list[Fault]:
    if fault.kind != "unknown":
        return [fault]
    names = tuple(str(part) for part in fault.path)
    if any(_matches(names[: len(pattern)], pattern) for pattern in patterns):
        return []
    inner = [pattern for pattern in patterns if _matches(names, pattern[: len(names)])]
    if not inner or type(fault.value) is not dict:
        return [fault]
    # Perhaps only some keys of the table are named.
    below = [
        fault._replace(path=(*fault.path, key), value=value) for key, value in fault.value.items()
    ]
    left = [one for part in below for one in _left(part, inner)]
    return [fault] if left == below else left


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(names) == len(pattern) and all(map(fnmatchcase, names, pattern))
