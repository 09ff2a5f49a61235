"""The processes of a launch: found while they live, and all ended, wherever they went.

torchrun puts every rank into a session of its own, and prime-rl's processes change their titles
and with them their environment, so neither a process group nor a marker reaches all of them. What
does is a list of all descendants that is kept up to date while they live, and kept on disk: when
the runner itself is killed, the next one ends what is left on the GPUs. On Linux the runner also
adopts what a killed launcher leaves behind.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from pytest_prime_train.resilience.files import write_whole

_FILE = "processes.json"
_PR_SET_CHILD_SUBREAPER = 36
# A process id is reused at some time; with the second in which it began it is one process.
_SAME_START_S = 1.0


class Known(NamedTuple):
    """One process, told from a later one with the same id.

    Attributes:
        pid: Its id.
        started: When it began, in seconds since the epoch.
        name: What it was called when it was seen first.
        parent: Id of its parent then.
    """

    pid: int
    started: float
    name: str
    parent: int


def adopt_orphans() -> bool:
    """Become the parent of descendants whose own parent dies; whether the system can do that."""
    with suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    return False


class Tree:
    """All processes of a launch.

    Attributes:
        known: Those that were seen and may live, by id.
    """

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / _FILE
        self.known: dict[int, Known] = {}
        self._written: frozenset[Known] = frozenset()
        self._apart: set[int] = set()

    def leave_out(self, pid: int) -> None:
        """A child of the runner that is not part of the launch."""
        self._apart.add(pid)

    def refresh(self) -> None:
        """Look for descendants, and keep the list on disk when it has changed."""
        found: dict[int, psutil.Process] = {}
        for child in psutil.Process().children():
            if child.pid not in self._apart:
                _gather(child, found)
        for one in self.known.values():
            if one.pid not in found and _lives(one):
                with suppress(psutil.Error):
                    _gather(psutil.Process(one.pid), found)
        self.known = {
            pid: known for pid, process in found.items() if (known := self._look(process))
        }
        self._keep()

    def _look(self, process: psutil.Process) -> Known | None:
        known = self.known.get(process.pid)
        if known is not None and _lives(known):
            return known
        try:
            with process.oneshot():
                if process.status() == psutil.STATUS_ZOMBIE:
                    return None
                started, name, parent = process.create_time(), process.name(), process.ppid()
                return Known(process.pid, started, name, parent)
        except psutil.Error:
            return None

    def reap(self) -> None:
        """Let go of adopted processes that have ended, which nobody else waits for."""
        for child in psutil.Process().children():
            with suppress(psutil.Error, OSError):
                if child.pid not in self._apart and child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)

    def _keep(self) -> None:
        now = frozenset(self.known.values())
        if now == self._written:
            return
        with suppress(OSError):
            write_whole(self._file, json.dumps(sorted(now)).encode())
            self._written = now

    def left_over(self) -> list[Known]:
        """Processes of an earlier launch of this run that live still."""
        try:
            listed = json.loads(self._file.read_text(encoding="utf-8"))
            known = [Known(int(a), float(b), str(c), int(d)) for a, b, c, d in listed]
        except (OSError, ValueError, TypeError):
            return []
        alive = [one for one in known if _lives(one)]
        self.known = {one.pid: one for one in alive}
        if alive:
            self.refresh()
        return list(self.known.values())

    def living(self) -> list[Known]:
        """Those that live."""
        return [one for one in self.known.values() if _lives(one)]

    def signal_all(self, number: int) -> None:
        """Send a signal to every one that lives."""
        for one in self.living():
            with suppress(psutil.Error, ProcessLookupError, PermissionError):
                psutil.Process(one.pid).send_signal(number)

    def end(self, grace_s: float) -> list[Known]:
        """End every one: politely first, and for certain after ``grace_s`` seconds.

        Returns:
            Those that live all the same, which is a process that the kernel does not let go.
        """
        self.refresh()
        deadline = time.monotonic() + grace_s
        if grace_s > 0:
            self.signal_all(signal.SIGTERM)
            self._wait(deadline)
        for _ in range(3):  # What is killed can have started something a moment before.
            self.refresh()
            if not self.living():
                break
            self.signal_all(signal.SIGKILL)
            self._wait(time.monotonic() + 2.0)
        self.refresh()
        return self.living()

    def _wait(self, deadline: float) -> None:
        waited = [psutil.Process(one.pid) for one in self.living() if psutil.pid_exists(one.pid)]
        left = deadline - time.monotonic()
        if waited and left > 0:
            psutil.wait_procs(waited, timeout=left)


def _gather(process: psutil.Process, found: dict[int, psutil.Process]) -> None:
    """Add a process and all below it."""
    found[process.pid] = process
    with suppress(psutil.Error):
        found.update((child.pid, child) for child in process.children(recursive=True))


def _lives(known: Known) -> bool:
    try:
        process = psutil.Process(known.pid)
        return (
            abs(process.create_time() - known.started) < _SAME_START_S
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def names(processes: Iterable[Known]) -> str:
    """The processes in words, for one line."""
    return ", ".join(f"{one.name} ({one.pid})" for one in sorted(processes))
