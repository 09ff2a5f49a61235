"""prime-rl's own published configs: each has the right root and no error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_prime_train.checker import Checker

TREE = "main-2026-08-21"
# As an inference file prime-rl refuses it, because of the key that the trainer takes.
STALE = "k8s/prime-rl/examples/reverse-text/infer.toml"


@pytest.fixture(scope="module")
def accepted(shared: Path) -> dict[str, list[str]]:
    """Path -> roots whose classes accept it, by prime-rl itself."""
    matrix = json.loads((shared / "prime-rl" / "version_matrix.json").read_text())
    return {path: roots.get(TREE, []) for path, roots in matrix["files"][TREE].items()}


@pytest.fixture(scope="module")
def true_of_shipped_files(shared: Path) -> set[str]:
    """Gotchas that some of the files have indeed."""
    catalogue = json.loads((shared / "gotchas" / "catalogue.json").read_text())
    return {one["id"] for one in catalogue["gotchas"] if one.get("shipped_true_positive")}


def test_every_file_gets_a_root_that_accepts_it_and_no_error(
    shared: Path, accepted: dict[str, list[str]], true_of_shipped_files: set[str]
) -> None:
    tree = shared / "prime-rl" / "configs" / TREE
    files = sorted(tree.rglob("*.toml"))
    assert len(files) == len(accepted) == 67
    checker = Checker()
    wrong = {}
    for file in files:
        name = file.relative_to(tree).as_posix()
        report = checker.check_file(str(file))
        errors = [
            finding
            for finding in report.findings
            if finding.severity == "error" and finding.id not in true_of_shipped_files
        ]
        if report.root not in accepted[name] or errors:
            wrong[name] = (report.root, accepted[name], errors)
    assert wrong == {}


def test_the_stale_file_is_told(shared: Path) -> None:
    report = Checker().check_file(str(shared / "prime-rl" / "configs" / TREE / STALE))
    assert report.root == "trainer"
    told = [finding for finding in report.findings if finding.id == "stale-config"]
    assert [finding.severity for finding in told] == ["info"]
    assert "inference" in told[0].message
