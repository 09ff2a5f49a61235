"""The cheapest hardware as users meet it: on the command line and as pytest items."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pytest_prime_train.checker import load_config
from pytest_prime_train.cost.find import find_offers
from pytest_prime_train.cost.found import Filters, Found, Terms
from pytest_prime_train.cost.offers import Offer
from pytest_prime_train.cost.providers import snapshot
from pytest_prime_train.cost.providers.http import SourceResult
from pytest_prime_train.memory.gpus import all_gpus

ROOT = Path(__file__).resolve().parent.parent
PRIME_TRAIN = Path(sys.executable).with_name("prime-train")

SFT = """\
max_steps = 1000
[ckpt]
interval = 50
keep_last = 2
[model]
name = "{model}"
[data]
type = "fake"
seq_len = 4096
batch_size = 64
[deployment]
num_train_gpus = 8
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "a_sft.toml").write_text(SFT.format(model="Qwen/Qwen3-8B"))
    (tmp_path / "open_sft.toml").write_text(
        SFT.format(model="Qwen/Qwen3-8B").replace("max_steps = 1000\n", "")
    )
    (tmp_path / "unheard_sft.toml").write_text(SFT.format(model="nobody/knows-this"))
    (tmp_path / "large_sft.toml").write_text(
        SFT.format(model="Qwen/Qwen3-32B").replace("num_train_gpus = 8", "num_train_gpus = 1")
    )
    return tmp_path


def offer(name: str, price: str, **changed: Any) -> Offer:
    facts: dict[str, Any] = {
        "provider": "vast",
        "upstream": "",
        "offer_id": name,
        "name": name,
        "gpu": "H100-80GB-SXM",
        "gpu_name": "H100 SXM",
        "gpu_count": 8,
        "price_per_hour": Decimal(price),
        "fetched_at": "2026-11-24T00:00:00Z",
        "gpus": ("H100-80GB-SXM",),
        "egress_price_gb": Decimal(0),
    }
    return Offer(**{**facts, **changed})


def found(
    folder: Path, *offers: Offer, terms: Terms | None = None, **filters: Any
) -> tuple[list[str], Found]:
    path = str(folder / "a_sft.toml")
    source = SourceResult("test", "2026-11-24", "ok", list(offers), [])
    answer = find_offers(
        load_config(path), [source], filters=Filters(**filters), terms=terms or Terms(), path=path
    )
    return [row.offer.offer_id for row in answer.ranked], answer


def test_what_counts_is_the_bill_and_not_the_price(folder: Path) -> None:
    names, answer = found(
        folder,
        offer("cheap-traffic", "16"),
        offer("dear-traffic", "15", egress_price_gb=Decimal("0.12")),
        offer("prepaid", "14", min_charge_hours=24.0),
        offer("slow", "14", gpu="A100-80GB-PCIe", gpus=("A100-80GB-PCIe",)),
    )
    assert names[0] == "cheap-traffic"
    assert set(names) == {"cheap-traffic", "dear-traffic", "prepaid", "slow"}
    totals = [row.cost.expected_total for row in answer.ranked if row.cost]
    assert totals == sorted(totals)
    for row in answer.ranked:
        assert row.cost is not None
        assert row.low_usd is not None
        assert row.high_usd is not None
        assert row.low_usd <= row.cost.expected_total <= row.high_usd


def test_spot_wins_until_losses_come_too_often(folder: Path) -> None:
    offers = (offer("steady", "16"), offer("spot", "9", spot=True))
    names, answer = found(folder, *offers)
    assert names == ["spot", "steady"]
    even = answer.ranked[0].break_even_loss_hours
    assert even is not None
    for factor, first in ((0.95, "steady"), (1.05, "spot")):
        names, _ = found(folder, *offers, terms=Terms(spot_loss_hours=even * factor))
        assert names[0] == first
    row = answer.ranked[0]
    assert row.cost is not None
    assert row.at_third is not None
    assert row.at_thrice is not None
    assert row.at_third < row.cost.expected_total < row.at_thrice


def test_spot_at_the_price_of_on_demand_is_never_recommended(folder: Path) -> None:
    names, answer = found(folder, offer("steady", "16"), offer("spot", "16", spot=True))
    assert names == ["steady"]
    assert [row.reason for row in answer.rejected] == ["spot that is not cheaper than on-demand"]
    # Also where only spot was asked for.
    offers = (offer("steady", "16"), offer("spot", "16", spot=True))
    assert found(folder, *offers, spot=True)[0] == []


@pytest.mark.parametrize(
    ("changed", "filters", "reason"),
    [
        ({"reasons": ("sold out",)}, {}, "sold out"),
        ({"gpu_count": 4}, {}, "4 of 8 GPUs"),
        ({}, {"max_price": Decimal("15.99")}, "dearer than 15.99 USD/h"),
        ({}, {"gpu": all_gpus()["A100-80GB-SXM"]}, "another GPU than asked for"),
        ({}, {"spot": True}, "on-demand, asked for spot"),
        ({}, {"provider": "prime"}, "another provider than asked for"),
        ({"country": "DE"}, {"region": "US"}, "outside the region asked for"),
        ({}, {"region": "US"}, "outside the region asked for"),
        ({"reliability": 0.9}, {"min_reliability": 0.95}, "reliability below 0.95"),
        ({}, {"min_reliability": 0.95}, "reliability unknown"),
        ({"max_duration_hours": 1.0}, {}, "it ends before the"),
        ({"nodes": 2, "gpu_count": 16}, {}, "a cluster, while the config is for one machine"),
        ({"gpu": "T4-16GB", "gpus": ("T4-16GB",)}, {}, "without bf16"),
    ],
)
def test_offers_that_are_not_ranked_say_why(
    folder: Path, changed: dict[str, Any], filters: dict[str, Any], reason: str
) -> None:
    names, answer = found(folder, offer("one", "16", **changed), **filters)
    assert names == []
    assert len(answer.rejected) == 1
    assert answer.rejected[0].reason.startswith(reason)


def test_an_offer_that_ends_within_the_expected_hours_is_out(folder: Path) -> None:
    _, answer = found(folder, offer("one", "16", spot=True))
    cost = answer.ranked[0].cost
    assert cost is not None
    between = (cost.expected_wall_hours + (answer.ranked[0].need.hours or 0)) / 2
    _, answer = found(folder, offer("one", "16", spot=True, max_duration_hours=between))
    assert (answer.ranked, answer.fitting) == ([], 0)
    assert "expected hours" in answer.rejected[0].reason


def test_the_best_few_are_those_of_the_whole_ranking(folder: Path) -> None:
    path = str(folder / "a_sft.toml")
    config = load_config(path)
    sources = [snapshot.fetch()]
    every = find_offers(config, sources, path=path, limit=0)
    assert len(every.ranked) == every.fitting > 20
    for limit in (1, 5, 20):
        few = find_offers(config, sources, path=path, limit=limit)
        assert [row.as_json() for row in few.ranked] == [
            row.as_json() for row in every.ranked[:limit]
        ]


def find(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PRIME_TRAIN, "find", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_document(folder: Path) -> None:
    done = find(folder, "a_sft.toml", "--format=json", "--limit=0")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    keys = {"provider", "id", "gpu", "count", "spot", "usd_per_hour", "hours", "expected_cost_usd"}
    keys |= {"low_usd", "high_usd", "checkpoint_interval_s", "why"}
    for row in document["offers"]:
        assert keys <= set(row)
        assert row["low_usd"] <= row["expected_cost_usd"] <= row["high_usd"]
        assert row["count"] >= 8
    assert all({"gpu", "reason"} <= set(row) for row in document["rejected"])
    assert [source["name"] for source in document["sources"]] == ["snapshot"]
    assert document["sources"][0]["fetched_at"] == "2026-10-04"


def test_the_text_shows_the_age_of_prices(folder: Path) -> None:
    done = find(folder, "a_sft.toml", "--gpu=H100-80GB", "--on-demand", "--limit=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 x H100-80GB-SXM on-demand at " in done.stdout
    assert "/h, price of 202" in done.stdout
    assert " days old" in done.stdout
    assert "--spot-loss-hours" in done.stdout


def test_without_an_end_only_prices_are_known(folder: Path) -> None:
    document = json.loads(find(folder, "open_sft.toml", "--format=json", "--limit=3").stdout)
    assert {row["expected_cost_usd"] for row in document["offers"]} == {None}
    prices = [row["usd_per_hour"] for row in document["offers"]]
    assert prices == sorted(prices)
    told = json.loads(find(folder, "open_sft.toml", "--format=json", "--hours=10").stdout)
    assert all(row["expected_cost_usd"] > 0 for row in told["offers"])


def test_no_offer_fits_says_by_how_much_and_what_would(folder: Path) -> None:
    done = find(folder, "large_sft.toml", "--gpu=RTX4090-24GB")
    assert done.returncode == 1
    assert done.stdout.startswith("no offer fits\n")
    assert "more than the 23.5 that it has" in done.stdout
    assert "would fit on RTX4090-24GB: " in done.stdout


def test_an_unknown_model_is_not_ranked(folder: Path) -> None:
    done = find(folder, "unheard_sft.toml")
    assert (done.returncode, done.stderr) == (1, "")
    assert "nobody/knows-this" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a_sft.toml", "--max-price=cheap"], "--max-price: 'cheap' is no amount"),
        (["a_sft.toml", "--gpu=H1000"], "no GPU is known as 'H1000'"),
        (["a_sft.toml", "--hours=0"], "--hours"),
        (["a_sft.toml", "--spot-loss-hours=nan"], "--spot-loss-hours"),
        (["a_sft.toml", "--format=xml"], "--format"),
        (["missing.toml"], "missing.toml"),
    ],
)
def test_wrong_use_is_one_sentence(folder: Path, arguments: list[str], words: str) -> None:
    done = find(folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_budget_is_an_item(folder: Path, pytester: pytest.Pytester, quick_runs: None) -> None:
    (pytester.path / "a_sft.toml").write_text((folder / "a_sft.toml").read_text())
    item = "a_sft.toml::cost[[]budget]"
    result = pytester.runpytest_inprocess(
        "a_sft.toml", "--prime-budget=5", "--prime-gpu=H100-80GB", "-rA"
    )
    result.stdout.fnmatch_lines(
        [
            "*error cost-budget: the completed run is expected to cost $*over the budget of $5.00*",
            "*fix: Take 8 x *",
            f"FAILED {item}*",
        ]
    )
    result = pytester.runpytest_inprocess("a_sft.toml", "--prime-budget=5000", "-rA")
    result.stdout.fnmatch_lines([f"PASSED {item}"])
    result = pytester.runpytest_inprocess("a_sft.toml", "-rA")
    result.stdout.no_fnmatch_line(f"*{item}")


def test_a_budget_that_nobody_selected_passes(
    folder: Path, pytester: pytest.Pytester, quick_runs: None
) -> None:
    (pytester.path / "a_sft.toml").write_text((folder / "a_sft.toml").read_text())
    arguments = ("a_sft.toml", "--prime-budget=0.5", "--prime-ignore=cost-budget", "-rA")
    result = pytester.runpytest_inprocess(*arguments)
    result.stdout.fnmatch_lines(["PASSED a_sft.toml::cost[[]budget]"])


def test_a_budget_of_what_is_unknown_is_skipped(
    folder: Path, pytester: pytest.Pytester, quick_runs: None
) -> None:
    (pytester.path / "b_sft.toml").write_text((folder / "open_sft.toml").read_text())
    result = pytester.runpytest_inprocess("b_sft.toml", "--prime-budget=5", "-rA")
    result.stdout.fnmatch_lines(["SKIPPED*how long the run takes is unknown*"])


def test_a_budget_of_the_ini_file(
    folder: Path, pytester: pytest.Pytester, quick_runs: None
) -> None:
    (pytester.path / "a_sft.toml").write_text((folder / "a_sft.toml").read_text())
    pytester.makeini("[pytest]\nprime_budget = 0.5\n")
    result = pytester.runpytest_inprocess("a_sft.toml", "-rA")
    result.stdout.fnmatch_lines(["FAILED a_sft.toml::cost[[]budget]*"])


@pytest.mark.parametrize("budget", ["much", "0", "-3", "nan"])
def test_a_budget_that_is_none(pytester: pytest.Pytester, quick_runs: None, budget: str) -> None:
    (pytester.path / "a_sft.toml").write_text(SFT.format(model="Qwen/Qwen3-8B"))
    result = pytester.runpytest_inprocess("a_sft.toml", f"--prime-budget={budget}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--prime-budget: * is no amount of USD above 0*"])


def test_the_bundled_facts_are_up_to_date(shared: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/build_cost.py"), "--check", "--shared"]
    assert subprocess.run([*command, str(shared)], check=False).returncode == 0


def test_presets_agree_with_the_known_cards() -> None:
    text = (ROOT / "pytest_prime_train" / "cost" / "data" / "presets.json").read_text()
    shapes = json.loads(text)["shapes"]
    assert len(shapes) == 21
    for shape in shapes:
        card = all_gpus()[shape["gpu"]]
        count = shape["gpus_per_node"] * shape["nodes"]
        assert shape["total_vram_gib"] == pytest.approx(card.usable_gib * count, rel=0.01)
        assert shape["gpus_per_node"] in card.gpus_per_node
        for kind in ("reference_on_demand", "reference_spot"):
            price = shape[kind]
            if price is not None:
                wanted = price["usd_per_gpu_hour"] * count
                assert price["usd_per_hour"] == pytest.approx(wanted, abs=0.02 * count)
                assert price["observed_at"]
