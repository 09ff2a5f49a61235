"""The file that history is kept in: one SQLite database for a user of a machine.

It lies outside the directories of runs, which prime-rl deletes and refuses to find files in, and
is for its user alone. Several processes write to it at the same time, and any of them may be
killed: what a call has returned from is on the disk.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_prime_train.findings import UsageError

_NAME = "history.sqlite3"
_WAIT_S = 30.0

# What each version of the file adds to the one before. A released one is never changed.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        created TEXT NOT NULL,
        kind TEXT NOT NULL,
        path TEXT NOT NULL,
        run TEXT NOT NULL,
        run_dir TEXT NOT NULL,
        root TEXT NOT NULL,
        version TEXT NOT NULL,
        prime_rl_commit TEXT NOT NULL,
        git_commit TEXT NOT NULL,
        git_dirty INTEGER NOT NULL,
        overrides TEXT NOT NULL,
        command TEXT NOT NULL,
        findings TEXT NOT NULL,
        data TEXT NOT NULL,
        note TEXT NOT NULL,
        pid INTEGER,
        pid_started REAL,
        ended TEXT,
        code INTEGER,
        outcome TEXT,
        last_step INTEGER,
        lost_steps INTEGER,
        cost_usd REAL,
        seconds REAL
    );
    CREATE INDEX entries_of_run ON entries (run, id);
    CREATE TABLE files (
        entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        path TEXT NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (entry, position)
    ) WITHOUT ROWID;
    CREATE TABLE holes (
        entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        number INTEGER NOT NULL,
        key TEXT NOT NULL,
        PRIMARY KEY (entry, position, number)
    ) WITHOUT ROWID;
    CREATE TABLE tags (
        entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        tag TEXT NOT NULL,
        PRIMARY KEY (tag, entry)
    ) WITHOUT ROWID;
    CREATE TABLE attempts (
        entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        started TEXT NOT NULL,
        resume_step INTEGER,
        ended TEXT,
        last_step INTEGER,
        seconds REAL,
        cause TEXT,
        detail TEXT,
        code INTEGER,
        PRIMARY KEY (entry, number)
    ) WITHOUT ROWID;
    CREATE TABLE checkpoints (
        entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        state TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (entry, step, state)
    ) WITHOUT ROWID;
    """,
)


def default_path() -> Path:
    """Where the history of this user is: below ``XDG_STATE_HOME``, or ``~/.local/state``."""
    base = os.environ.get("XDG_STATE_HOME")
    folder = Path(base) if base and os.path.isabs(base) else Path.home() / ".local" / "state"
    return folder / "prime-train" / _NAME


@contextmanager
def opened(path: Path | None = None) -> Iterator[sqlite3.Connection]:
    """The database, made or brought up to date where needed.

    Raises:
        UsageError: It cannot be opened, is damaged, or is of a newer version of this package.
    """
    path = path or default_path()
    try:
        connection = _open(path)
    except (OSError, sqlite3.Error) as error:
        raise UsageError(f"the history in {path} cannot be opened ({error})") from error
    try:
        yield connection
    except sqlite3.Error as error:
        raise UsageError(f"the history in {path} cannot be used ({error})") from error
    finally:
        connection.close()


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Before SQLite makes it with the permissions of the day, and its companions like it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        _bring_up_to_date(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == len(MIGRATIONS):
        return
    with transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise UsageError(
                f"the history in {path} was written by a newer version of this package "
                f"(format {version}, known is {len(MIGRATIONS)}); update the package"
            )
        for number in range(version, len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block or nothing, while no other process writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
