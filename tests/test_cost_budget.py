"""Budgets: where they are settled, what they cost, and that nothing is asked without leave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offers_double import Answer, Double, running_double, said
from pytest_prime_train.checker import load_config
from pytest_prime_train.cost.budget import judge_budget
from pytest_prime_train.cost.find import find_offers
from pytest_prime_train.cost.losses import Seen, own_terms, seen_in_history
from pytest_prime_train.cost.market import Market
from pytest_prime_train.cost.offers import Offer, SourceResult
from pytest_prime_train.cost.sources import cache_file, read_cache, write_cache
from pytest_prime_train.history.database import default_path
from pytest_prime_train.history.recorder import HistoryRecorder
from pytest_prime_train.memory.gpus import all_gpus
from pytest_prime_train.supervision.recording import AttemptEnd, RunStart

KEY = "sk-secret-0123456789-abcdefgh"
PRIME_TRAIN = Path(sys.executable).with_name("prime-train")
ITEM = "a_sft.toml::cost[[]budget]"
SFT = """\
max_steps = 1000
[ckpt]
interval = 50
keep_last = 2
[model]
name = "Qwen/Qwen3-8B"
[data]
type = "fake"
seq_len = 4096
batch_size = 64
[deployment]
num_train_gpus = 8
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("PRIME_BASE_URL", "PRIME_CONTEXT", "VAST_API_KEY", "PRIME_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(pytester.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    (pytester.path / "a_sft.toml").write_text(SFT)
    return pytester


@pytest.mark.parametrize("name", ["budget", "prime-budget"])
@pytest.mark.parametrize("value", ["0.5", '"0.5"'])
def test_a_budget_of_pyproject_judges_for_every_face(
    project: pytest.Pytester, quick_runs: None, name: str, value: str
) -> None:
    project.makepyprojecttoml(f"[tool.pytest-prime-train]\n{name} = {value}\n")
    result = project.runpytest_inprocess("a_sft.toml", "-rA")
    result.stdout.fnmatch_lines(["*over the budget of $0.50*", f"FAILED {ITEM}*"])
    # What is asked for on the command line wins.
    result = project.runpytest_inprocess("a_sft.toml", "--prime-budget=5000", "-rA")
    result.stdout.fnmatch_lines([f"PASSED {ITEM}"])
    done = subprocess.run(
        [PRIME_TRAIN, "validate", "a_sft.toml", "--format=json"],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=False,
    )
    ids = [one["id"] for one in json.loads(done.stdout)["files"][0]["findings"]]
    assert (done.returncode, "cost-budget" in ids) == (1, True)


def test_a_budget_of_the_environment(
    project: pytest.Pytester, quick_runs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyprojecttoml("[tool.pytest-prime-train]\nbudget = 5000\n")
    monkeypatch.setenv("PRIME_TRAIN_BUDGET", "0.5")
    result = project.runpytest_inprocess("a_sft.toml", "-rA")
    result.stdout.fnmatch_lines([f"FAILED {ITEM}*"])
    monkeypatch.setenv("PRIME_TRAIN_BUDGET", "lots")
    result = project.runpytest_inprocess("a_sft.toml")
    result.stderr.fnmatch_lines(["*PRIME_TRAIN_BUDGET: 'lots' is no amount of USD above 0*"])


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("budget = -1", "*pyproject.toml: tool.pytest-prime-train.budget: '-1' is no amount*"),
        ("budget = true", "*pyproject.toml: tool.pytest-prime-train.budget has to be a number*"),
        ("budget = [1]", "*tool.pytest-prime-train.budget has to be a number of USD*"),
    ],
)
def test_a_budget_that_is_none(
    project: pytest.Pytester, quick_runs: None, written: str, words: str
) -> None:
    project.makepyprojecttoml(f"[tool.pytest-prime-train]\n{written}\n")
    result = project.runpytest_inprocess("a_sft.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([words])


def test_a_budget_in_two_places_is_wrong_use(project: pytest.Pytester, quick_runs: None) -> None:
    project.makepyprojecttoml(
        '[tool.pytest-prime-train]\nbudget = 5\n[tool.pytest.ini_options]\nprime_budget = "6"\n'
    )
    result = project.runpytest_inprocess("a_sft.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the budget is set twice, in prime_budget of the ini file and*"])


def card_offer(name: str) -> dict[str, Any]:
    return {
        "cloudId": name,
        "gpuType": "H100_80GB",
        "socket": "SXM5",
        "provider": "lab",
        "gpuCount": 8,
        "gpuMemory": 80,
        "security": "secure_cloud",
        "prices": {"onDemand": 0.05, "currency": "USD"},
        "images": [],
    }


@pytest.fixture
def double(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    pytest.importorskip("requests", reason="extra offers is not installed")

    def answer(path: str, *_: Any) -> Answer:
        if path.endswith("/gpus"):
            return said({"items": [card_offer("fresh")], "totalCount": 1})
        if path.endswith("/multi-node"):
            return said({"items": [], "totalCount": 0})
        return said({"msg": f"no such key {KEY}"}, 401)

    with running_double() as server:
        server.answer = answer
        monkeypatch.setenv("PRIME_API_BASE_URL", server.base)
        monkeypatch.setenv("VAST_URL", server.base)
        monkeypatch.setenv("PRIME_API_KEY", KEY)
        monkeypatch.setenv("VAST_API_KEY", KEY)
        yield server


def test_online_asks_once_and_tells_who_did_not_answer(
    project: pytest.Pytester, double: Double
) -> None:
    # Only the fresh offer is within the budget.
    arguments = ("a_sft.toml", "--prime-budget=2", "-rA", "-W", "default")
    result = project.runpytest_subprocess(*arguments)
    result.stdout.fnmatch_lines([f"FAILED {ITEM}*"])
    assert double.asked == []
    result = project.runpytest_subprocess(*arguments, "--prime-online")
    result.stdout.fnmatch_lines(
        [
            "*PrimeConfigWarning: --prime-online: vast: failed: *the key is not accepted (401)*",
            f"PASSED {ITEM}",
        ]
    )
    assert KEY not in result.stdout.str() + result.stderr.str()
    asked = [path.partition("?")[0] for path, _, _ in double.asked]
    assert asked == [
        "/api/v1/availability/gpus",
        "/api/v1/availability/multi-node",
        "/api/v0/bundles/",
    ]
    # The answer is kept for the next run, which asks nobody.
    result = project.runpytest_subprocess(*arguments)
    result.stdout.fnmatch_lines([f"PASSED {ITEM}"])
    assert len(double.asked) == len(asked)


def test_workers_do_not_ask_again(project: pytest.Pytester, double: Double) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    arguments = ("--prime-configs=.", "--prime-budget=2", "--prime-online", "-n2", "-rA")
    result = project.runpytest_subprocess(*arguments, "--prime-select=cost-budget")
    result.stdout.fnmatch_lines([f"*PASSED*{ITEM}"])
    assert len(double.asked) == 3


def test_online_without_a_budget_asks_nobody(project: pytest.Pytester, double: Double) -> None:
    assert project.runpytest_subprocess("a_sft.toml", "--prime-online").ret == 0
    assert double.asked == []


WATCH = """\
import sys

def _seen(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        with open("used_sockets", "a") as stream:
            stream.write(f"{event}\\n")

sys.addaudithook(_seen)
"""


def test_no_socket_is_used_without_leave(project: pytest.Pytester, double: Double) -> None:
    project.makepyfile(watch=WATCH)
    watched = ("-p", "watch", "a_sft.toml", "-rA", "--prime-gpu=H100-80GB")
    for budget in ("2", "5000"):
        result = project.runpytest_subprocess(*watched, f"--prime-budget={budget}")
        result.stdout.fnmatch_lines([f"*ED {ITEM}*"])
    used = project.path / "used_sockets"
    assert not used.exists()
    # The watch sees what there is to see.
    project.runpytest_subprocess(*watched, "--prime-budget=2", "--prime-online")
    assert "socket.connect" in used.read_text()


@st.composite
def markets(draw: st.DrawFn) -> list[Offer]:
    cards = ("H100-80GB-SXM", "A100-80GB-SXM", "L40S-48GB", "RTX4090-24GB", "T4-16GB")
    offers = []
    for number in range(draw(st.integers(0, 12))):
        card, per_gpu = draw(st.sampled_from(cards)), draw(st.booleans())
        offers.append(
            Offer(
                provider="lab",
                upstream="",
                offer_id=str(number),
                name=card,
                gpu=card,
                gpu_name=card,
                gpu_count=1 if per_gpu else draw(st.sampled_from((1, 4, 8))),
                price_per_hour=Decimal(draw(st.integers(1, 4000))) / 100,
                fetched_at="2026-11-24",
                spot=draw(st.booleans()),
                gpus=(card,),
                min_charge_hours=draw(st.sampled_from((0.0, 24.0))),
                max_duration_hours=draw(st.sampled_from((None, 1.0, 20.0))),
                per_gpu=per_gpu,
                reasons=draw(st.sampled_from(((), (), ("taken",)))),
            )
        )
    return offers


@pytest.fixture(scope="module")
def a_config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("budget") / "a_sft.toml"
    path.write_text(SFT)
    return load_config(str(path))


@given(markets(), st.floats(1, 500), st.sampled_from([(), ("H100-80GB-SXM",), ("L40S-48GB",)]))
@settings(max_examples=100, deadline=None)
def test_the_quick_answer_is_that_of_the_whole_ranking(
    a_config: Any, offers: list[Offer], budget: float, cards: tuple[str, ...]
) -> None:
    source = SourceResult("lab", "2026-11-24", "ok", offers, [])
    market = Market([source])
    bill = judge_budget(a_config, budget, [all_gpus()[name] for name in cards], market)
    # Whatever the history of this machine says of losses.
    ranked = find_offers(a_config, [source], terms=market.terms, limit=0).ranked
    own = [row for row in ranked if not cards or row.need.gpu in cards]
    if not own:
        assert bill.unknown
        return
    least = min(row.cost.expected_total for row in own if row.cost)
    assert bool(bill.problems) is (least > budget)
    assert not bill.unknown


def mean(seen: dict[bool, Seen]) -> tuple[float, float]:
    terms = own_terms(seen=seen)
    return terms.spot_loss_hours, terms.on_demand_loss_hours


def test_ones_own_losses_take_the_place_of_the_assumption() -> None:
    assert mean({}) == (8.0, 720.0)
    # Few hours hardly move the assumption, many hardly know of it.
    assert mean({True: Seen(0.5, 0, 1)})[0] == pytest.approx(8.5)
    assert mean({True: Seen(10_000, 1000, 90)})[0] == pytest.approx(10, rel=0.01)
    assert mean({False: Seen(5000, 4, 20)})[1] == pytest.approx(1144)
    terms = own_terms(seen={True: Seen(100, 9, 3), False: Seen(50, 1, 1)})
    assert terms.spot_from == "9 losses in 100 spot machine-hours of 3 own runs"
    assert terms.on_demand_from == "1 loss in 50 on-demand machine-hours of 1 own run"
    # What is said on the command line wins.
    terms = own_terms(spot_loss_hours=3, seen={True: Seen(100, 9, 3)})
    assert (terms.spot_loss_hours, terms.spot_from) == (3, "--spot-loss-hours")


def test_the_history_of_runs_is_read(project: pytest.Pytester, quick_runs: None) -> None:
    path = default_path()
    assert str(path).startswith(str(project.path))
    assert seen_in_history() == {}
    assert not path.exists()
    launches: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["preempted", "preempted", "finished"]),
        ({"deployment": {"num_train_nodes": 2, "num_infer_nodes": 1}}, ["hardware", "config"]),
        ({"deployment": 3}, ["finished"]),
    ]
    config = str(project.path / "a_sft.toml")
    for number, (data, causes) in enumerate(launches):
        recorder = HistoryRecorder(path)
        folder = project.path / f"run{number}"
        start = RunStart(f"r{number}", folder, (config,), (), (), "sft", "main", "", (), data)
        recorder.run_started(start)
        for attempt, cause in enumerate(causes, 1):
            recorder.attempt_started(attempt, None)
            recorder.attempt_ended(AttemptEnd(attempt, 0, 5, 3600.0, cause, "", 1))
    assert seen_in_history() == {True: Seen(3.0, 2, 1), False: Seen(7.0, 1, 2)}
    done = subprocess.run(
        [str(PRIME_TRAIN), "find", "a_sft.toml"],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        "a spot machine is lost every 3.67 h and an on-demand one every 364 h, by 2 losses in 3 "
        "spot machine-hours of 1 own run; 1 loss in 7 on-demand machine-hours of 2 own runs\n"
    ) in done.stdout
    path.write_bytes(b"no database")
    assert seen_in_history() == {}


@pytest.mark.parametrize("losses", [0, 1, 50])
def test_more_losses_never_make_the_mean_longer(losses: int) -> None:
    less: Callable[[int], float] = lambda count: mean({True: Seen(200, count, 5)})[0]  # noqa: E731
    assert less(losses + 1) < less(losses)


@given(st.lists(markets(), max_size=3))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_kept_is_what_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[list[Offer]]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    results = [
        SourceResult(f"lab{number}", "2026-11-24", "ok", offers, [])
        for number, offers in enumerate(told)
    ]
    write_cache(results)
    assert read_cache() == results


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"version":2', '"version":1'),
        lambda text: text.replace('"gpus":', '"cards":'),
        lambda text: text.replace('"offers":2', '"offers":3'),
        lambda text: text.replace('"1.50"', '"cheap"'),
        lambda text: text.replace('"sources":[', '"sources":[3,'),
        lambda text: "[" * 100_000,
        lambda text: "\x00\xff",
    ],
)
def test_a_broken_cache_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = Offer("lab", "", "a", "a", None, "H100", 8, Decimal("1.50"), "2026-11-24")
    two = one._replace(offer_id="b", price_per_hour=None)
    write_cache([SourceResult("lab", "2026-11-24", "ok", [one, two], [])])
    text = cache_file().read_text()
    assert change(text) != text
    cache_file().write_text(change(text))
    assert read_cache() == []
