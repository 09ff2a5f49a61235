"""What is kept of a config, and reading it again."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pytest_prime_train.findings import UsageError
from pytest_prime_train.history.cutting import cut, cut_arguments, cut_data
from pytest_prime_train.history.database import transaction
from pytest_prime_train.report.secrets import mask_all

_COLUMNS = (
    "id", "created", "kind", "path", "run", "run_dir", "root", "version", "prime_rl_commit",
    "git_commit", "git_dirty", "note", "pid", "pid_started", "ended", "code", "outcome",
    "last_step", "lost_steps", "cost_usd", "seconds",
)  # fmt: skip


class Entry(NamedTuple):
    """One config as it was saved or launched.

    Attributes:
        id: Its number.
        created: When, as ISO 8601 in UTC.
        kind: ``saved`` by hand, or ``launched``.
        path: The last of its files, which gives it its name.
        run: Id of the run; empty where it was only saved.
        run_dir: Directory of the run; empty likewise.
        root: Program of prime-rl.
        version: Version of prime-rl that judged it.
        prime_rl_commit: Commit of prime-rl; empty where unknown.
        git_commit: Commit of the repository of the config; empty where it is in none.
        git_dirty: Whether that had changes that were not committed.
        note: What was said of it.
        pid: Process of the runner.
        pid_started: When that process began, in seconds since the epoch.
        ended: When the run ended; ``None`` while it runs, or where nobody could say so.
        code: Exit code of the runner.
        outcome: The same in a word.
        last_step: Last step that was reached.
        lost_steps: Steps that were done more than once.
        cost_usd: What it cost.
        seconds: How long it took.
    """

    id: int
    created: str
    kind: str
    path: str
    run: str
    run_dir: str
    root: str
    version: str
    prime_rl_commit: str
    git_commit: str
    git_dirty: int
    note: str
    pid: int | None
    pid_started: float | None
    ended: str | None
    code: int | None
    outcome: str | None
    last_step: int | None
    lost_steps: int | None
    cost_usd: float | None
    seconds: float | None


class Draft(NamedTuple):
    """What is to be kept.

    Attributes:
        kind: ``saved`` or ``launched``.
        files: Paths of the config's files, in the order in which they are layered.
        root: Program of prime-rl.
        version: Version of prime-rl.
        data: What the files and overrides make, as data.
        run: Id of the run.
        run_dir: Its directory.
        prime_rl_commit: Commit of prime-rl.
        overrides: Arguments of prime-rl.
        command: Command of the launch.
        findings: Findings, as JSON has them.
        note: What is said of it.
        tags: Names to find it by.
        pid: Process of the runner.
        pid_started: When that began.
    """

    kind: str
    files: tuple[str, ...]
    root: str
    version: str
    data: Mapping[str, Any]
    run: str = ""
    run_dir: str = ""
    prime_rl_commit: str = ""
    overrides: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    findings: Sequence[Mapping[str, object]] = ()
    note: str = ""
    tags: tuple[str, ...] = ()
    pid: int | None = None
    pid_started: float | None = None


def now() -> str:
    """The time, as it is kept."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def add(connection: sqlite3.Connection, draft: Draft) -> int:
    """Keep a config without its secrets; the number of the entry.

    Raises:
        UsageError: A file cannot be read.
    """
    texts = [(path, cut(_text(path))) for path in draft.files]
    commit, dirty = _repository(draft.files[-1])
    with transaction(connection):
        cursor = connection.execute(
            "INSERT INTO entries (created, kind, path, run, run_dir, root, version, "
            "prime_rl_commit, git_commit, git_dirty, overrides, command, findings, data, note, "
            "pid, pid_started) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                now(), draft.kind, os.path.abspath(draft.files[-1]), draft.run, draft.run_dir,
                draft.root, draft.version, draft.prime_rl_commit, commit, int(dirty),
                json.dumps(cut_arguments(draft.overrides)),
                json.dumps(cut_arguments(draft.command)),
                mask_all(json.dumps(list(draft.findings), default=str)),
                json.dumps(cut_data(dict(draft.data)), default=str), mask_all(draft.note),
                draft.pid, draft.pid_started,
            ),
        )  # fmt: skip
        number = cursor.lastrowid
        assert number is not None
        for position, (path, kept) in enumerate(texts):
            connection.execute(
                "INSERT INTO files VALUES (?, ?, ?, ?)",
                (number, position, os.path.abspath(path), kept.text),
            )
            connection.executemany(
                "INSERT INTO holes VALUES (?, ?, ?, ?)",
                [(number, position, hole.number, hole.key) for hole in kept.holes],
            )
        connection.executemany(
            "INSERT INTO tags VALUES (?, ?)", [(number, tag) for tag in dict.fromkeys(draft.tags)]
        )
    return number


def _text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it is not text in UTF-8") from None


def _repository(path: str) -> tuple[str, bool]:
    """Commit of the repository that a file is in, and whether it has changes."""
    folder = os.path.dirname(os.path.abspath(path))

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", folder, *arguments],
                capture_output=True, text=True, timeout=10, check=False,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if not commit:
        return "", False
    return commit, bool(git("status", "--porcelain", "--untracked-files=no"))


def listed(
    connection: sqlite3.Connection,
    *,
    kind: str | None = None,
    run: str | None = None,
    tag: str | None = None,
    limit: int | None = None,
) -> list[Entry]:
    """Entries, newest first."""
    conditions, values = [], []
    for column, value in (("kind", kind), ("run", run)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if tag is not None:
        conditions.append("id IN (SELECT entry FROM tags WHERE tag = ?)")
        values.append(tag)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT {', '.join(_COLUMNS)} FROM entries{where} ORDER BY id DESC LIMIT ?"
    rows = connection.execute(query, (*values, -1 if limit is None else limit))
    return [Entry._make(row) for row in rows]


def find(connection: sqlite3.Connection, name: str) -> Entry:
    """The entry that a user means: a number, a tag, a run, or a file; the newest of several.

    Raises:
        UsageError: There is none.
    """
    columns = ", ".join(_COLUMNS)
    for query, value in (
        (f"SELECT {columns} FROM entries WHERE id = ?", name if name.isdecimal() else None),
        (
            f"SELECT {columns} FROM entries WHERE id IN (SELECT entry FROM tags WHERE tag = ?) "
            "ORDER BY id DESC LIMIT 1",
            name,
        ),
        (f"SELECT {columns} FROM entries WHERE run = ? ORDER BY id DESC LIMIT 1", name),
        (
            f"SELECT {columns} FROM entries WHERE path = ? ORDER BY id DESC LIMIT 1",
            os.path.abspath(name),
        ),
    ):
        if value is None:
            continue
        row = connection.execute(query, (value,)).fetchone()
        if row is not None:
            return Entry._make(row)
    raise UsageError(
        f"nothing in the history is called {name!r}; prime-train config list names what there is"
    )


class Kept(NamedTuple):
    """A file of an entry.

    Attributes:
        position: Its place among the files.
        path: Where it was.
        text: What it held, with holes where secrets were.
        holes: Number of each hole -> dotted key.
    """

    position: int
    path: str
    text: str
    holes: Mapping[int, str]


def files_of(connection: sqlite3.Connection, entry: int) -> list[Kept]:
    """The files of an entry, in the order in which they are layered."""
    holes: dict[int, dict[int, str]] = {}
    for position, number, key in connection.execute(
        "SELECT position, number, key FROM holes WHERE entry = ?", (entry,)
    ):
        holes.setdefault(position, {})[number] = key
    return [
        Kept(position, path, text, holes.get(position, {}))
        for position, path, text in connection.execute(
            "SELECT position, path, text FROM files WHERE entry = ? ORDER BY position", (entry,)
        )
    ]


def document_of(connection: sqlite3.Connection, entry: int, column: str) -> Any:
    """Something of an entry that is kept as JSON: data, findings, overrides or command."""
    assert column in ("data", "findings", "overrides", "command")
    row = connection.execute(f"SELECT {column} FROM entries WHERE id = ?", (entry,)).fetchone()
    return json.loads(row[0])


def tags_of(connection: sqlite3.Connection, entry: int) -> list[str]:
    """The names that an entry was given."""
    rows = connection.execute("SELECT tag FROM tags WHERE entry = ? ORDER BY tag", (entry,))
    return [tag for (tag,) in rows]


def attempts_of(connection: sqlite3.Connection, entry: int) -> list[dict[str, Any]]:
    """The launches of an entry."""
    names = (
        "number", "started", "resume_step", "ended", "last_step", "seconds", "cause", "detail",
        "code",
    )  # fmt: skip
    rows = connection.execute(
        f"SELECT {', '.join(names)} FROM attempts WHERE entry = ? ORDER BY number", (entry,)
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def checkpoints_of(connection: sqlite3.Connection, entry: int) -> dict[str, int]:
    """The newest step of each state: ``complete`` and ``backed-up``."""
    rows = connection.execute(
        "SELECT state, max(step) FROM checkpoints WHERE entry = ? GROUP BY state", (entry,)
    )
    return dict(rows.fetchall())


def search(connection: sqlite3.Connection, words: str, limit: int | None = None) -> list[Entry]:
    """Entries whose texts, notes, tags, runs or causes of failure hold some words."""
    pattern = "%" + words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    query = (
        f"SELECT {', '.join(_COLUMNS)} FROM entries WHERE note LIKE :p ESCAPE '\\' "
        "OR run LIKE :p ESCAPE '\\' OR path LIKE :p ESCAPE '\\' "
        "OR id IN (SELECT entry FROM files WHERE text LIKE :p ESCAPE '\\') "
        "OR id IN (SELECT entry FROM tags WHERE tag LIKE :p ESCAPE '\\') "
        "OR id IN (SELECT entry FROM attempts WHERE detail LIKE :p ESCAPE '\\' "
        "OR cause LIKE :p ESCAPE '\\') ORDER BY id DESC LIMIT :limit"
    )
    rows = connection.execute(query, {"p": pattern, "limit": -1 if limit is None else limit})
    return [Entry._make(row) for row in rows]
