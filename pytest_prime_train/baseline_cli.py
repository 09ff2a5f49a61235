"""``prime-train baseline``: write, shrink and show what a project lives with for now."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_prime_train.findings import EXIT_CLEAN, UsageError
from pytest_prime_train.report.console import clean, write

if TYPE_CHECKING:
    from pytest_prime_train.baseline import Allowed
    from pytest_prime_train.checker import Checker

_ACTIONS = ("write", "update", "show")


def baseline(
    action: Annotated[
        str,
        typer.Argument(
            metavar="[write|update|show]", help="What to do with the baseline. Default: write it"
        ),
    ],
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="TOML files, or directories of them"),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="FILE",
            help="The baseline. Default: the one settled in pyproject.toml, or "
            "prime-train-baseline.json",
        ),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="update: let what is new pass as well, not only shrink")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="write: replace a baseline that there is")
    ] = False,
    show_infos: Annotated[
        bool, typer.Option("--show-infos", help="Let infos pass as well as errors and warnings")
    ] = False,
    root: Annotated[
        str | None,
        typer.Option(metavar="ROOT", help="Program that reads the files, such as rl or sft"),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--prime-rl-version", metavar="VERSION", help="prime-rl that judges"),
    ] = None,
) -> int:
    """Let pass what is found today, so that only what is new blocks."""
    from pytest_prime_train.baseline import DEFAULT_FILE, entries, load
    from pytest_prime_train.checker import Checker, Options

    if action not in _ACTIONS and os.path.exists(action):
        action, paths = "write", [action, *(paths or ())]
    if action not in _ACTIONS:
        raise UsageError(f"{action!r} is none of {', '.join(_ACTIONS)}")
    if add and action != "update":
        raise UsageError("--add belongs to update")
    if force and action != "write":
        raise UsageError("--force belongs to write")
    # What the baseline lets pass is looked for here.
    checker = Checker(Options(root=root, version=version, baseline=""))
    path = file or checker.settings.baseline or DEFAULT_FILE
    if action == "show":
        if paths:
            raise UsageError("show prints what the baseline allows, and takes no path")
        known = load(path)
        rows = [
            f"{clean(name)}: {id}{f' at {clean(key)}' if key else ''}"
            f"{f' ({number} times)' if number > 1 else ''}\n"
            for name, id, key, number in entries(known.allowed)
        ]
        write(sys.stdout, "".join(rows) + _total(path, known.allowed))
        return EXIT_CLEAN
    if not paths:
        raise UsageError(f"no path given (try prime-train baseline {action} configs)")
    if action == "write":
        return _write(checker, path, paths, infos=show_infos, force=force)
    return _update(checker, path, paths, infos=show_infos, add=add)


def _write(checker: Checker, path: str, paths: list[str], *, infos: bool, force: bool) -> int:
    from pytest_prime_train.baseline import Baseline, collected
    from pytest_prime_train.checker import check_with

    if os.path.lexists(path) and not force:
        raise UsageError(
            f"{path} is there already: shrink it with prime-train baseline update, or replace it "
            "with --force"
        )
    allowed = collected(check_with(checker, paths), Baseline(path, {}), infos=infos)
    _save(path, allowed)
    write(sys.stdout, _total(path, allowed))
    return EXIT_CLEAN


def _update(checker: Checker, path: str, paths: list[str], *, infos: bool, add: bool) -> int:
    from pytest_prime_train.baseline import collected, entries, load, shrunk
    from pytest_prime_train.checker import check_with

    known = load(path)
    reports = check_with(checker, paths)
    found = collected(reports, known, infos=True)
    checked = {known.name_of(report.path) for report in reports}
    allowed = shrunk(known, found, checked)
    if add:
        allowed.update(
            (name, ids) for name, ids in collected(reports, known, infos=infos).items() if ids
        )
    before = sum(number for *_, number in entries(known.allowed))
    after = sum(number for *_, number in entries(allowed))
    if allowed != known.allowed:
        _save(path, allowed)
    gone, new = max(0, before - after), max(0, after - before)
    change = f"{gone} taken out" if gone or not add else f"{new} added"
    write(sys.stdout, f"{change}; {_total(path, allowed)}")
    return EXIT_CLEAN


def _total(path: str, allowed: Allowed) -> str:
    from pytest_prime_train.baseline import entries
    from pytest_prime_train.report.text import count

    number = sum(times for *_, times in entries(allowed))
    return f"{clean(path)} allows {count(number, 'finding')} in {count(len(allowed), 'file')}\n"


def _save(path: str, allowed: Allowed) -> None:
    from pytest_prime_train.baseline import render
    from pytest_prime_train.config.atomic import NotWritten, create, replace

    content = render(allowed).encode()
    try:
        if os.path.lexists(path):
            with open(path, "rb") as stream:
                old = stream.read()
            replace(path, old, content)
        else:
            create(path, content)
    except NotWritten as error:
        raise UsageError(f"{path}: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
