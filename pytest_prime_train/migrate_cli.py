"""``prime-train migrate``: old configs become today's, or say where a person must decide."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pytest_prime_train.findings import EXIT_CLEAN, EXIT_FINDINGS, Finding, UsageError
from pytest_prime_train.report.console import use_color, write

if TYPE_CHECKING:
    from pytest_prime_train.migrations.files import Migrated

_FORMATS = ("text", "json")


def migrate(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="TOML files, or directories of them"),
    ],
    origin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="VERSION", help="prime-rl that the files are for, or hosted"
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--to", metavar="VERSION", help="prime-rl to write them for, or hosted"),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(metavar="ROOT", help="Program that reads the files, such as rl or sft"),
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print changes, write nothing")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say what would change, write nothing")
    ] = False,
    stdout: Annotated[
        bool, typer.Option("--stdout", help="Print the new text, write nothing")
    ] = False,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Write what needs a person as comments as well")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write also what prime-rl would still refuse")
    ] = False,
    keep_behaviour: Annotated[
        bool,
        typer.Option("--keep-behaviour", help="Write defaults out that have changed since"),
    ] = False,
    explain_upgrade: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--explain-upgrade",
            metavar="FROM TO",
            help="List what the files mean in another way after an upgrade, write nothing",
        ),
    ] = None,
    output: Annotated[str, typer.Option("--format", metavar="text|json")] = "text",
) -> int:
    """Rewrite configs for a newer prime-rl; comments, order and numbers stay as they are."""
    from pytest_prime_train.checker import find_files
    from pytest_prime_train.migrations.files import Migrator, Request

    if output not in _FORMATS:
        raise UsageError(f"--format: {output!r} is neither text nor json")
    files = find_files(paths)
    if explain_upgrade is not None:
        return _explain(files, explain_upgrade, root, output)
    if stdout and output == "text" and len(files) != 1:
        raise UsageError(f"--stdout prints one file, and there are {len(files)}")
    request = Request(target, origin, root, annotate, partial, keep_behaviour)
    migrator = Migrator(request)
    found = migrator.migrate(files, write=not (diff or check or stdout))
    if output == "json":
        write(sys.stdout, _as_json(found, migrator.aim, with_text=stdout))
    elif stdout:
        named = next(one for one in found if one.path == files[0])
        write(sys.stdout, named.result)
        write(sys.stderr, _as_text([named], "", is_diff=False))
    else:
        write(sys.stdout, _as_text(found, migrator.aim, is_diff=diff))
    return _exit_code(found, only_looks=diff or check)


def _exit_code(found: list[Migrated], *, only_looks: bool) -> int:
    if any(one.needs_person for one in found):
        return EXIT_FINDINGS
    if only_looks and any(one.changed for one in found):
        return EXIT_FINDINGS
    return EXIT_CLEAN


def _as_json(found: list[Migrated], target: str, *, with_text: bool) -> str:
    from json import dumps

    from pytest_prime_train.report.json_format import finding_document

    def findings(one: Migrated, items: tuple[Finding, ...]) -> list[dict[str, Any]]:
        return [finding_document(item, one.text) for item in items]

    files: list[dict[str, Any]] = []
    for one in found:
        entry: dict[str, Any] = {
            "path": one.path,
            "root": one.root,
            "from": one.origin or None,
            "to": target,
            "changed": one.changed,
            "written": one.written,
            "needs_person": findings(one, one.needs_person),
            "notes": findings(one, one.notes),
        }
        if with_text:
            entry["text"] = one.result
        files.append(entry)
    summary = {
        "changed": sum(one.changed for one in found),
        "needs_person": sum(len(one.needs_person) for one in found),
        "refused": sum(one.state == "refused" for one in found),
    }
    return dumps({"version": 1, "files": files, "summary": summary}, indent=2) + "\n"


def _as_text(found: list[Migrated], target: str, *, is_diff: bool) -> str:
    from pytest_prime_train.report.text import render_finding, render_headline

    color = use_color(sys.stdout)
    blocks: list[str] = []
    for one in found:
        if is_diff and one.changed:
            blocks.append(_diff(one))
        if not is_diff and (line := _headline(one, target)):
            blocks.append(line + "\n")
        for finding in one.needs_person:
            blocks.append(render_finding(finding, one.text, color=color) + "\n\n")
        if not is_diff:
            blocks += [
                render_headline(finding, one.text, color=color) + "\n" for finding in one.notes
            ]
    if not is_diff and target:
        blocks.append(_summary(found, target))
    return "".join(blocks)


def _headline(one: Migrated, target: str) -> str:
    from pytest_prime_train.report.console import clean

    path = clean(one.path)
    if one.written:
        return f"{path}: written for {_named(target)}, was {one.origin}"
    if one.changed:
        return f"{path}: would change from prime-rl {one.origin} to {_named(target)}"
    if one.state == "refused":
        return f"{path}: left as it is"
    return ""


def _named(target: str) -> str:
    return "hosted training" if target == "hosted" else f"prime-rl {target}"


def _summary(found: list[Migrated], target: str) -> str:
    configs = [one for one in found if one.state != "foreign"]
    changed = sum(one.changed for one in configs)
    written = any(one.written for one in configs)
    refused = sum(one.state == "refused" for one in configs)
    people = sum(len(one.needs_person) for one in configs)
    parts = [f"{changed} {'written' if written else 'to change'}"]
    parts.append(f"{len(configs) - changed - refused} already read by {_named(target)}")
    if refused:
        parts.append(f"{refused} left as {'it is' if refused == 1 else 'they are'}")
    if people:
        parts.append(f"{people} {'finding needs' if people == 1 else 'findings need'} a person")
    noun = "config" if len(configs) == 1 else "configs"
    return f"{len(configs)} prime-rl {noun}: {', '.join(parts)}\n"


def _diff(one: Migrated) -> str:
    from difflib import unified_diff

    from pytest_prime_train.report.console import clean

    old = one.document.text.splitlines(keepends=True)
    new = one.result.splitlines(keepends=True)
    path = clean(one.path)
    lines: list[str] = []
    for line in unified_diff(old, new, f"a/{path}", f"b/{path}"):
        ended = line.endswith("\n")
        lines.append(line if ended else line + "\n\\ No newline at end of file\n")
    return "".join(lines)


def _explain(files: list[str], versions: tuple[str, str], root: str | None, output: str) -> int:
    from pytest_prime_train.migrations.upgrade import explain_upgrade

    explained = explain_upgrade(files, *versions, root=root)
    if output == "json":
        from json import dumps

        write(sys.stdout, dumps(explained.as_json(), indent=2) + "\n")
    else:
        write(sys.stdout, explained.as_text())
    return EXIT_CLEAN
