"""Stores that other packages add through the hook ``prime_stores`` of ``hookspecs.py``."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pytest_prime_train.findings import UsageError
from pytest_prime_train.hookspecs import GROUP, added, hookimpl

if TYPE_CHECKING:
    from pytest_prime_train.resilience.stores import Opener

__all__ = ["GROUP", "added_openers", "hookimpl"]


@cache
def added_openers() -> dict[str, Opener]:
    """Openers of all installed packages, by scheme.

    Raises:
        UsageError: A package that adds stores cannot be loaded.
    """
    packages = added()
    given = packages.call("prime_stores")
    for name, why in packages.broken.items():
        raise UsageError(f"the package {name!r} that adds to prime-train cannot be loaded: {why}")
    openers: dict[str, Opener] = {}
    for more in given.values():
        openers.update(more)
    return openers
