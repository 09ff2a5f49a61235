"""What the processes of a launch wrote, and nothing of what earlier launches wrote."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LOGS = "logs"
_SUFFIXES = (".log", ".stdout", ".stderr")
_NAMES = ("stdout", "stderr")
_MOST_FILES = 2000
_MOST_BYTES = 1 << 20
LAUNCHER = "launcher.log"
# Whose words are looked at first: who fails tells more than who loses a connection by it.
_ORDER = (
    re.compile(r"torchrun/.*stderr$"),
    re.compile(r"torchrun/"),
    re.compile(r"trainer"),
    re.compile(r"orchestrator"),
    re.compile(r"inference"),
    re.compile(r"envs?"),
)


class JobLogs:
    """The logs of one launch.

    Args:
        run_dir: Directory of the run.
        launcher: What prime-rl's launcher itself writes to, which the runner made.
    """

    def __init__(self, run_dir: Path, launcher: Path) -> None:
        self._folder = run_dir / _LOGS
        self._launcher = launcher
        self._before = {path: _identity(path) for path in self._files()}

    def texts(self) -> dict[str, str]:
        """The end of what each log got since, by its path in the folder of logs."""
        found: dict[str, str] = {}
        for path in self._files():
            inode, size = self._before.get(path, (0, 0))
            now = _identity(path)
            text = _read(path, size if now[0] == inode and now[1] >= size else 0)
            if text:
                found[path.relative_to(self._folder).as_posix()] = text
        text = _read(self._launcher, 0)
        if text:
            found[LAUNCHER] = text
        return dict(sorted(found.items(), key=lambda item: (_rank(item[0]), item[0])))

    def _files(self) -> list[Path]:
        return list(_walk(self._folder))


def _rank(name: str) -> int:
    if name == LAUNCHER:
        return len(_ORDER)
    return next((place for place, one in enumerate(_ORDER) if one.search(name)), len(_ORDER))


def _walk(folder: Path) -> Iterator[Path]:
    """The logs below a folder; links are not followed, so that none is seen twice."""
    count = 0
    for current, _, files in os.walk(folder):
        for name in files:
            if name.endswith(_SUFFIXES) or name in _NAMES:
                count += 1
                if count > _MOST_FILES:
                    return
                yield Path(current, name)


def _identity(path: Path) -> tuple[int, int]:
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size
    return 0, 0


def _read(path: Path, start: int) -> str:
    with suppress(OSError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - _MOST_BYTES))
        return file.read(_MOST_BYTES).decode("utf-8", "replace")
    return ""
