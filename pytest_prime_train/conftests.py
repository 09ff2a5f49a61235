"""The conftest.py files that pytest has loaded, and what they say about a path.

Checking configs runs no code that lies beside them, so no conftest.py is loaded here. pytest's own
look-ups load some on version 7, and know nothing of folders that it did not visit on the others.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


class Conftests:
    """The loaded conftest.py files.

    Attributes:
        modules: Each with its folder.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.modules: list[tuple[Path, ModuleType]] = []
        for plugin in config.pluginmanager.get_plugins():
            path = getattr(plugin, "__file__", None)
            if isinstance(plugin, ModuleType) and path and os.path.basename(path) == "conftest.py":
                self.modules.append((Path(path).parent, plugin))

    def elsewhere(self, path: Path) -> list[ModuleType]:
        """Those that do not lie above a path, so that they do not concern it."""
        above = {path, *path.parents}
        return [module for folder, module in self.modules if folder not in above]


class HooksFor:
    """The hooks that concern a path, as attributes; what ``Node.ihook`` is for pytest's nodes."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._manager = config.pluginmanager
        self._others = Conftests(config).elsewhere(path)

    def __getattr__(self, name: str) -> Any:
        hook = self.__dict__[name] = self._manager.subset_hook_caller(name, self._others)
        return hook
