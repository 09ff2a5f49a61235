"""``prime-rl-migrate``: brings the prime-rl configs of a commit up to date.

Files that need nothing, or are none of prime-rl's business, are left alone without a word. A file
that was rewritten fails the hook, as with every hook that changes files, so that the change is
looked at and staged.
"""

from __future__ import annotations

import sys

PROGRAM = "prime-rl-migrate"

# Type checkers take a variable of this name for true; importing it from typing would cost time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pytest_prime_train.migrations.files import Migrated, Request


def main(argv: list[str] | None = None) -> int:
    """Migrate the files named in ``argv``; without it, those named on the command line.

    Returns:
        0 where nothing was to do, 1 where a file was written or has to be looked at by a person
        before it can be, 2 for wrong use or for a path that cannot be opened.
    """
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except (Exception, KeyboardInterrupt) as error:
        from pytest_prime_train.report.console import explain_exception

        return explain_exception(PROGRAM, error)


def _run(arguments: list[str]) -> int:
    from pytest_prime_train.checker import find_files
    from pytest_prime_train.migrations.files import Migrator

    paths, request = _parse(arguments)
    if not paths:
        return 0
    found = Migrator(request).migrate(find_files(paths), write=True)
    code = 0
    for one in found:
        if one.written or one.state == "refused":
            code = 1
            _show(one)
    return code


def _show(one: Migrated) -> None:
    from pytest_prime_train.report.console import clean, use_color, write
    from pytest_prime_train.report.text import render_finding, render_headline

    color = use_color(sys.stdout)
    path = clean(one.path)
    if one.written:
        lines = [f"{path}: rewritten from prime-rl {one.origin}"]
    else:
        lines = [f"{path}: left as it is"]
    lines += [render_finding(finding, one.text, color=color) for finding in one.needs_person]
    lines += [render_headline(finding, one.text, color=color) for finding in one.notes]
    write(sys.stdout, "\n".join(lines) + "\n")


def _parse(arguments: list[str]) -> tuple[list[str], Request]:
    """Paths, and how to migrate."""
    import argparse

    from pytest_prime_train.findings import UsageError
    from pytest_prime_train.migrations.files import Request

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(f"{message} (try {PROGRAM} --help)")

    parser = Parser(
        prog=PROGRAM,
        description="Rewrite prime-rl configs for a newer prime-rl.",
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="TOML file or directory")
    parser.add_argument("--from", dest="origin", metavar="VERSION", help="prime-rl they are for")
    parser.add_argument("--to", dest="target", metavar="VERSION", help="prime-rl to write them for")
    parser.add_argument("--root", help="program that reads the files, such as rl or sft")
    for name, text in (
        ("annotate", "write what needs a person as comments as well"),
        ("partial", "write also what prime-rl would still refuse"),
        ("keep-behaviour", "write defaults out that have changed since"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    given = parser.parse_args(arguments)
    request = Request(
        target=given.target,
        origin=given.origin,
        root=given.root,
        annotate=given.annotate,
        partial=given.partial,
        keep_behaviour=given.keep_behaviour,
    )
    return given.paths, request
