"""A second opinion on the walk: jsonschema with schemas that were corrected by other hands."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pytest_prime_train.schema.bundle import schema_of
from pytest_prime_train.schema.validate import Walk

VERSION = "main-2026-08-21"
EVERY = 4


@pytest.fixture(scope="module")
def documents(shared: Path) -> list[tuple[str, dict[str, Any], str]]:
    """Root, document and name of a share of the mutants that are TOML."""
    found = []
    lines = (shared / "prime-rl" / "mutants_visible.jsonl").read_text().splitlines()
    for line in lines[::EVERY]:
        row = json.loads(line)
        try:
            found.append((row["root"], tomllib.loads(row["toml"]), row["id"]))
        except tomllib.TOMLDecodeError:
            continue
    return found


def test_what_a_schema_validator_refuses_the_walk_refuses(
    shared: Path, documents: list[tuple[str, dict[str, Any], str]]
) -> None:
    folder = shared / "prime-rl" / "schemas" / VERSION
    validators = {
        root: Draft202012Validator(
            json.loads((folder / f"{root}.effective.schema.json").read_text())
        )
        for root in {root for root, _, _ in documents}
    }
    schema = schema_of(VERSION)
    refused, milder, stricter = 0, [], []
    for root, document, name in documents:
        walk = Walk(schema.tables, schema.plugins)
        walk.table(schema.roots[root], document, ())
        valid = validators[root].is_valid(document)
        refused += not valid
        if valid and walk.faults:
            stricter.append((name, walk.faults[0].path))
        if not valid and not walk.faults:
            milder.append(name)
    assert refused > 100
    assert milder == []
    # verifiers' own tasksets and environments are strict in the walk and open in those schemas.
    assert [name for name, path in stricter if "env" not in path] == []
