"""What pytest is told to leave out is left out below the roots as well."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pytest_prime_train.conftests import Conftests


class Ignored:
    """Tells which paths are to be left out.

    pytest's own answer is not asked for, because it loads the conftest.py beside a path on
    version 7, and on later ones forgets collect_ignore in folders that pytest did not visit.
    """

    def __init__(self, config: pytest.Config) -> None:
        option = config.option
        self._config = config
        self._in_virtualenv = option.collect_in_virtualenv
        self._folders = ["__pycache__", *config.getini("norecursedirs")]
        here = config.invocation_params.dir
        self._paths = {_join(here, path) for path in option.ignore or ()}
        self._globs = [_join(here, glob) for glob in option.ignore_glob or ()]
        self._conftests = Conftests(config)
        for folder, module in self._conftests.modules:
            self._paths |= {_join(folder, path) for path in getattr(module, "collect_ignore", ())}
            self._globs += [_join(folder, g) for g in getattr(module, "collect_ignore_glob", ())]

    def __contains__(self, path: str) -> bool:
        if path in self._paths or any(fnmatch(path, glob) for glob in self._globs):
            return True
        return self._is_closed_folder(path) or self._is_ignored_by_a_plugin(Path(path))

    def _is_closed_folder(self, path: str) -> bool:
        if not os.path.isdir(path):
            return False
        if not self._in_virtualenv and _is_virtualenv(path):
            return True
        return any(_is_folder(path, pattern) for pattern in self._folders)

    def _is_ignored_by_a_plugin(self, path: Path) -> bool:
        manager = self._config.pluginmanager
        main = manager.get_plugin("main")  # pytest's own answer
        without = [main, *self._conftests.elsewhere(path.parent)]
        hook = manager.subset_hook_caller("pytest_ignore_collect", without)
        arguments = {"collection_path": path, "config": self._config}
        if hook.spec is not None and "path" in hook.spec.argnames:  # before pytest 9
            from _pytest.compat import legacy_path

            arguments["path"] = legacy_path(path)
        return bool(hook(**arguments))


def _join(folder: Path, path: str | os.PathLike[str]) -> str:
    return os.path.normpath(os.path.join(folder, path))


def _is_virtualenv(path: str) -> bool:
    marks = ("pyvenv.cfg", os.path.join("conda-meta", "history"))
    return any(os.path.isfile(os.path.join(path, mark)) for mark in marks)


def _is_folder(path: str, pattern: str) -> bool:
    """Whether a folder is what an entry of norecursedirs means, as pytest reads it."""
    if os.sep not in pattern:
        return fnmatch(os.path.basename(path), pattern)
    return fnmatch(path, pattern if os.path.isabs(pattern) else f"*{os.sep}{pattern}")
