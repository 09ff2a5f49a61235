"""Checks prime-rl training configs before they cost GPU hours.

The public names are loaded when they are first used, because pytest imports this package in every
run of everyone who has it installed.
"""

from __future__ import annotations

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
    "diagnose",
    "estimate_memory",
    "expected_cost",
    "find_files",
    "migrate",
]

# Type checkers take a variable of this name for true; importing it from typing would cost time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pytest_prime_train.checker import (
        FileReport,
        Options,
        check,
        check_file,
        find_files,
    )
    from pytest_prime_train.cost.expected import expected_cost
    from pytest_prime_train.estimates import estimate_memory
    from pytest_prime_train.findings import Finding, Location, Severity, UsageError
    from pytest_prime_train.migrations.api import migrate
    from pytest_prime_train.profiler.api import diagnose

_HOMES = {
    "FileReport": "checker",
    "Finding": "findings",
    "Location": "findings",
    "Options": "checker",
    "Severity": "findings",
    "UsageError": "findings",
    "check": "checker",
    "check_file": "checker",
    "diagnose": "profiler.api",
    "estimate_memory": "estimates",
    "expected_cost": "cost.expected",
    "find_files": "checker",
    "migrate": "migrations.api",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
