"""Which files are meant by the paths that a user names."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pytest_prime_train.findings import UsageError

TOML_SUFFIX = ".toml"
"""What the files are called that are looked for in folders."""

# Folders that hold other people's files.
_SKIPPED_FOLDERS = frozenset(("node_modules", "site-packages", "__pycache__", "venv"))


def find_files(paths: Iterable[str]) -> list[str]:
    """Every TOML file named by, or found below, the paths, sorted and without duplicates.

    A file that is named is taken whatever its suffix; links to folders are not followed.

    Raises:
        UsageError: A path does not exist or cannot be opened.
    """
    found: set[str] = set()
    for path in paths:
        if os.path.isdir(path):
            found.update(_files_below(path))
            continue
        try:
            os.stat(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"{path}: {reason[:1].lower()}{reason[1:]}") from error
        found.add(path)
    return sorted(found)


def _files_below(folder: str) -> Iterable[str]:
    def fail(error: OSError) -> None:
        if error.filename == folder:
            raise UsageError(f"{folder}: {(error.strerror or str(error)).lower()}") from error

    for current, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [
            name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS
        ]
        for name in files:
            if name.endswith(TOML_SUFFIX):
                yield os.path.join(current, name)
