"""``prime-train status`` and ``prime-train config``: what was launched, and what came of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pytest_prime_train.findings import EXIT_CLEAN, EXIT_FINDINGS, UsageError
from pytest_prime_train.report.console import clean, write

if TYPE_CHECKING:
    import sqlite3

    from pytest_prime_train.history.compare import Side
    from pytest_prime_train.history.entries import Entry

Format = Annotated[str, typer.Option("--format", metavar="text|json")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="The newest N alone")]
Which = Annotated[
    str, typer.Argument(metavar="ENTRY", help="Number, tag, run, or path of a config")
]

config = typer.Typer(
    name="config",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Keep configs with what came of them, compare them, and write them again.",
)


def status(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Only this run")] = "",
    limit: Limit = None,
    output: Format = "text",
) -> int:
    """Say what the runs of this machine are doing."""
    from pytest_prime_train.history.database import opened
    from pytest_prime_train.history.entries import attempts_of, checkpoints_of, listed
    from pytest_prime_train.history.state import in_words, state_of

    _require_format(output)
    with opened() as connection:
        entries = listed(connection, kind="launched", run=run or None, limit=limit)
        documents = []
        for entry in entries:
            attempts = attempts_of(connection, entry.id)
            saved = checkpoints_of(connection, entry.id)
            documents.append(
                {
                    "entry": entry.id,
                    "run": entry.run,
                    "state": state_of(entry),
                    "outcome": entry.outcome,
                    "started": entry.created,
                    "ended": entry.ended,
                    "attempts": len(attempts),
                    "last_cause": attempts[-1]["cause"] if attempts else None,
                    "last_step": entry.last_step,
                    "complete": saved.get("complete"),
                    "backed_up": saved.get("backed-up"),
                    "lost_steps": entry.lost_steps,
                    "cost_usd": entry.cost_usd,
                    "run_dir": entry.run_dir,
                    "prime_rl_version": entry.version,
                }
            )
    if output == "json":
        _print_json({"version": 1, "runs": documents})
        return EXIT_CLEAN
    if not entries:
        write(sys.stdout, "no run was launched on this machine by prime-train run\n")
    for entry, found in zip(entries, documents, strict=True):
        step = "-" if found["last_step"] is None else found["last_step"]
        saved_at = "none" if found["complete"] is None else found["complete"]
        cost = "" if entry.cost_usd is None else f", ${entry.cost_usd:.2f}"
        write(
            sys.stdout,
            f"{entry.id:>5}  {clean(entry.run)}  {in_words(entry)}, {found['attempts']} launches, "
            f"step {step}, checkpoint {saved_at}{cost}  {entry.created[:16]}\n",
        )
    return EXIT_CLEAN


@config.command()
def save(
    files: Annotated[
        list[str], typer.Argument(metavar="CONFIG...", help="Files, in the order of the launch")
    ],
    tag: Annotated[list[str] | None, typer.Option(help="Name to find it by")] = None,
    note: Annotated[str, typer.Option(help="What to say of it")] = "",
    root: Annotated[str | None, typer.Option(help="Program that reads it")] = None,
    version: Annotated[str | None, typer.Option("--prime-rl-version", metavar="V")] = None,
    output: Format = "text",
) -> int:
    """Keep a config without its secrets."""
    from pytest_prime_train.history.database import opened
    from pytest_prime_train.history.entries import Draft, add
    from pytest_prime_train.report.json_format import finding_document
    from pytest_prime_train.supervision.options import RunOptions
    from pytest_prime_train.supervision.preflight import check_launch

    _require_format(output)
    checked = check_launch(RunOptions(tuple(files), version=version, root=root))
    report = checked.report
    draft = Draft(
        kind="saved",
        files=tuple(files),
        root=checked.root,
        version=checked.version,
        data=checked.config.raw if checked.config is not None else {},
        findings=[finding_document(one, report.text_of(one)) for one in report.findings],
        note=note,
        tags=tuple(tag or ()),
    )
    with opened() as connection:
        number = add(connection, draft)
    if output == "json":
        _print_json({"version": 1, "entry": number})
    else:
        write(sys.stdout, f"kept as {number}\n")
    return EXIT_CLEAN


@config.command(name="list")
def list_entries(
    run: Annotated[str, typer.Option(help="Only of this run")] = "",
    tag: Annotated[str, typer.Option(help="Only with this tag")] = "",
    limit: Limit = None,
    output: Format = "text",
) -> int:
    """List what is kept, newest first."""
    from pytest_prime_train.history.database import opened
    from pytest_prime_train.history.entries import listed

    _require_format(output)
    with opened() as connection:
        entries = listed(connection, run=run or None, tag=tag or None, limit=limit)
    _print_entries(entries, output)
    return EXIT_CLEAN


@config.command()
def search(
    words: Annotated[str, typer.Argument(help="Words of a text, a note, a tag or a failure")],
    limit: Limit = None,
    output: Format = "text",
) -> int:
    """Find what is kept by words in it."""
    from pytest_prime_train.history.database import opened
    from pytest_prime_train.history.entries import search as find_words

    _require_format(output)
    with opened() as connection:
        entries = find_words(connection, words, limit)
    _print_entries(entries, output)
    return EXIT_CLEAN


@config.command()
def tag(
    entry: Which,
    name: Annotated[str, typer.Argument(metavar="TAG")],
    delete: Annotated[bool, typer.Option("--delete", help="Take the tag away")] = False,
) -> int:
    """Give an entry a name to find it by."""
    from pytest_prime_train.history.database import opened, transaction
    from pytest_prime_train.history.entries import find

    if not name.strip() or name.isdecimal():
        raise UsageError(f"{name!r} cannot be a tag: it could be taken for the number of an entry")
    with opened() as connection:
        found = find(connection, entry)
        with transaction(connection):
            if delete:
                connection.execute("DELETE FROM tags WHERE entry = ? AND tag = ?", (found.id, name))
            else:
                connection.execute("INSERT OR IGNORE INTO tags VALUES (?, ?)", (found.id, name))
    return EXIT_CLEAN


@config.command()
def show(entry: Which, output: Format = "text") -> int:
    """Show an entry: its texts, what was found in it, and what came of it."""
    from pytest_prime_train.history.database import opened
    from pytest_prime_train.history.entries import (
        attempts_of,
        checkpoints_of,
        document_of,
        files_of,
        find,
        tags_of,
    )
    from pytest_prime_train.history.state import in_words

    _require_format(output)
    with opened() as connection:
        found = find(connection, entry)
        files = files_of(connection, found.id)
        attempts = attempts_of(connection, found.id)
        document: dict[str, Any] = {
            **_document(found),
            "tags": tags_of(connection, found.id),
            "overrides": document_of(connection, found.id, "overrides"),
            "command": document_of(connection, found.id, "command"),
            "findings": document_of(connection, found.id, "findings"),
            "attempts": attempts,
            "checkpoints": checkpoints_of(connection, found.id),
            "files": [
                {"path": file.path, "text": file.text, "holes": dict(file.holes)} for file in files
            ],
        }
    if output == "json":
        _print_json({"version": 1, "entry": document})
        return EXIT_CLEAN
    lines = [f"{found.id}  {found.run or found.path}  {in_words(found)}", f"  {found.created}"]
    lines.append(f"  prime-rl {found.version} {found.prime_rl_commit[:12]}".rstrip())
    if found.git_commit:
        dirty = ", with changes that are not committed" if found.git_dirty else ""
        lines.append(f"  commit {found.git_commit[:12]}{dirty}")
    lines += [f"  tag {name}" for name in document["tags"]]
    lines += [f"  note {found.note}"] if found.note else []
    lines += [
        f"  launch {one['number']}: from step {one['resume_step'] or 0} to {one['last_step']}, "
        f"{one['cause'] or 'running'}: {one['detail'] or ''}".rstrip(": ")
        for one in attempts
    ]
    for file in files:
        lines.append(f"--- {file.path}")
        lines += file.text.splitlines()
    write(sys.stdout, "".join(f"{clean(line)}\n" for line in lines))
    return EXIT_CLEAN


@config.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="Entry, run, or file")],
    after: Annotated[str, typer.Argument(metavar="B", help="Entry, run, or file")],
    text: Annotated[bool, typer.Option("--text", help="Compare the texts as well")] = False,
    run: Annotated[bool, typer.Option("--run", help="Say what came out of both as well")] = False,
    output: Format = "text",
) -> int:
    """Say what means something else in B than in A, changed defaults included."""
    from pytest_prime_train.history.compare import changes, text_diff
    from pytest_prime_train.history.database import opened

    _require_format(output)
    with opened() as connection:
        one, one_text, one_came = _side(connection, before)
        other, other_text, other_came = _side(connection, after)
    found = changes(one, other)
    texts = text_diff(one_text, other_text, (before, after)) if text else ""
    if output == "json":
        document: dict[str, Any] = {
            "version": 1,
            "changes": [change._asdict() for change in found],
        }
        if text:
            document["text"] = texts
        if run:
            document["outcomes"] = [one_came, other_came]
        _print_json(document)
    else:
        lines = [clean(change.words()) for change in found] or ["both mean the same"]
        if run:
            for name, came in ((before, one_came), (after, other_came)):
                lines.append(f"{clean(name)}: {_came_words(came)}")
        write(sys.stdout, "".join(f"{line}\n" for line in lines))
        write(sys.stdout, "".join(f"{clean(line)}\n" for line in texts.splitlines()))
    return EXIT_FINDINGS if found else EXIT_CLEAN


@config.command()
def restore(
    entry: Which,
    to: Annotated[str, typer.Option(metavar="FILE", help="Where to, instead of its place")] = "",
    secrets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=env:NAME", help="A secret that was cut out"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there now")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print it, write nothing")] = False,
) -> int:
    """Write a config as it was; secrets come from the environment or from the file of today."""
    import os

    from pytest_prime_train.history.database import opened
    from pytest_prime_train.history.entries import files_of, find
    from pytest_prime_train.history.restoring import given_secrets, restored_text
    from pytest_prime_train.history.restoring import write as write_file

    given = given_secrets(secrets or [])
    with opened() as connection:
        found = find(connection, entry)
        files = files_of(connection, found.id)
    if to and len(files) != 1:
        raise UsageError(f"--to names one file, and entry {found.id} has {len(files)}")
    if stdout:
        write(sys.stdout, "".join(file.text for file in files))
        return EXIT_CLEAN
    texts: list[tuple[str, str]] = []
    for file in files:
        path = to or file.path
        current = None
        if os.path.exists(path):
            with open(path, "rb") as stream:
                current = stream.read().decode("utf-8", "replace")
        texts.append((path, restored_text(file, given, current)))
    for path, text in texts:
        _may_replace(path, text, force=force)
    for path, text in texts:
        changed = write_file(path, text, replace_changed=True)
        write(sys.stdout, f"{clean(path)}: {'restored' if changed else 'is as it was'}\n")
    return EXIT_CLEAN


def _may_replace(path: str, text: str, *, force: bool) -> None:
    """Whether a file may be written, asked for on a terminal before any is."""
    import os

    if force or not os.path.exists(path):
        return
    with open(path, "rb") as stream:
        if stream.read() == text.encode():
            return
    if sys.stdin is not None and sys.stdin.isatty():
        if typer.confirm(f"{clean(path)} holds something else now; replace it?"):
            return
        raise UsageError(f"{path}: left as it is")
    raise UsageError(f"{path}: it holds something else now; give --force to replace it")


def _side(connection: sqlite3.Connection, name: str) -> tuple[Side, str, dict[str, Any]]:
    """A config to compare, its text, and what came of it: an entry, else a file of today."""
    import os

    from pytest_prime_train.history.compare import Side
    from pytest_prime_train.history.cutting import cut, cut_data
    from pytest_prime_train.history.entries import document_of, files_of, find

    if name.isdecimal() or not os.path.exists(name):
        found = find(connection, name)
        text = "".join(file.text for file in files_of(connection, found.id))
        data = document_of(connection, found.id, "data")
        return Side(data, found.root, found.version), text, _document(found)
    from pytest_prime_train.supervision.options import RunOptions
    from pytest_prime_train.supervision.preflight import check_launch

    checked = check_launch(RunOptions((name,)))
    with open(name, "rb") as stream:
        text = cut(stream.read().decode("utf-8", "replace")).text
    data = cut_data(checked.config.raw if checked.config is not None else {})
    return Side(data, checked.root, checked.version), text, {}


def _document(entry: Entry) -> dict[str, Any]:
    from pytest_prime_train.history.state import state_of

    fields = entry._asdict()
    for name in ("pid", "pid_started"):
        del fields[name]
    return {**fields, "git_dirty": bool(entry.git_dirty), "state": state_of(entry)}


def _came_words(came: dict[str, Any]) -> str:
    if not came or came["kind"] != "launched":
        return "was not launched"
    cost = "" if came["cost_usd"] is None else f", ${came['cost_usd']:.2f}"
    lost = came["lost_steps"] or 0
    return f"{came['outcome'] or came['state']}, step {came['last_step']}, {lost} steps lost{cost}"


def _print_entries(entries: list[Entry], output: str) -> None:
    if output == "json":
        _print_json({"version": 1, "entries": [_document(entry) for entry in entries]})
        return
    lines = [
        f"{entry.id:>5}  {entry.created[:16]}  {entry.kind:<8}  "
        f"{clean(entry.run or entry.path)}  {entry.outcome or ''}".rstrip()
        for entry in entries
    ]
    write(sys.stdout, "".join(f"{line}\n" for line in lines) or "nothing is kept\n")


def _print_json(document: dict[str, Any]) -> None:
    from json import dumps

    write(sys.stdout, dumps(document, indent=2, default=str) + "\n")


def _require_format(output: str) -> None:
    if output not in ("text", "json"):
        raise UsageError(f"--format: {output!r} is neither text nor json")
