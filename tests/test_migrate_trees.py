"""The configs that prime-rl shipped with older versions, migrated to the newest."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_prime_train.config.resolve import Config
from pytest_prime_train.config.statements import comments_in
from pytest_prime_train.migrations.files import Migrated, Migrator, Request
from pytest_prime_train.migrations.plan import date, plan
from pytest_prime_train.schema.bundle import schema_of
from pytest_prime_train.schema.versions import NEWEST
from test_migrate_text import is_in_order, unchanged_lines

SCRIPTS = Path(sys.executable).parent
OLDER = ("v0.2", "v0.4.0", "v0.6.0", "v0.8.0")


class Tree(NamedTuple):
    """One version's configs before and after."""

    version: str
    before: dict[str, str]
    after: dict[str, str]
    files: list[Migrated]


@pytest.fixture(scope="module", params=[*OLDER, NEWEST])
def tree(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Tree:
    version: str = request.param
    folder = tmp_path_factory.mktemp("configs") / version
    shutil.copytree(shared / "prime-rl" / "configs" / version, folder)
    paths = sorted(folder.rglob("*.toml"))
    for path in paths:
        path.chmod(0o644)
    before = {str(path): path.read_bytes().decode() for path in paths}
    files = Migrator(Request()).migrate(list(before), write=True)
    after = {str(path): path.read_bytes().decode() for path in paths}
    return Tree(version, before, after, files)


def share(files: list[Migrated], what: str) -> float:
    """How many of the files are valid, or need nobody."""
    if what == "valid":
        return sum(one.state != "refused" for one in files) / len(files)
    return sum(not one.needs_person for one in files) / len(files)


# Fragments of evaluations and the program that synthesized data cannot be valid alone.
VALID = {"v0.2": 0.70, "v0.4.0": 0.70, "v0.6.0": 1.0, "v0.8.0": 1.0, NEWEST: 1.0}
NEEDS_NOBODY = {"v0.2": 0.50, "v0.4.0": 0.50, "v0.6.0": 0.66, "v0.8.0": 1.0, NEWEST: 1.0}


def test_every_file_ends_valid_or_with_what_needs_a_person(tree: Tree) -> None:
    assert share(tree.files, "valid") >= VALID[tree.version]
    assert share(tree.files, "nobody") >= NEEDS_NOBODY[tree.version]
    for one in tree.files:
        if one.state == "refused":
            assert one.needs_person, one.path
        if one.written:
            assert date(tomllib.loads(one.result), one.path, one.root).origin == NEWEST


def test_the_project_itself_finds_no_fault_in_what_was_written(tree: Tree) -> None:
    written = [one for one in tree.files if one.written]
    assert written or tree.version == NEWEST
    for one in written:
        done = Migrator(Request()).checker.check_file(one.path)
        errors = [found for found in done.findings if found.category == "schema"]
        assert [found.message for found in errors if found.severity == "error"] == [], one.path


def test_only_what_was_written_differs(tree: Tree) -> None:
    written = {one.path for one in tree.files if one.written}
    differing = {path for path in tree.before if tree.before[path] != tree.after[path]}
    assert differing == written


def test_a_second_run_changes_nothing(tree: Tree) -> None:
    again = Migrator(Request()).migrate(list(tree.after), write=True)
    assert [one.path for one in again if one.changed or one.written] == []
    assert {path: Path(path).read_bytes().decode() for path in tree.after} == tree.after


def test_every_comment_stays(tree: Tree) -> None:
    for path, text in tree.before.items():
        assert Counter(comments_in(text)) == Counter(comments_in(tree.after[path])), path


def test_lines_whose_keys_have_not_changed_have_not_changed(tree: Tree) -> None:
    for one in tree.files:
        if one.plan is None or not one.written:
            continue
        lines = unchanged_lines(tree.before[one.path], one.plan.draft.tree)
        assert is_in_order(lines, tree.after[one.path]), one.path


def leaves(value: Any) -> Iterator[str]:
    """Every value of a document that is no table."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for item in value:
            yield from leaves(item)
    else:
        yield repr(value)


def test_most_values_of_a_file_are_in_its_result(tree: Tree) -> None:
    shares = []
    for one in tree.files:
        if one.state == "refused":
            continue
        old = Counter(leaves(tomllib.loads(tree.before[one.path])))
        new = Counter(leaves(tomllib.loads(tree.after[one.path])))
        if old:
            shares.append((old & new).total() / old.total())
    assert sum(shares) / len(shares) >= 0.85


def plain(value: Any) -> Any:
    """A resolved value as a file could have it."""
    if value is None:
        return "None"
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def test_the_resolved_old_config_becomes_the_resolved_new_one(tree: Tree) -> None:
    """Resolving and then changing is the same as changing and then resolving."""
    compared = 0
    for path, text in tree.before.items():
        data = tomllib.loads(text)
        dated = date(data, path)
        if not dated.accepted or dated.root is None or dated.origin == NEWEST:
            continue
        found = plan(data, dated)
        if found.refusals:
            continue
        old = Config(data, dated.root, schema_of(dated.origin))
        carried = plan(plain(old.values), dated)
        newest = schema_of(NEWEST)
        assert (
            Config(carried.data, dated.root, newest).values
            == Config(found.data, dated.root, newest).values
        ), path
        compared += 1
    assert compared > 40 or tree.version == NEWEST


@pytest.mark.parametrize("target", ["v0.5.0", "v0.7.0"])
def test_files_become_those_of_a_version_in_between(shared: Path, target: str) -> None:
    folder = shared / "prime-rl" / "configs" / "v0.4.0"
    paths = [str(path) for path in sorted(folder.rglob("*.toml"))]
    files = Migrator(Request(target=target)).migrate(paths, write=False)
    rl = [one for one in files if one.root == "rl"]
    assert len(rl) > 20
    assert [one.path for one in rl if one.state == "refused"] == []


def test_the_command_agrees_with_the_function(shared: Path, tmp_path: Path) -> None:
    source = shared / "prime-rl" / "configs" / "v0.6.0" / "examples"
    folder = tmp_path / "examples"
    shutil.copytree(source, folder)
    done = subprocess.run(
        [SCRIPTS / "prime-train", "migrate", folder, "--check", "--format", "json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    paths = [str(path) for path in sorted(folder.rglob("*.toml"))]
    files = Migrator(Request()).migrate(paths, write=False)
    assert [entry["path"] for entry in document["files"]] == [one.path for one in files]
    assert [entry["changed"] for entry in document["files"]] == [one.changed for one in files]
    assert not any(entry["written"] for entry in document["files"])
