"""Writing files and folders so that they survive a crash of the machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class SharedFile:
    """An open file that several threads use.

    It is closed when the last of them is done, so that none can ever touch another file that was
    given its number meanwhile.

    Args:
        descriptor: Of the open file, which belongs to this object from now on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._users = 0
        self._is_closed = False

    @contextmanager
    def use(self) -> Iterator[int]:
        """The descriptor, which is valid until the end of the block.

        Raises:
            ValueError: The file is closed.
        """
        with self._lock:
            if self._is_closed:
                raise ValueError("the file is closed")
            self._users += 1
        try:
            yield self._descriptor
        finally:
            with self._lock:
                self._users -= 1
                self._close_if_unused()

    def close(self) -> None:
        """Close it as soon as nobody uses it; may be called more than once."""
        with self._lock:
            self._is_closed = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_closed and not self._users and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all bytes at the place where an open file is."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_new(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file that must not exist.

    Args:
        durable: Bring it to the disk; its folder is not.
    """
    descriptor = os.open(path, _FLAGS | os.O_EXCL, 0o644)
    try:
        write_all(descriptor, data)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, in place of any that has its name."""
    temporary = path.with_name(f".new-{path.name}")
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    write_new(temporary, data)
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and what is above it, each brought to the disk."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    with suppress(FileExistsError):
        os.mkdir(folder)
        sync_folder(folder.parent)
