"""How configs become items: those found below the roots, and those named as arguments.

The roots are not handed to pytest as arguments of its own: some versions then drop the user's own
tests without a word, and all run tests that happen to lie beside the configs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from pytest_prime_train.checker import TOML_SUFFIX
from pytest_prime_train.ignoring import Ignored
from pytest_prime_train.items import PrimeFile, PrimeItem
from pytest_prime_train.pytest_options import SETTINGS, read_settings


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; pytest calls this when the module is registered.

    Raises:
        pytest.UsageError: An option has a value that it cannot have, or a path does not exist.
    """
    config.stash[SETTINGS] = read_settings(config)
    # With xdist the process that the user looks at knows what all the others found.
    if not hasattr(config, "workerinput"):
        module = import_module("pytest_prime_train.summary")
        config.pluginmanager.register(module, "prime-train-summary")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> PrimeFile | None:
    """Serve the TOML files that are arguments, with or without the name of an item."""
    if file_path.suffix == TOML_SUFFIX and parent.session.isinitpath(file_path):
        return PrimeFile.judge(parent, file_path)
    return None


# First, so that -k, -m, --deselect and --lf see our items.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the items of the configs below the roots."""
    settings = session.config.stash[SETTINGS]
    served = {item.path for item in items if isinstance(item, PrimeItem)}
    # An argument inside another one is dropped by some versions of pytest.
    wanted = dict(settings.named)
    for root in settings.roots:
        for path in _files(root, session.config):
            wanted[path] = set()
    for path, names in sorted(wanted.items()):
        if Path(path) not in served:
            items += _items(session, Path(path), names)


def _items(session: pytest.Session, path: Path, names: set[str]) -> list[pytest.Item]:
    """The items of a file, announced as pytest announces its own; no names stand for all."""
    node = PrimeFile.judge(session, path)
    if node is None:
        return []
    items = [item for item in node.collect() if not names or item.name in names]
    for item in items:
        item.ihook.pytest_itemcollected(item=item)
    # pytest counts with this report. It is not asked to make it, because --lf would then leave
    # out files outside the rootdir.
    report = pytest.CollectReport(node.nodeid, "passed", None, list(items))
    node.ihook.pytest_collectreport(report=report)
    return list(items)


def _files(root: str, config: pytest.Config) -> Iterator[str]:
    """The TOML files below a root, or the root itself if it is a file; links are not followed."""
    if not os.path.isdir(root):
        yield root
        return
    ignored = Ignored(config)
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in ignored]
        for name in files:
            path = os.path.join(folder, name)
            if name.endswith(TOML_SUFFIX) and path not in ignored:
                yield path
