"""Checks prime-rl training configs before they cost GPU hours.

The public names are loaded when they are first used, because pytest imports this package in every
run of everyone who has it installed.
"""

from __future__ import annotations

import sys

__version__ = "0.1.0.dev0"

__all__ = [
    "FileReport",
    "Finding",
    "Location",
    "Options",
    "Severity",
    "UsageError",
    "__version__",
    "check",
    "check_file",
    "estimate_memory",
    "expected_cost",
    "find_files",
]

# Type checkers take a variable of this name for true; importing it from typing would cost time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pytest_prime_train.check import (
        FileReport,
        Options,
        check,
        check_file,
        find_files,
    )
    from pytest_prime_train.cost.expected import expected_cost
    from pytest_prime_train.estimates import estimate_memory
    from pytest_prime_train.findings import Finding, Location, Severity, UsageError

_HOMES = {
    "FileReport": "check",
    "Finding": "findings",
    "Location": "findings",
    "Options": "check",
    "Severity": "findings",
    "UsageError": "findings",
    "check": "check",
    "check_file": "check",
    "estimate_memory": "estimates",
    "expected_cost": "cost.expected",
    "find_files": "check",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(type(sys)):  # type: ignore[misc]
    """The package: its ``check`` is the function, also once the module ``check`` was imported."""

    def __setattr__(self, name: str, value: object) -> None:
        # The import system binds a submodule to its package under its name.
        if name != "check" or not isinstance(value, type(sys)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
