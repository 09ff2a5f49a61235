"""What a backup remembers on this machine between its runs: the lock, and how far uploads are.

A journal only saves work: without it, or when it cannot be written because the disk is full, a
step is uploaded from its start. Nothing in one is believed without asking the store.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from pytest_prime_train.resilience.checkpoint import LocalFile, LocalStep
from pytest_prime_train.resilience.files import make_folder, write_all, write_whole
from pytest_prime_train.resilience.layout import Layout
from pytest_prime_train.resilience.outcomes import Busy
from pytest_prime_train.resilience.stores import Part, Store

_VERSION = 1
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class FileJournal(NamedTuple):
    """How far the upload of one file is.

    Attributes:
        upload: Id of its upload in parts; empty for a file that is sent whole.
        parts: What the store has taken, by number.
        finished: Digests of the whole file, once the store has it; empty before.
    """

    upload: str
    parts: dict[int, Part]
    finished: tuple[str, ...]


class Journal:
    """How far the upload of one step is, written line by line.

    Attributes:
        generation: Name of the upload; empty if there was none to go on with.
        files: What is known of every file, by its path.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._descriptor = -1
        self._lock = threading.Lock()
        self.generation = ""
        self.files: dict[str, FileJournal] = {}

    def load(self) -> None:
        """Read what an earlier run left, if it was about the same bytes."""
        with suppress(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
            lines = self._path.read_text(encoding="utf-8").split("\n")
            head = json.loads(lines[0])
            if head.get("version") != _VERSION or head["key"] != self._key:
                return
            generation = str(head["generation"])
            # The last line of a run that was killed may be torn.
            for line in lines[1:-1]:
                self._take(json.loads(line))
            self.generation = generation

    def _take(self, entry: dict[str, Any]) -> None:
        path = entry["path"]
        known = self.files.get(path, FileJournal("", {}, ()))
        if "upload" in entry:
            known = FileJournal(str(entry["upload"]), {}, ())
        if "part" in entry:
            part = Part(*entry["part"])
            known.parts[part.number] = part
        if "finished" in entry:
            known = known._replace(finished=tuple(entry["finished"]))
        self.files[path] = known

    def leftover(self) -> tuple[str, dict[str, str]]:
        """The upload that an earlier run left, whatever it was about, and its ids by path."""
        with suppress(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
            lines = self._path.read_text(encoding="utf-8").split("\n")
            generation = str(json.loads(lines[0])["generation"])
            entries = [json.loads(line) for line in lines[1:-1]]
            ids = {one["path"]: str(one["upload"]) for one in entries if "upload" in one}
            return generation, ids
        return "", {}

    def start(self, generation: str) -> None:
        """Begin anew with an upload of this name."""
        self.files = {}
        self.generation = generation
        head = {"version": _VERSION, "key": self._key, "generation": generation}
        with suppress(OSError):
            make_folder(self._path.parent)
            self._descriptor = os.open(self._path, _FLAGS | os.O_CREAT | os.O_TRUNC, 0o600)
            self._write(head)

    def go_on(self) -> None:
        """Add to what an earlier run wrote."""
        with suppress(OSError):
            whole = self._path.read_bytes().rpartition(b"\n")[0] + b"\n"
            self._descriptor = os.open(self._path, _FLAGS)
            os.ftruncate(self._descriptor, len(whole))

    def begun(self, path: str, upload: str) -> None:
        """An upload in parts was begun for a file."""
        self._add({"path": path, "upload": upload})

    def took(self, path: str, part: Part) -> None:
        """The store has taken a part of a file."""
        self._add({"path": path, "part": list(part)})

    def finished(self, path: str, digests: tuple[str, ...]) -> None:
        """The store has a whole file."""
        self._add({"path": path, "finished": list(digests)})

    def _add(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self._take(entry)
            self._write(entry)

    def _write(self, entry: dict[str, Any]) -> None:
        if self._descriptor < 0:
            return
        try:
            write_all(self._descriptor, json.dumps(entry).encode() + b"\n")
        except OSError:
            self.close()  # what comes after a torn line could not be read

    def remove(self) -> None:
        """Forget it: the step is backed up or given up."""
        self.close()
        with suppress(OSError):
            os.unlink(self._path)

    def close(self) -> None:
        """Stop writing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)


def folder_of(layout: Layout, store: Store) -> Path:
    """Where the state of backups of a run to a store is kept."""
    name = hashlib.sha256(store.url.encode()).hexdigest()[:16]
    return layout.state_dir / f"backup-{name}"


def journal_of(folder: Path, local: LocalStep, chunk_of: dict[str, int]) -> Journal:
    """The journal of a step as its files are now.

    Args:
        folder: That of ``folder_of``.
        chunk_of: Bytes of the parts of every file.
    """
    facts = [[path, *_facts(file), chunk_of[path]] for path, file in sorted(local.files.items())]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return Journal(folder / f"push-step_{local.step}.jsonl", key)


def _facts(file: LocalFile) -> list[Any]:
    return [os.fspath(file.path), file.size, file.mtime_ns, file.inode]


def pushes_left(folder: Path) -> list[int]:
    """Steps whose upload was begun and neither finished nor given up."""
    steps = []
    with suppress(OSError):
        for path in folder.glob("push-step_*.jsonl"):
            number = path.name.removeprefix("push-step_").removesuffix(".jsonl")
            if number.isdigit():
                steps.append(int(number))
    return sorted(steps)


def open_journal(folder: Path, step: int) -> Journal:
    """The journal of a step whatever its files are now; only for giving its upload up."""
    return Journal(folder / f"push-step_{step}.jsonl", "")


def read_doomed(folder: Path) -> set[str]:
    """Uploads whose manifest was deleted, and whose objects may be left."""
    with suppress(OSError, ValueError, TypeError):
        return {str(name) for name in json.loads((folder / "doomed.json").read_bytes())}
    return set()


def write_doomed(folder: Path, names: set[str]) -> None:
    """Remember uploads whose manifest is about to be deleted."""
    path = folder / "doomed.json"
    with suppress(OSError):
        if not names:
            os.unlink(path)
            return
        make_folder(folder)
        write_whole(path, json.dumps(sorted(names)).encode())


@contextmanager
def lock(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a run's backups to a store.

    Where no lock can be held, because the folder cannot be written or the file system knows none,
    the command goes on: what it does is right without, only work may be done twice.

    Raises:
        Busy: Another process holds it.
    """
    descriptor = -1
    with suppress(OSError):
        make_folder(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if descriptor >= 0:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(
                    f"another backup command is at work on {what}; wait until it has ended"
                ) from error
            except OSError:
                pass
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)
