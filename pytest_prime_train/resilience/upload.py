"""The upload of one step: data first, then what makes the step exist.

The order is what keeps a crash harmless. Files are sent under a name that no manifest speaks of;
their sizes are read back from the store; the step on this machine is looked at once more; and only
then the manifest is written, read back, and the step said to be backed up.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pytest_prime_train.resilience import manifest as manifests
from pytest_prime_train.resilience.checkpoint import LocalFile, LocalStep, inspect
from pytest_prime_train.resilience.files import SharedFile
from pytest_prime_train.resilience.journal import FileJournal, Journal, journal_of
from pytest_prime_train.resilience.keys import (
    data_prefix,
    manifest_key,
    new_generation,
    utc,
)
from pytest_prime_train.resilience.layout import Layout
from pytest_prime_train.resilience.manifest import FileEntry, Manifest
from pytest_prime_train.resilience.outcomes import StoreFails, local_error, local_files
from pytest_prime_train.resilience.owner import confirm_own
from pytest_prime_train.resilience.place import Survey
from pytest_prime_train.resilience.stores import Buffer, Part, Store
from pytest_prime_train.resilience.transfer import Progress, each
from pytest_prime_train.resilience.without_secrets import without_secrets

_MOST_BUFFER_BYTES = 160 << 20
_MOST_CONFIG_BYTES = 4 << 20
_WORKERS_FOR_SMALL = 8


class Task(NamedTuple):
    """What the uploads of one push have in common.

    Attributes:
        layout: The run.
        store: Where it is backed up.
        folder: What is remembered on this machine of backups of this run to this store.
        found: What was in the store when the push began.
        progress: Is told how far it is.
        stop: Set by the caller to end it soon.
    """

    layout: Layout
    store: Store
    folder: Path
    found: Survey
    progress: Progress
    stop: threading.Event | None

    def is_used(self, step: int, generation: str) -> bool:
        """Whether a manifest speaks of an upload, which then must not be touched."""
        remote = self.found.step(step)
        if remote is None or remote.state == "uploading":
            return False
        return remote.manifest is None or remote.manifest.generation == generation

    def give_up(self, journal: Journal, step: int) -> None:
        """Remove everything that an earlier upload left which is not to be gone on with.

        Raises:
            BackupError: The store fails; the journal is kept, so that it can be tried again.
        """
        generation, ids = journal.leftover()
        if not self.is_used(step, generation):
            remove_upload(self.store, step, generation, ids)
        journal.remove()


class StepGone(Exception):
    """The step was deleted or changed while it was read; the text says which."""


class Pushed(NamedTuple):
    """A step that is backed up now.

    Attributes:
        step: Its number.
        bytes: Of all of its files.
        sent_bytes: Of those that had to be sent.
        seconds: That it took.
    """

    step: int
    bytes: int
    sent_bytes: int
    seconds: float


def remove_upload(store: Store, step: int, generation: str, ids: Mapping[str, str]) -> None:
    """Remove everything that an upload has left in the store.

    Args:
        generation: Name of the upload; nothing is done for what is none.
        ids: Of its uploads in parts, by path.

    Raises:
        BackupError: The store fails.
    """
    if manifests.is_generation(generation):
        prefix = data_prefix(step, generation)
        for path, id in ids.items():
            if manifests.is_safe_path(path):
                store.abort(prefix + path, id)
        keys = [entry.key for entry in store.list(prefix)]
        each(keys, store.delete, _WORKERS_FOR_SMALL)


class _Piece(NamedTuple):
    """A range of a file, to be sent as one request."""

    file: _File
    number: int
    offset: int
    length: int


class _File:
    """A file that is being sent."""

    def __init__(self, path: str, source: LocalFile, chunk_bytes: int) -> None:
        self.path = path
        self.source = source
        self.chunk_bytes = chunk_bytes
        self.upload = ""
        self.parts: dict[int, Part] = {}
        self.digests: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._opened: SharedFile | None = None

    @property
    def count(self) -> int:
        """How many pieces it is sent in."""
        return max(1, -(-self.source.size // self.chunk_bytes))

    def pieces(self) -> Iterator[_Piece]:
        """Every piece that the store does not have."""
        for number in range(1, self.count + 1):
            if number not in self.parts:
                start = (number - 1) * self.chunk_bytes
                length = min(self.chunk_bytes, self.source.size - start)
                yield _Piece(self, number, start, length)

    def read(self, piece: _Piece, buffer: bytearray) -> Buffer:
        """The bytes of a piece.

        Raises:
            StepGone: The file is not there, or not as it was.
            OSError: It cannot be read.
        """
        view = memoryview(buffer)[: piece.length]
        done = 0
        with self._open().use() as descriptor:
            while done < piece.length:
                got = os.preadv(descriptor, [view[done:]], piece.offset + done)
                if not got:
                    raise StepGone(_CHANGED)
                done += got
        return buffer if piece.length == len(buffer) else view

    def _open(self) -> SharedFile:
        with self._lock:
            if self._opened is None:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                try:
                    self._opened = SharedFile(os.open(self.source.path, flags))
                except FileNotFoundError as error:
                    raise StepGone(_DELETED) from error
                self._check(self._opened)
            return self._opened

    def check(self) -> None:
        """Make sure that the open file is still the one that was judged.

        Raises:
            StepGone: It is not.
        """
        self._check(self._open())

    def _check(self, opened: SharedFile) -> None:
        with opened.use() as descriptor:
            facts = os.fstat(descriptor)
        now = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
        if now != (self.source.size, self.source.mtime_ns, self.source.inode):
            raise StepGone(_CHANGED)

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()

    def entry(self) -> FileEntry:
        source = self.source
        return FileEntry(self.path, source.size, source.mtime_ns, self.chunk_bytes, self.digests)


_DELETED = "it was deleted while it was uploaded"
_CHANGED = "it was changed while it was uploaded"


class Upload:
    """The upload of one step.

    Attributes:
        manifest: What makes the step exist; set once it does.
    """

    manifest: Manifest

    def __init__(self, task: Task, local: LocalStep) -> None:
        self.task = task
        self.store = task.store
        self.local = local
        self.files = [
            _File(path, local.files[path], chunk_bytes(task.store, local.files[path].size))
            for path in manifests.in_order(list(local.files))
        ]
        self.journal = journal_of(
            task.folder, local, {file.path: file.chunk_bytes for file in self.files}
        )
        self.sent_bytes = 0
        self._lock = threading.Lock()
        self._buffers = threading.local()

    def run(self) -> Pushed:
        """Send what the store does not have, and make the step exist.

        Raises:
            StepGone: The step was deleted or changed meanwhile.
            BackupError: Anything else that kept it from being done.
        """
        started = time.monotonic()
        try:
            self._go_on_or_start()
            self.task.progress.begin(f"step {self.local.step}", self.local.bytes)
            kept = sum(part.size for file in self.files for part in file.parts.values()) + sum(
                file.source.size for file in self.files if file.digests
            )
            self.task.progress.add(kept)
            each(self._pieces(), self._send, self._workers(), self.task.stop)
            more = self._send_more()
            self._read_sizes_back(more)
            self._look_once_more()
            self._write_manifest(more)
        finally:
            for file in self.files:
                file.close()
            self.journal.close()
            self.task.progress.end()
        self.journal.remove()
        seconds = time.monotonic() - started
        return Pushed(self.local.step, self.manifest.bytes, self.sent_bytes, seconds)

    def give_up(self) -> None:
        """Remove everything that was sent."""
        ids = {file.path: file.upload for file in self.files if file.upload}
        remove_upload(self.store, self.local.step, self.journal.generation, ids)
        self.journal.remove()

    def _workers(self) -> int:
        """As many as the memory for their buffers allows."""
        largest = max(min(file.chunk_bytes, file.source.size) for file in self.files)
        return max(1, min(self.store.workers, _MOST_BUFFER_BYTES // max(1, largest)))

    def _go_on_or_start(self) -> None:
        self.journal.load()
        known = self.journal.generation
        if known and not self.task.is_used(self.local.step, known):
            for file in self.files:
                if file.path in self.journal.files:
                    self._trust(file, self.journal.files[file.path])
            self.journal.go_on()
            return
        self.task.give_up(self.journal, self.local.step)
        self.journal.start(new_generation())

    def _trust(self, file: _File, known: FileJournal) -> None:
        """Take from a journal what the store confirms."""
        if known.finished:
            if self.store.size(self._key(file.path)) == file.source.size:
                file.digests = known.finished
            return
        if not known.upload or file.count == 1:
            return
        parts = [
            ((part.number - 1) * file.chunk_bytes, part)
            for part in known.parts.values()
            if 1 <= part.number <= file.count
        ]
        kept = self.store.kept(self._key(file.path), known.upload, parts)
        if kept:
            file.upload = known.upload
            file.parts = {number: known.parts[number] for number in kept}

    def _key(self, path: str) -> str:
        return data_prefix(self.local.step, self.journal.generation) + path

    def _pieces(self) -> Iterator[_Piece]:
        for file in self.files:
            if file.digests:
                continue
            if file.count > 1 and not file.upload:
                file.upload = self.store.begin(self._key(file.path))
                self.journal.begun(file.path, file.upload)
            missing = list(file.pieces())
            if not missing:
                self._finish(file)
            yield from missing

    def _send(self, piece: _Piece) -> None:
        file = piece.file
        size = min(file.chunk_bytes, file.source.size)
        buffer: bytearray = getattr(self._buffers, "buffer", bytearray())
        if len(buffer) != size:
            buffer = self._buffers.buffer = bytearray(size)
        try:
            data = file.read(piece, buffer)
        except OSError as error:
            raise local_error(error, "reading the checkpoint") from error
        key = self._key(file.path)
        if file.count == 1:
            digest = self.store.put(key, data)
            part = Part(1, piece.length, "", digest)
        else:
            part = self.store.write_part(key, file.upload, piece.number, piece.offset, data)
            self.journal.took(file.path, part)
        with self._lock:
            self.sent_bytes += piece.length
            file.parts[piece.number] = part
            is_last = len(file.parts) == file.count
        self.task.progress.add(piece.length)
        if is_last:
            file.check()
            self._finish(file)
            file.close()

    def _finish(self, file: _File) -> None:
        parts = [file.parts[number] for number in range(1, file.count + 1)]
        if file.count > 1:
            self.store.finish(self._key(file.path), file.upload, parts)
        file.digests = tuple(part.sha256 for part in parts)
        self.journal.finished(file.path, file.digests)

    def _send_more(self) -> list[FileEntry]:
        """Send what prime-rl may write at any moment: the configs of the run, and its mark."""
        entries = []
        for name, path in _beside(self.task.layout, self.local.step):
            with suppress(OSError, ValueError):
                facts = path.stat()
                if facts.st_size > _MOST_CONFIG_BYTES:
                    continue
                data = without_secrets(path.name, path.read_bytes())
                digest = self.store.put(self._key(name), data)
                entries.append(
                    FileEntry(name, len(data), facts.st_mtime_ns, _MOST_CONFIG_BYTES, (digest,))
                )
        return entries

    def _read_sizes_back(self, more: Sequence[FileEntry]) -> None:
        """Ask the store for the size of everything that was sent.

        Raises:
            StoreFails: Something is not there, or not whole.
        """

        def check(entry: FileEntry) -> None:
            size = self.store.size(self._key(entry.path))
            if size != entry.size:
                has = "is not there" if size is None else f"has {size} of {entry.size} bytes"
                raise StoreFails(
                    f"{self.store.url}: {entry.path} of step {self.local.step} was sent and {has}"
                )

        entries = [*(file.entry() for file in self.files), *more]
        each(entries, check, _WORKERS_FOR_SMALL)

    def _look_once_more(self) -> None:
        """Make sure that what was sent is a complete step, and the one that is there.

        Raises:
            StepGone: It is not.
        """
        with local_files("looking at the checkpoints"):
            now = inspect(self.task.layout, self.local.step)
        if not any(path in now.files for path in self.local.files):
            raise StepGone(_DELETED)
        if not now.complete or dict(now.files) != dict(self.local.files):
            raise StepGone(_CHANGED)

    def _write_manifest(self, more: Sequence[FileEntry]) -> None:
        layout = self.task.layout
        self.manifest = Manifest(
            run=layout.run,
            step=self.local.step,
            generation=self.journal.generation,
            root=layout.root,
            prime_rl_version=layout.version,
            created=utc(),
            files=(*(file.entry() for file in self.files), *more),
        )
        data = manifests.to_bytes(self.manifest)
        manifests.from_bytes(data, self.local.step)  # what nobody can read must not be written
        confirm_own(self.store, layout)
        key = manifest_key(self.local.step)
        self.store.put(key, data)
        if self.store.get(key, manifests.MOST_BYTES) != data:
            raise StoreFails(
                f"{self.store.url}: the manifest of step {self.local.step} is not what was written"
            )


def chunk_bytes(store: Store, size: int) -> int:
    """Bytes of the parts that a file of a size is sent in."""
    chunk = store.part_bytes
    while size > chunk * store.most_parts:
        chunk *= 2
    return chunk


def _beside(layout: Layout, step: int) -> Iterator[tuple[str, Path]]:
    """What is kept with a step though no resume needs it, with the paths in a manifest.

    These are the files that say how the run was launched, and the trainer's mark.
    """
    if "trainer" in layout.roles:
        mark = layout.part("trainer", step).parent / "STABLE"
        if mark.is_file() and not mark.is_symlink():
            yield manifests.STABLE_MARK, mark
    names: set[str] = set()
    folder = layout.run_dir / "configs"
    with suppress(OSError):
        for path in sorted(folder.rglob("*.json")):
            name = f"configs/{path.relative_to(folder).as_posix()}"
            if path.is_file() and not path.is_symlink() and manifests.is_safe_path(name):
                names.add(name.casefold())
                yield name, path
    if layout.config is not None:
        name = f"configs/launched-with/{layout.config.name}"
        if manifests.is_safe_path(name) and name.casefold() not in names:
            yield name, layout.config
