"""``prime-train schema``: take the schema of a fork or a private build from its own classes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pytest_prime_train.findings import EXIT_CLEAN, UsageError
from pytest_prime_train.report.console import clean, write

DEFAULT_OUTPUT = Path("prime-rl-schema")


def schema(
    checkout: Annotated[
        Path,
        typer.Option(
            "--from-checkout",
            metavar="PATH",
            help="Checkout of prime-rl or a fork, whose code is run for it",
        ),
    ],
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder that the schema is written to")
    ] = DEFAULT_OUTPUT,
    python: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Python to run it with (default: that of its .venv, else this one)"
        ),
    ] = "",
) -> int:
    """Run the config classes of a checkout and write what they read into a folder to judge by."""
    from pytest_prime_train.schema import checkout as room

    interpreter = python or room.interpreter_of(checkout)
    write(sys.stdout, f"running the config classes of {clean(str(checkout))} with {interpreter}\n")
    sys.stdout.flush()
    try:
        taken = room.take(checkout, interpreter)
        room.write(taken, output)
    except room.CheckoutError as error:
        raise UsageError(str(error)) from error
    for root, reason in taken.failed.items():
        write(sys.stdout, f"left out {root}: {clean(reason)}\n")
    write(
        sys.stdout,
        f"wrote {clean(str(output / room.FILE))} for {', '.join(taken.schemas)}\n"
        f'judge by it with schema = "{clean(output.as_posix())}" in [tool.pytest-prime-train], '
        f"or --schema {clean(str(output))}\n",
    )
    return EXIT_CLEAN
