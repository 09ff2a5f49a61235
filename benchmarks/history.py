"""How the history stands many writers that are killed, and how quick it is with many entries.

python benchmarks/history.py [--seconds S]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from pytest_prime_train.history.compare import Side, changes
from pytest_prime_train.history.database import opened, transaction
from pytest_prime_train.history.entries import Draft, add, listed

ROOT = Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / "examples" / "rl.toml")
WRITERS = 8
ENTRIES = 10_000
KEYS = 1_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        writers(Path(folder) / "a" / "history.sqlite3", seconds)
        speed(Path(folder) / "b" / "history.sqlite3")


def writers(path: Path, seconds: float) -> None:
    """Eight processes write, and some are killed."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe(duplex=False) for _ in range(WRITERS)]
    processes = [context.Process(target=_write, args=(path, end)) for _, end in pairs]
    for process in processes:
        process.start()
    acknowledged: set[int] = set()
    killed = 0
    deadline = time.monotonic() + seconds
    source = random.Random(0)
    next_kill = time.monotonic() + 5
    while time.monotonic() < deadline:
        for receiver, _ in pairs:
            while receiver.poll():
                acknowledged.add(receiver.recv())
        if time.monotonic() > next_kill:
            next_kill += max(1.0, seconds / 20)
            number = source.randrange(WRITERS)
            _kill(processes[number])
            killed += 1
            processes[number] = context.Process(target=_write, args=(path, pairs[number][1]))
            processes[number].start()
        time.sleep(0.005)
    for process in processes:
        _kill(process)
    for receiver, _ in pairs:
        while receiver.poll():
            acknowledged.add(receiver.recv())
    with opened(path) as connection:
        there = {entry.id for entry in listed(connection)}
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    print(f"{WRITERS} writers for {seconds:.0f} s, {killed + WRITERS} killed: "
          f"{len(acknowledged)} acknowledged, {len(acknowledged - there)} lost, "
          f"integrity {verdict}")  # fmt: skip


def _write(path: Path, end: Any) -> None:
    draft = Draft("saved", (CONFIG,), "rl", "main-2026-08-21", {}, note="written")
    while True:
        with opened(path) as connection:
            number = add(connection, draft)
        end.send(number)


def _kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def speed(path: Path) -> None:
    """Listing many entries, and comparing two large configs."""
    with opened(path) as connection:
        first = add(connection, Draft("saved", (CONFIG,), "rl", "main-2026-08-21", {}))
        with transaction(connection):
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                "INSERT INTO entries (created, kind, path, run, run_dir, root, version, "
                "prime_rl_commit, git_commit, git_dirty, overrides, command, findings, data, "
                "note) SELECT created, kind, path, 'run-' || i, run_dir, root, version, "
                "prime_rl_commit, git_commit, git_dirty, overrides, command, findings, data, "
                "note FROM entries, n WHERE id = ?",
                (ENTRIES - 1, first),
            )
    best = min(_seconds(lambda: _list(path)) for _ in range(5))
    print(f"config list over {ENTRIES:,} entries: {best * 1e3:.0f} ms")
    data = {"env_vars": {f"NAME_{number}": str(number) for number in range(KEYS)}}
    other = {"env_vars": {f"NAME_{number}": str(number % 997) for number in range(KEYS)}}
    sides = [Side(one, "rl", "main-2026-08-21") for one in (data, other)]
    found = changes(sides[0], sides[1])
    best = min(_seconds(lambda: changes(sides[0], sides[1])) for _ in range(5))
    print(f"diff of {KEYS:,} keys ({len(found)} differ): {best * 1e3:.0f} ms")


def _list(path: Path) -> None:
    import contextlib
    import io

    from pytest_prime_train.history_cli import list_entries

    os.environ["XDG_STATE_HOME"] = str(path.parent.parent / "state")
    target = path.parent.parent / "state" / "prime-train"
    if not target.exists():
        target.parent.mkdir()
        target.symlink_to(path.parent)
    with contextlib.redirect_stdout(io.StringIO()):
        list_entries(run="", tag="", limit=None, output="text")


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
