"""Why a launch ended, told from last lines as prime-rl, torch, vLLM and Slurm write them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from conftest import ROOT
from pytest_prime_train.supervision.failures import STOPS, classify

SAMPLES: list[dict[str, Any]] = json.loads(
    (ROOT / "tests" / "data" / "failures.json").read_text(encoding="utf-8")
)


def logs_of(sample: dict[str, Any]) -> dict[str, str]:
    logs = sample.get("logs") or {sample["log"]: sample["lines"]}
    return {name: "\n".join(lines) + "\n" for name, lines in logs.items()}


@pytest.mark.parametrize("sample", SAMPLES, ids=[str(number) for number in range(len(SAMPLES))])
def test_failures_are_put_into_their_class(sample: dict[str, Any]) -> None:
    assert classify(logs_of(sample)).kind == sample["kind"]


def test_there_are_samples_of_every_class_that_logs_tell() -> None:
    counted = Counter(sample["kind"] for sample in SAMPLES)
    assert len(SAMPLES) >= 60
    for kind in (*STOPS, "bad-checkpoint", "hardware", "preempted", "unknown"):
        assert counted[kind] >= 2


def test_what_is_told_survives_other_numbers() -> None:
    one = classify({"trainer.log": "KeyError: 'a'\nAssertionError: pid 4711 at 0x7f00\n"})
    other = classify({"trainer.log": "KeyError: 'a'\nAssertionError: pid 42 at 0x1\n"})
    assert one.signature == other.signature
    assert one.line == "AssertionError: pid 4711 at 0x7f00"


def test_a_launcher_that_was_killed_says_nothing() -> None:
    assert classify({}, ended_by_signal=9).kind == "hardware"
    assert classify({}).kind == "unknown"
