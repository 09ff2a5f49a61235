"""How old a file is, from its keys, and what is said of keys that are gone."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pytest_prime_train.checker import Checker, Options
from pytest_prime_train.config.age import age
from pytest_prime_train.config.resolve import parse_key
from pytest_prime_train.findings import Finding, KeyPath
from pytest_prime_train.migrations.traces import Traces
from pytest_prime_train.schema.lifetimes import dotted, names, versions_of
from pytest_prime_train.schema.versions import NEWEST, VERSIONS

ORDER = (
    "rl", "sft", "evals", "orchestrator", "trainer", "inference", "env_server", "synthesize",
)  # fmt: skip


def _check(
    tmp_path: Path, text: str, name: str = "rl.toml", version: str | None = None
) -> list[Finding]:
    path = tmp_path / name
    path.write_text(text)
    checker = Checker(Options(version=version, select=("schema",)), folder=str(tmp_path))
    findings = checker.check_file(str(path)).findings
    return [finding for finding in findings if finding.severity == "error"]


def test_the_interval_holds_the_true_version(shared: Path) -> None:
    """Of at least 98 % of the dated files, and no interval is wrong."""
    matrix = json.loads((shared / "prime-rl" / "version_matrix.json").read_text())["files"]
    held, mixed, wrong = 0, [], []
    for folder in sorted((shared / "prime-rl" / "configs").iterdir()):
        for path, accepting in matrix[folder.name].items():
            roots = accepting.get(folder.name)
            if not roots:
                continue  # The version itself refuses it.
            found = age(tomllib.loads((folder / path).read_text()), min(roots, key=ORDER.index))
            if folder.name in found.versions:
                held += 1
            elif found.mixed:
                mixed.append(f"{folder.name}/{path}: {found}")
            else:
                wrong.append(f"{folder.name}/{path}: {found}")
    assert wrong == []
    assert held >= 0.98 * (held + len(mixed)), mixed
    assert held > 300


@pytest.mark.parametrize(
    ("text", "versions", "newest", "oldest"),
    [
        ("[trainer]\n[orchestrator]\n", VERSIONS, (), ()),
        (
            "max_async_level = 2\n[trainer]\n[orchestrator]\n[deployment]\n",
            ("v0.5.0",),
            ("deployment",),
            ("max_async_level",),
        ),
        (
            "[trainer]\n[orchestrator]\ntraining_mode = 'rl'\n",
            ("v0.6.0",),
            ("orchestrator", "training_mode"),
            ("orchestrator", "training_mode"),
        ),
        (
            "[run]\nname = 'x'\n[trainer]\n[orchestrator]\n",
            (NEWEST,),
            ("run",),
            (),
        ),
    ],
)
def test_the_keys_that_prove_it(
    text: str, versions: tuple[str, ...], newest: tuple[str, ...], oldest: tuple[str, ...]
) -> None:
    found = age(tomllib.loads(text), "rl")
    assert (found.versions, found.newest_key, found.oldest_key) == (versions, newest, oldest)


def test_a_half_migrated_file_is_mixed() -> None:
    found = age({"wandb": {}, "run": {"name": "x"}, "trainer": {}, "orchestrator": {}}, "rl")
    assert found.mixed
    assert str(found) == f"mixed: run came with {NEWEST}, and wandb went after v0.8.0"


def test_a_name_that_was_reused_proves_nothing_in_between() -> None:
    found = age({"clean": True, "trainer": {}, "orchestrator": {}}, "rl")
    assert found.versions == ("v0.2", "v0.3.0", "v0.4.0", NEWEST)


def test_short_names_date_a_file() -> None:
    """v0.6.0 and v0.7.0 still read [[orchestrator.env]]."""
    data = tomllib.loads("[trainer]\n[orchestrator]\n[[orchestrator.env]]\nid = 'x'\n")
    assert age(data, "rl").versions == VERSIONS[:6]


def test_a_key_that_is_gone(tmp_path: Path) -> None:
    (finding,) = _check(
        tmp_path,
        "[trainer]\n[orchestrator]\n[[orchestrator.train.source]]\n"
        "env.taskset.id = 'x'\n[wandb]\nproject = 'p'\n",
    )
    assert finding.id == "outdated-key"
    assert finding.key == "wandb"
    assert "v0.8.0 was the last version to read it" in finding.message
    assert "W&B settings live under monitors now" in finding.message
    assert finding.recommendation == "Move wandb to monitors.wandb."
    assert finding.location.line == 5


def test_a_key_that_never_was_is_told_from_one_that_is_gone(tmp_path: Path) -> None:
    (finding,) = _check(tmp_path, "max_stepz = 1\n[trainer]\n[orchestrator]\n")
    assert finding.id == "unknown-key"
    assert finding.recommendation == "Rename max_stepz to max_steps."


def test_a_key_that_came_later(tmp_path: Path) -> None:
    found = _check(tmp_path, "[run]\nname = 'x'\n[trainer]\n[orchestrator]\n", version="v0.8.0")
    assert [(finding.id, finding.key) for finding in found] == [("unknown-key", "run")]
    assert "it came with main-2026-08-21" in found[0].message


def test_elements_of_arrays_keep_their_numbers(tmp_path: Path) -> None:
    text = "[trainer]\n[orchestrator]\n[[orchestrator.train.env]]\ntaskset.id = 'a'\n"
    found = _check(tmp_path, text, version="v0.8.0")
    assert "orchestrator.train.source" in found[0].recommendation


def test_the_finding_names_the_versions_that_accept_the_file(tmp_path: Path) -> None:
    text = "max_async_level = 1\n[trainer]\n[orchestrator]\n"
    found = _check(tmp_path, text)
    assert found[0].message.endswith("v0.2 to v0.5.0 accept this file")
    text = "[trainer]\n[orchestrator]\ntraining_mode = 'rl'\n"
    assert _check(tmp_path, text)[0].message.endswith("v0.6.0 accepts this file")


def test_a_file_that_no_version_accepts_names_none(tmp_path: Path) -> None:
    (finding,) = _check(tmp_path, "max_stepz = 1\n[trainer]\n[orchestrator]\n")
    assert "accept" not in finding.message


def test_no_message_names_a_commit() -> None:
    """The commits among the facts are guesses."""
    from pytest_prime_train.migrations.changes import CHANGES

    messages = [change.message for change in CHANGES]
    assert [message for message in messages if re.search(r"\b[0-9a-f]{7,40}\b", message)] == []


@pytest.mark.parametrize("root", ["rl", "sft", "trainer", "orchestrator", "inference"])
def test_a_key_is_moved_only_to_one_that_is_read(shared: Path, root: str) -> None:
    facts = json.loads((shared / "prime-rl" / "key_lifetimes.json").read_text())["rows"]
    moved = 0
    old = [
        row["key"]
        for row in facts
        if row["root"] == root and "*" not in row["key"] and row["last_tag"] != NEWEST
    ]
    for key in old[::5]:
        data, path = _document_with(key)
        trace = Traces(data, root, NEWEST).of(path)
        found = re.fullmatch(r"(?:Move|Rename) \S+ to (\S+)\.", trace.cure if trace else "")
        if found is not None:
            moved += 1
            new = dotted(parse_key(found[1]))
            assert NEWEST in names(versions_of(root, new)), (key, new)
    assert moved > 0


def _document_with(key: str) -> tuple[dict[str, Any], KeyPath]:
    """A document that has a key of the facts and nothing else, and the path of the key."""
    data: dict[str, Any] = {}
    table = data
    path: list[str | int] = []
    parts = key.split(".")
    for number, part in enumerate(parts):
        name = part.removesuffix("[]")
        path.append(name)
        last = number == len(parts) - 1
        if name != part:
            path.append(0)
            element: dict[str, Any] = {}
            table[name] = [1 if last else element]
            table = element
        elif last:
            table[name] = 1
        else:
            table = table.setdefault(name, {})
    return data, tuple(path)


def test_every_key_of_the_facts_has_its_versions(shared: Path) -> None:
    facts = json.loads((shared / "prime-rl" / "key_lifetimes.json").read_text())["rows"]
    for row in facts:
        found = names(versions_of(row["root"], row["key"]))
        first, last = VERSIONS.index(row["first_tag"]), VERSIONS.index(row["last_tag"])
        expected = set(VERSIONS[first : last + 1]) - set(row.get("absent_in", ()))
        assert expected <= set(found), row


def test_paths_as_they_are_kept() -> None:
    assert dotted(("orchestrator", "env", 0, "args", 1)) == "orchestrator.env[].args[]"


def test_a_value_is_not_renamed_to_a_table(tmp_path: Path) -> None:
    file = tmp_path / "rl.toml"
    file.write_text("[trainer]\n[orchestrator]\noversampling_factor = 2\n")
    (found,) = [one for one in Checker().check_file(str(file)).findings if one.severity == "error"]
    assert found.id == "outdated-key"
    assert found.recommendation == "Remove orchestrator.oversampling_factor."
