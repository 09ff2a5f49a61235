"""``prime-train``: the checks on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from pytest_prime_train import __version__
from pytest_prime_train.checker import Checker, FileReport, Options, check, worst
from pytest_prime_train.declarations import all_declarations, find, require_known
from pytest_prime_train.findings import (
    EXIT_CLEAN,
    EXIT_FINDINGS,
    EXIT_USAGE,
    UsageError,
    at_least,
)
from pytest_prime_train.report.console import complain, explain_exception, use_color, write

PROGRAM = "prime-train"

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Checks prime-rl training configs before they cost GPU hours.",
)


class Format(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"
    concise = "concise"


class FailOn(StrEnum):
    """The mildest severity that makes the exit code 1."""

    error = "error"
    warning = "warning"
    info = "info"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named in ``argv``; without it, that of the command line.

    Returns:
        0 without a finding at or above the threshold, 1 with one, 2 for wrong use or for a path
        that cannot be opened, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(arguments, prog_name=PROGRAM, standalone_mode=False)
    except BaseException as error:
        return _leave(error)
    return code if isinstance(code, int) else EXIT_CLEAN


def _leave(error: BaseException) -> int:
    """The exit code for what ended a command, after one line about it."""
    # Errors of click have this method, whether typer brings its own click or uses the package.
    format_message = getattr(error, "format_message", None)
    if callable(format_message):
        sentence = str(format_message()).replace("\n", " ").rstrip(".")
        complain(PROGRAM, f"{sentence} (try {_command_of(error)} --help)")
        return EXIT_USAGE
    if isinstance(error, typer.Abort):
        error = KeyboardInterrupt()
    if not isinstance(error, Exception | KeyboardInterrupt):
        raise error
    return explain_exception(PROGRAM, error)


def _command_of(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return str(context.command_path) if context is not None else PROGRAM


def _print_version(wanted: bool) -> None:
    if wanted:
        write(sys.stdout, f"{PROGRAM} {__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version"),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        raise UsageError(f"no command given (try {PROGRAM} --help)")


_WHAT_TO_CHECK = (
    "TOML files, or directories of them; behind -- the arguments of a launch, "
    "such as @ base.toml @ overlay.toml --trainer @ t.toml --max-steps 5"
)


@app.command()
def validate(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH... | -- ARGUMENTS", help=_WHAT_TO_CHECK)
    ],
    output: Annotated[
        Format, typer.Option("--format", help="How to print findings; json always has infos")
    ] = Format.text,
    root: Annotated[
        str | None,
        typer.Option(metavar="ROOT", help="Program that reads the files, such as rl or sft"),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--prime-rl-version", metavar="VERSION", help="prime-rl that judges"),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IDS", help="Report only these ids, categories or severities (repeatable)"
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="IDS", help="Do not report these (repeatable, or with commas)"),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Judge by a schema made with prime-train schema"),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option(help="Mildest severity that makes the exit code 1")
    ] = FailOn.error,
    show_infos: Annotated[bool, typer.Option("--show-infos", help="Print infos as well")] = False,
) -> int:
    """Check prime-rl configs and print what is wrong, why it costs hours and what cures it."""
    options = Options(
        root=root,
        version=version,
        select=require_known(select or ()),
        ignore=require_known(ignore or ()),
        schema=schema,
    )
    if any(path.startswith(("@", "--")) for path in paths):
        reports = [Checker(options).check_composed(paths)]
    else:
        reports = check(paths, options)
    write(sys.stdout, _render(reports, output, show_infos=show_infos or fail_on is FailOn.info))
    severity = worst(reports)
    if severity is not None and at_least(severity, fail_on.value):
        return EXIT_FINDINGS
    return EXIT_CLEAN


def _render(reports: Sequence[FileReport], output: Format, *, show_infos: bool) -> str:
    if output is Format.json:
        from pytest_prime_train.report.json_format import render_json

        return render_json(reports) + "\n"
    from pytest_prime_train.report.text import render_finding, render_headline, render_summary

    color = use_color(sys.stdout)
    blocks = [
        render_headline(finding, report.text_of(finding), color=color)
        if output is Format.concise
        else render_finding(finding, report.text_of(finding), color=color) + "\n"
        for report in reports
        for finding in report.findings
        if show_infos or finding.severity != "info"
    ]
    if output is Format.text:
        blocks.append(render_summary(reports, show_infos=show_infos))
    return "".join(block + "\n" for block in blocks)


def _add_commands() -> None:
    """The commands that have a module of their own; each imports its room when it runs."""
    from pytest_prime_train.memory_cli import memory

    app.command()(memory)
    from pytest_prime_train.find_cli import find as find_hardware

    app.command(name="find")(find_hardware)
    from pytest_prime_train.schema_cli import schema

    app.command()(schema)
    from pytest_prime_train.migrate_cli import migrate

    app.command()(migrate)


_add_commands()


@app.command()
def explain(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a finding, such as unknown-key")],
) -> int:
    """Print what a finding means, why it costs hours and what to do about it."""
    declaration = find(id)
    if declaration is None:
        from pytest_prime_train.schema.suggest import did_you_mean

        known = [kind.id for kind in all_declarations()]
        raise UsageError(f"no finding is called {id!r}{did_you_mean(id, known)}")
    from pytest_prime_train.report.pages import render_page

    write(sys.stdout, render_page(declaration))
    return EXIT_CLEAN
