"""Makes the n-th operation on the files below a folder fail, or end the process.

The functions of ``os`` that the project changes files with are wrapped; everything else of the
operating system is real.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CALLS = (
    "ftruncate",
    "fsync",
    "mkdir",
    "open",
    "preadv",
    "pread",
    "pwrite",
    "rename",
    "replace",
    "rmdir",
    "unlink",
    "utime",
    "write",
)
"""Everything that is wrapped."""


class FailingCalls:
    """Counts operations below some folders and spoils chosen ones.

    Attributes:
        count: Operations so far.
        hits: How many were spoiled.
        names: What the operations were.
    """

    def __init__(
        self,
        folders: list[Path],
        number: int,
        error: int,
        *,
        lasting: bool = False,
        kill: bool = False,
    ) -> None:
        self._prefixes = tuple(os.path.realpath(folder) for folder in folders)
        self._number = number
        self._error = error
        self._lasting = lasting
        self._kill = kill
        self._lock = threading.Lock()
        self.count = 0
        self.hits = 0
        self.names: list[str] = []

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The operation, which may fail."""

        def wrapped(target: Any, *arguments: Any, **options: Any) -> Any:
            path = self._path_of(target)
            if path is not None and path.startswith(self._prefixes):
                self._strike(name, path)
            return call(target, *arguments, **options)

        return wrapped

    def _path_of(self, target: Any) -> str | None:
        if isinstance(target, int):
            with suppress(OSError):
                return os.readlink(f"/proc/self/fd/{target}")
            return None
        return os.path.abspath(os.fsdecode(target))

    def _strike(self, name: str, path: str) -> None:
        with self._lock:
            self.count += 1
            self.names.append(name)
            hit = self.count == self._number or (self._lasting and self.count > self._number)
            self.hits += hit
        if hit and self._kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if hit:
            raise OSError(self._error, os.strerror(self._error), path)


@contextmanager
def failing_calls(
    folders: list[Path], number: int, error: int, *, lasting: bool = False, kill: bool = False
) -> Iterator[FailingCalls]:
    """Spoil the operation of a number, or also all that follow.

    Args:
        folders: Only operations on what is below these count.
        number: Counted from 1; 0 spoils none and only counts.
        error: Number of the error of the operating system.
        lasting: Spoil all that follow as well, as a full disk does.
        kill: End the process in place of an error.
    """
    plan = FailingCalls(folders, number, error, lasting=lasting, kill=kill)
    kept = {name: getattr(os, name) for name in CALLS}
    try:
        for name, call in kept.items():
            setattr(os, name, plan.wrap(name, call))
        yield plan
    finally:
        for name, call in kept.items():
            setattr(os, name, call)
