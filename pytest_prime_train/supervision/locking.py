"""One runner for one run: a lock that the kernel gives back when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_prime_train.resilience.files import make_folder

_NAME = "runner.lock"
_MOST_BYTES = 4096


class OtherRunner(Exception):
    """Another runner holds the run; the text is one sentence."""


@contextmanager
def only_runner(state_dir: Path, run: str) -> Iterator[None]:
    """Hold the lock of a run.

    The lock is on an open file, so that it cannot outlive its holder, and launched processes do
    not get the file.

    Raises:
        OtherRunner: Another process holds it.
        OSError: The file cannot be written.
    """
    make_folder(state_dir)
    path = state_dir / _NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OtherRunner(
                f"another runner{_holder(descriptor)} is at work on the run {run}; wait until it "
                "has ended, or end it"
            ) from error
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid()}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    with suppress(OSError, ValueError, TypeError, KeyError):
        pid = json.loads(os.pread(descriptor, _MOST_BYTES, 0))["pid"]
        return f" (process {int(pid)})"
    return ""
