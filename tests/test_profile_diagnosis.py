"""The bottleneck of a run is named from its metrics, and only where they tell it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_prime_train import diagnose
from pytest_prime_train.findings import UsageError
from pytest_prime_train.profiler.saturation import saturation
from pytest_prime_train.profiler.verdict import VERDICTS
from run_simulator import CLEAR, clear_run, write_clear
from simulated_runs.files import Signals
from simulated_runs.spec import Luck
from simulated_runs.truth import LEVERS, find_truth
from simulated_runs.world import World

NO_WANDB = Signals(wandb=False)


@pytest.mark.parametrize("verdict", list(CLEAR))
def test_a_clear_bottleneck_is_named(tmp_path: Path, verdict: str) -> None:
    found = diagnose(write_clear(tmp_path, verdict))
    assert found.verdict == verdict
    assert verdict not in found.contributing
    if verdict != "unstable":
        assert found.confidence > 0.6
        assert found.remedies
    assert found.steps_used == CLEAR[verdict].steps - 2


@pytest.mark.parametrize("verdict", ["trainer", "inference-cap", "waste", "checkpointing"])
def test_the_bound_of_the_gain_is_what_a_run_without_the_stage_shows(
    tmp_path: Path, verdict: str
) -> None:
    spec, record = clear_run(verdict)
    free = World(spec, Luck(spec), LEVERS[verdict][1], gauges=False).run()
    bound = diagnose(write_clear(tmp_path, verdict)).gain_upper_bound
    assert bound == pytest.approx(1 - free.step_s / record.step_s, rel=0.2)


def test_the_simulator_agrees_with_itself() -> None:
    truth = find_truth(CLEAR["trainer"])
    assert truth.verdict == "trainer"
    assert truth.gains["trainer"] > 0.2
    assert truth.bounds["trainer"] > 0.3
    assert World(CLEAR["trainer"], Luck(CLEAR["trainer"])).run().step_s == truth.record.step_s


@pytest.mark.parametrize("verdict", ["inference-capacity", "inference-cap"])
def test_engines_and_cap_are_not_told_apart_without_gauges(tmp_path: Path, verdict: str) -> None:
    found = diagnose(write_clear(tmp_path, verdict, NO_WANDB))
    assert found.verdict == "undetermined"
    assert any("inference/*" in one for one in found.missing)
    assert found.gain_upper_bound is None
    assert found.remedies == ()


@pytest.mark.parametrize("verdict", ["trainer", "checkpointing", "data-load", "environment"])
def test_what_metrics_jsonl_shows_needs_no_gauges(tmp_path: Path, verdict: str) -> None:
    found = diagnose(write_clear(tmp_path, verdict, NO_WANDB))
    assert found.verdict == verdict
    assert found.missing


@pytest.mark.parametrize("verdict", ["trainer", "inference-cap", "waste"])
def test_v0_8_has_two_files_and_other_names(tmp_path: Path, verdict: str) -> None:
    found = diagnose(write_clear(tmp_path, verdict, Signals(version="v0.8", stats=False)))
    assert found.verdict == verdict


def test_scrapes_of_an_engine_stand_in_for_wandb(tmp_path: Path) -> None:
    write_clear(tmp_path, "inference-capacity", NO_WANDB)
    scrape = tmp_path / "scrape"
    scrape.write_text("vllm:num_requests_running 8\nvllm:num_requests_waiting 30\n")
    found = diagnose(tmp_path, engine_metrics=[str(scrape)])
    assert found.verdict == "inference-capacity"


def test_a_history_with_a_clock_of_its_own_still_counts(tmp_path: Path) -> None:
    write_clear(tmp_path, "inference-cap")
    path = tmp_path / "wandb-history.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    first = rows[0]["_timestamp"] - 1
    later = [{**row, "_timestamp": row["_timestamp"] - first} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in later))
    assert diagnose(tmp_path).verdict == "inference-cap"


def test_few_steps_say_nothing(tmp_path: Path) -> None:
    write_clear(tmp_path, "trainer")
    path = tmp_path / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if row["step"] <= 5))
    found = diagnose(tmp_path)
    assert found.verdict == "undetermined"
    assert found.steps_used == 3
    assert "5 steady steps" in found.missing[0]


def test_the_orchestrators_file_is_missed_where_the_trainer_waits(tmp_path: Path) -> None:
    write_clear(tmp_path, "inference-cap", Signals(version="v0.8", wandb=False))
    (tmp_path / "run_default" / "metrics.jsonl").unlink()
    found = diagnose(tmp_path)
    assert found.verdict == "undetermined"
    assert "orchestrator" in found.missing[0]


def test_steps_thrown_away_by_a_resume_count_as_lost_and_not_as_steady(tmp_path: Path) -> None:
    write_clear(tmp_path, "trainer")
    path = tmp_path / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    repeated = [row for row in rows if row["step"] > 18]
    later = [{**row, "time": row["time"] + 5000} for row in repeated]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows + later))
    found = diagnose(tmp_path)
    assert found.verdict == "trainer"
    assert found.attempts == 2
    assert found.idle.repeated_steps == 6
    # The first two steps of the second attempt are its warm-up.
    assert found.steps_used == 24 - 2 - 2


def test_idle_hours_cost_what_gpus_and_price_say(tmp_path: Path) -> None:
    write_clear(tmp_path, "inference-cap")
    (tmp_path / "configs" / "rl.json").write_text(
        json.dumps({"deployment": {"num_train_gpus": 4, "num_infer_gpus": 4}})
    )
    found = diagnose(tmp_path, usd_per_gpu_hour=2.0)
    waited = sum(step["time/wait_for_batch"] for step in clear_run("inference-cap")[1].trainer)
    assert found.idle.trainer_gpu_hours == pytest.approx(4 * waited / 3600, rel=1e-6)
    assert found.idle.usd is not None
    assert found.idle.usd >= 2 * 4 * waited / 3600


def test_the_saturation_of_engines_is_seen_in_their_polls() -> None:
    import random

    rng = random.Random(3)
    for alone, slope in ((0.01, 0.0005), (0.02, 0.00002)):
        running, rates = [], []
        n = 5.0
        for number in range(300):
            aim = 100.0 if number < 150 else 40.0
            n += 0.2 * (aim - n) + rng.gauss(0, 2)
            running.append(max(1.0, n + rng.gauss(0, 1)))
            rates.append(max(1.0, n) / (alone + slope * n))
        true = slope * 80 / (alone + slope * 80)
        times = [5.0 * number for number in range(300)]
        assert saturation(times, running, rates) == pytest.approx(true, abs=0.12)


_WILD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(10**400), max_value=10**400),
    st.floats(),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 1e308, 1e-308]),
    st.text(max_size=6),
)


@cache
def _rows_of_a_run() -> tuple[dict[str, Any], ...]:
    with TemporaryDirectory() as name:
        folder = write_clear(Path(name), "inference-cap")
        files = (folder / "metrics.jsonl", folder / "wandb-history.jsonl")
        return tuple(json.loads(line) for file in files for line in file.read_text().splitlines())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 10_000), _WILD), min_size=1, max_size=40
    )
)
@example(changes=[(8608, 146, 528.0)])  # Evaluations are there, and nothing tells how often.
@example(changes=[(144, 1, 1e154)])  # Its square overflows.
def test_no_value_breaks_a_diagnosis(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[int, int, Any]],
) -> None:
    rows = [dict(row) for row in _rows_of_a_run()]
    for row_number, name_number, value in changes:
        row = rows[row_number % len(rows)]
        names = [*row, "<b>", "time/step"]
        row[names[name_number % len(names)]] = value
    path = tmp_path_factory.mktemp("any") / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        found = diagnose(path)
    except UsageError:
        return
    assert found.verdict in VERDICTS
    assert json.dumps(found.as_json(), allow_nan=False)
    assert found.gain_upper_bound is None or 0 <= found.gain_upper_bound <= 1
    assert 0 <= found.confidence <= 1
