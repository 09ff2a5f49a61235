"""The verdict on mutants of prime-rl's own configs, beside that of prime-rl itself.

What is allowed to differ is listed with its reason; everything else has to be equal. The aims are
no file refused that prime-rl takes, the same verdict on 99.5 %, and on files with a single fault
the key that prime-rl names on 97 %.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_prime_train.checker import Checker, Options
from pytest_prime_train.findings import Finding

# Mutants that prime-rl refuses and we take: id -> why.
TAKEN: dict[str, str] = {
    "97816a1c943b": "a key of a task whose taskset is no part of verifiers: only its package, "
    "which prime-rl imports, knows that the key is wrong",
}
# Mutants with a single fault where we name another key: id -> why.
OTHER_KEYS: dict[str, str] = {
    "97816a1c943b": "not seen, see above",
    "aa554ecd4629": "prime-rl loses the element of an array on the way and names the task's key; "
    "the key that is wrong is in the element",
}
_AT_A_CLASS = ("value_error", "assertion_error")
_AT_A_UNION = ("union_tag_invalid", "union_tag_not_found")


class Judged(NamedTuple):
    """One mutant, with what prime-rl and we say of it."""

    mutant: dict[str, Any]
    errors: list[Finding]


@pytest.fixture(scope="module")
def judged(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    lines = (shared / "prime-rl" / "mutants_visible.jsonl").read_text(encoding="utf-8")
    folder = tmp_path_factory.mktemp("mutants")
    file = folder / "mutant.toml"
    checkers: dict[str, Checker] = {}
    results = []
    for line in lines.splitlines():
        mutant = json.loads(line)
        root = mutant["root"]
        checker = checkers.get(root)
        if checker is None:
            checker = checkers[root] = Checker(Options(root=root), str(folder))
        file.write_bytes(mutant["toml"].encode())
        report = checker.check_file(str(file))
        errors = [
            one for one in report.findings if one.category == "schema" and one.severity == "error"
        ]
        results.append(Judged(mutant, errors))
    return results


def test_no_mutant_is_refused_that_prime_rl_takes(judged: list[Judged]) -> None:
    assert [
        (one.mutant["id"], [str(error) for error in one.errors])
        for one in judged
        if one.mutant["valid"] and one.errors
    ] == []


def test_the_verdict_is_that_of_prime_rl(judged: list[Judged]) -> None:
    differ = {one.mutant["id"] for one in judged if one.mutant["valid"] is bool(one.errors)}
    share = 1 - len(differ) / len(judged)
    print(f"same verdict on {share:.2%} of {len(judged)} mutants")
    assert differ == set(TAKEN)
    assert share >= 0.999


def test_single_faults_are_found_at_the_same_key(judged: list[Judged]) -> None:
    single = [
        one
        for one in judged
        if len(one.mutant["errors"]) == 1
        and not one.mutant["errors"][0]["type"].startswith(("config_file", "raw:"))
    ]
    differ = {one.mutant["id"] for one in single if not names_the_same_key(one)}
    share = 1 - len(differ) / len(single)
    print(f"same key on {share:.2%} of {len(single)} mutants with a single fault")
    assert differ == set(OTHER_KEYS)
    assert share >= 0.97


def names_the_same_key(one: Judged) -> bool:
    """Whether one of our findings is at the key that prime-rl names.

    prime-rl puts the tags of unions into its places. Where it names a class or a union, not a
    key, a key in there, or a shared one that it is filled from, is what a user can change.
    """
    error = one.mutant["errors"][0]
    inside = error["type"] in (*_AT_A_CLASS, *_AT_A_UNION)
    return any(_is_at(error["loc"], finding, inside) for finding in one.errors)


def _is_at(place: list[str | int], finding: Finding, inside: bool) -> bool:
    key = finding.key.split(".")
    matched, tags = 0, 0
    for part in map(str, place):
        if matched < len(key) and part == key[matched]:
            matched += 1
        else:
            tags += 1
    if not inside:
        return matched == len(key) and tags <= 2 and str(place[-1]) == key[-1]
    # A shared key is outside of the part that prime-rl names.
    return tags <= 1 or finding.key.partition(".")[0] not in ("trainer", "orchestrator")


def test_mutated_keys_are_named(judged: list[Judged]) -> None:
    """Where a mutant says which key was changed, a finding is at it, above it or below it."""
    told = [one for one in judged if one.errors and one.mutant["path"]]
    missed = [one for one in told if not any(_meets(one.mutant["path"], e) for e in one.errors)]
    share = 1 - len(missed) / len(told)
    print(f"the changed key is named on {share:.2%} of {len(told)} mutants")
    assert share >= 0.98


def _meets(path: str, finding: Finding) -> bool:
    return f"{path}.".startswith(f"{finding.key}.") or f"{finding.key}.".startswith(f"{path}.")
