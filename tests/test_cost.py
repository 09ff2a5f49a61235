"""The expected bill against known cases, a simulation of its own, and what must hold for all."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_prime_train import expected_cost
from pytest_prime_train.cost.expected import ExpectedCost

TIMES = ("tau_young", "tau_daly", "tau_exact")


@pytest.fixture(scope="module")
def cases(shared: Path) -> list[dict[str, Any]]:
    facts = json.loads((shared / "cost" / "expected_cost_cases.json").read_text())
    found: list[dict[str, Any]] = facts["cases"]
    assert len(found) == 9
    return found


def test_the_closed_form_agrees_with_the_cases(cases: list[dict[str, Any]]) -> None:
    for case in cases:
        cost = expected_cost(**case["inputs"])
        for name, wanted in case["expected"].items():
            assert getattr(cost, name) == pytest.approx(wanted, rel=1e-8), (case["name"], name)
        for name in TIMES:
            wanted = case["best_interval_hours"][name]
            assert getattr(cost, name) == (
                None if wanted is None else pytest.approx(wanted, abs=1e-8)
            )


def simulate(inputs: dict[str, Any], runs: int, seed: int) -> tuple[float, float]:
    """Mean bill and its standard error of runs that are lived through loss by loss."""
    draw = random.Random(seed).expovariate
    rate = inputs["machines"] * inputs["preempt_rate_per_machine_hour"]
    totals = []
    for _ in range(runs):
        billed, lost, done, written = 0.0, 0, 0.0, 0
        ready = False
        next_loss = draw(rate) if rate else math.inf
        while inputs["useful_hours"] - done > 1e-9 or not ready:
            work = min(inputs["interval_hours"], inputs["useful_hours"] - done)
            stretch = work + inputs["ckpt_hours"] if ready else inputs["restart_hours"]
            if next_loss < stretch:
                billed, lost, ready = billed + next_loss, lost + 1, False
                next_loss = draw(rate)
                continue
            billed, next_loss = billed + stretch, next_loss - stretch
            if ready:
                done, written = done + work, written + 1
            ready = True
        disk = inputs["disk_gb"] * inputs["disk_price_gb_hour"]
        totals.append(
            inputs["price_per_hour"] * max(billed, inputs["min_charge_hours"])
            + disk * (billed + lost * inputs["wait_hours"])
            + written * inputs["ckpt_gb"] * inputs["upload_price_gb"]
            + lost * inputs["ckpt_gb"] * inputs["download_price_gb"]
        )
    mean = sum(totals) / runs
    variance = sum((total - mean) ** 2 for total in totals) / max(runs - 1, 1)
    return mean, math.sqrt(variance / runs)


def test_a_simulation_agrees_with_the_closed_form(cases: list[dict[str, Any]]) -> None:
    for number, case in enumerate(cases):
        mean, error = simulate(case["inputs"], 4000, seed=number)
        wanted = expected_cost(**case["inputs"]).expected_total
        assert abs(mean - wanted) <= 4 * error + 1e-6, case["name"]
        # The recorded simulation, of far more runs, agrees as well.
        recorded = case["monte_carlo"]
        assert abs(recorded["mean_total"] - wanted) <= 4 * recorded["se_total"] + 1e-6


def amounts(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(math.log(low), math.log(high)).map(math.exp)


RUNS = st.fixed_dictionaries(
    {
        "useful_hours": amounts(0.1, 500),
        "price_per_hour": amounts(0.1, 100),
        "machines": st.integers(1, 16),
        "preempt_rate_per_machine_hour": amounts(1e-5, 0.3),
        "ckpt_hours": amounts(1e-4, 0.5),
        "restart_hours": st.floats(0, 1),
        "wait_hours": st.floats(0, 5),
        "disk_gb": st.floats(0, 2000),
        "disk_price_gb_hour": st.floats(0, 0.001),
        "ckpt_gb": st.floats(0, 500),
        "upload_price_gb": st.floats(0, 0.2),
        "download_price_gb": st.floats(0, 0.2),
    }
)


def bill(run: dict[str, Any], **changed: float) -> ExpectedCost:
    return expected_cost(**{**run, **changed})


@given(RUNS, amounts(0.01, 50), st.floats(1.01, 5))
@settings(deadline=None)
def test_the_bill_grows_with_price_and_loss_rate(
    run: dict[str, Any], interval: float, factor: float
) -> None:
    run["interval_hours"] = interval
    base = bill(run)
    assume(base.expected_total < 1e12)
    assert bill(run, price_per_hour=run["price_per_hour"] * factor).expected_total > (
        base.expected_total
    )
    rate = run["preempt_rate_per_machine_hour"] * factor
    assert bill(run, preempt_rate_per_machine_hour=rate).expected_total > base.expected_total


@given(RUNS, st.floats(0, 100))
@settings(deadline=None)
def test_the_chosen_interval_is_the_cheapest_of_a_grid(run: dict[str, Any], charged: float) -> None:
    run["min_charge_hours"] = charged
    chosen = bill(run)
    grid = [run["useful_hours"] / count for count in (*range(1, 40), 60, 100, 300, 1000)]
    near = [chosen.interval_hours * factor for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0)]
    for interval in (*grid, *near):
        other = bill(run, interval_hours=interval)
        assert chosen.expected_total <= other.expected_total * (1 + 1e-9)


@given(RUNS)
@settings(deadline=None)
def test_the_exact_interval_has_the_least_time(run: dict[str, Any]) -> None:
    cost = bill(run)
    assert cost.tau_exact is not None
    # Time per useful hour of endless work, in which no last segment is shorter.
    rate = run["machines"] * run["preempt_rate_per_machine_hour"]

    def slowness(tau: float) -> float:
        return math.expm1(rate * (tau + run["ckpt_hours"])) / tau

    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        assert slowness(cost.tau_exact) <= slowness(cost.tau_exact * factor) * (1 + 1e-12)


@given(RUNS, amounts(0.01, 50))
@settings(deadline=None)
def test_machines_fail_together(run: dict[str, Any], interval: float) -> None:
    rate = run["machines"] * run["preempt_rate_per_machine_hour"]
    one = bill(run, machines=1, preempt_rate_per_machine_hour=rate, interval_hours=interval)
    assert bill(run, interval_hours=interval) == one


@given(RUNS, amounts(0.01, 50))
@settings(deadline=None)
def test_without_losses_it_is_the_bill_of_the_hours(run: dict[str, Any], interval: float) -> None:
    cost = bill(run, preempt_rate_per_machine_hour=0.0, interval_hours=interval)
    hours = (
        run["useful_hours"] + run["restart_hours"] + cost.checkpoints_written * run["ckpt_hours"]
    )
    assert cost.expected_billed_hours == pytest.approx(hours)
    assert cost.expected_wall_hours == cost.expected_billed_hours
    assert cost.expected_interruptions == 0
    assert cost.cost_gpu == pytest.approx(run["price_per_hour"] * hours)
    assert [getattr(cost, name) for name in TIMES] == [None, None, None]
    rare = bill(run, preempt_rate_per_machine_hour=1e-13, interval_hours=interval)
    assert rare.expected_total == pytest.approx(cost.expected_total, rel=1e-6)


def test_the_published_extra_bill_of_young_and_daly() -> None:
    for load, young in ((0.0042, 4e-5), (0.05, 0.0017), (0.5, 0.05)):
        run: dict[str, Any] = {
            "useful_hours": 48_000,
            "price_per_hour": 1.0,
            "preempt_rate_per_machine_hour": load / 0.05,
            "ckpt_hours": 0.05,
        }
        best = bill(run)
        exact = bill(run, interval_hours=best.tau_exact or 0).expected_total
        of_young = bill(run, interval_hours=best.tau_young or 0).expected_total
        assert of_young / exact - 1 == pytest.approx(young, rel=0.15)
        of_daly = bill(run, interval_hours=best.tau_daly or 0).expected_total
        assert of_daly / exact - 1 <= 1.1e-5


def test_a_run_that_never_ends_has_no_finite_bill() -> None:
    cost = expected_cost(
        useful_hours=1e5,
        price_per_hour=1.0,
        preempt_rate_per_machine_hour=1.0,
        interval_hours=1e5,
    )
    assert cost.expected_total == math.inf
    assert cost.cost_disk == 0


def test_the_result_is_frozen() -> None:
    cost = expected_cost(useful_hours=1, price_per_hour=1)
    with pytest.raises(AttributeError):
        cost.expected_total = 0.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ({"useful_hours": -1}, "useful_hours"),
        ({"price_per_hour": math.nan}, "price_per_hour"),
        ({"ckpt_hours": math.inf}, "ckpt_hours"),
        ({"interval_hours": 0}, "interval_hours"),
        ({"machines": 0}, "machines"),
    ],
)
def test_wrong_inputs_are_named(inputs: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        expected_cost(**{"useful_hours": 1, "price_per_hour": 1, **inputs})
