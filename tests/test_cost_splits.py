"""Splits of a run's GPUs between training and inference, as users meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pytest_prime_train.checker import check_file, load_config
from pytest_prime_train.cost.find import find_offers
from pytest_prime_train.cost.found import Found, Terms
from pytest_prime_train.cost.generation import tokens_per_second
from pytest_prime_train.cost.offers import Offer, SourceResult
from pytest_prime_train.memory.gpus import all_gpus
from pytest_prime_train.memory.inference import estimate_inference
from pytest_prime_train.memory.shapes import InferenceShape
from pytest_prime_train.models import bundled

PRIME_TRAIN = Path(sys.executable).with_name("prime-train")
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "rl.toml"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def config(folder: Path, train: int, infer: int, *more: tuple[str, str]) -> str:
    text = EXAMPLE.read_text()
    changes = (
        ("num_train_gpus = 2", f"num_train_gpus = {train}"),
        ("num_infer_gpus = 2", f"num_infer_gpus = {infer}"),
        ("batch_size = 256", "batch_size = 840"),
        *more,
    )
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"rl_{train}_{infer}.toml"
    path.write_text(text)
    return str(path)


def offers(count: int = 8, **changed: Any) -> list[SourceResult]:
    facts: dict[str, Any] = {
        "provider": "lab",
        "upstream": "",
        "offer_id": "one",
        "name": "one",
        "gpu": "H100-80GB-SXM",
        "gpu_name": "H100",
        "gpu_count": count,
        "price_per_hour": Decimal(16),
        "fetched_at": "2026-11-24",
        "gpus": ("H100-80GB-SXM",),
        "egress_price_gb": Decimal(0),
    }
    return [SourceResult("lab", "2026-11-24", "ok", [Offer(**{**facts, **changed})], [])]


def found(path: str, count: int = 8, terms: Terms | None = None) -> Found:
    return find_offers(load_config(path), offers(count), path=path, terms=terms or Terms())


def test_a_lopsided_run_is_balanced_with_its_effect(tmp_path: Path) -> None:
    path = config(tmp_path, 6, 1)
    answer = found(path)
    (split,) = answer.splits
    assert (split.now.train_gpus, split.now.infer_gpus) == (6, 1)
    assert split.then.train_gpus + split.then.infer_gpus == 8
    assert split.then.infer_gpus > 1
    assert split.then.step_seconds < 0.95 * split.now.step_seconds
    assert split.now.usd == pytest.approx(answer.ranked[0].cost.expected_total)  # type: ignore[union-attr]
    # What is proposed, once written, is what was promised, and nothing beats it.
    written = config(tmp_path, split.then.train_gpus, split.then.infer_gpus)
    after = found(written)
    assert after.splits == []
    assert after.ranked[0].cost is not None
    assert after.ranked[0].cost.expected_total == pytest.approx(split.then.usd)
    assert after.ranked[0].need.hours == pytest.approx(split.then.hours)


def test_every_other_split_is_slower(tmp_path: Path) -> None:
    (split,) = found(config(tmp_path, 1, 7)).splits
    for train in range(1, 8):
        need = found(config(tmp_path, train, 8 - train)).ranked[0].need
        assert need.step_seconds is not None
        assert need.step_seconds >= split.then.step_seconds * (1 - 1e-9)


def test_prime_rl_would_take_what_is_proposed(tmp_path: Path) -> None:
    tensor = ("max_model_len = 4096", "max_model_len = 4096\ntensor_parallel_size = 2")
    # Engines of two GPUs each leave no odd number of them to inference.
    (split,) = found(config(tmp_path, 2, 2, tensor)).splits
    assert split.then.infer_gpus % 2 == 0
    written = config(tmp_path, split.then.train_gpus, split.then.infer_gpus, tensor)
    assert not [one for one in check_file(written).findings if one.severity == "error"]


@pytest.mark.parametrize("terms", [Terms(hours=10.0)])
def test_measured_hours_are_not_second_guessed(tmp_path: Path, terms: Terms) -> None:
    assert found(config(tmp_path, 6, 1), terms=terms).splits == []


def test_sft_has_no_split(tmp_path: Path) -> None:
    path = EXAMPLE.with_name("sft.toml")
    answer = found(str(path))
    assert answer.ranked
    assert answer.splits == []


def test_the_command_shows_them(tmp_path: Path) -> None:
    path = config(tmp_path, 6, 1)
    command = [str(PRIME_TRAIN), "find", path, "--gpu=H100-80GB"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "a faster split of 8 x H100-80GB-SXM: deployment.num_train_gpus = " in done.stdout
    assert "the completed run is expected to cost $" in done.stdout
    done = subprocess.run([*command, "--format=json"], capture_output=True, text=True, check=True)
    split = json.loads(done.stdout)["splits"][0]
    assert split["now"]["step_s"] > split["proposed"]["step_s"]
    assert split["saves_usd"] > 0
    assert 0 < split["faster"] < 1
    assert [edit.partition(" = ")[0] for edit in split["edits"]] == [
        "deployment.num_train_gpus",
        "deployment.num_infer_gpus",
    ]


def speed(**changed: Any) -> float:
    facts = bundled.lookup("Qwen/Qwen3-4B-Instruct-2507")
    assert facts is not None
    card = all_gpus()[changed.pop("gpu", "H100-80GB-SXM")]
    length, inflight = changed.pop("length", 4096), changed.pop("max_inflight", None)
    shape = InferenceShape(facts, max_model_len=8192, **changed)
    memory = estimate_inference(shape, card.usable_gib, card.id)
    rate = tokens_per_second(shape, memory, card, length=length, max_inflight=inflight)
    assert rate is not None
    return rate


def test_generation_is_faster_with_more_and_slower_with_longer() -> None:
    base = speed()
    assert 1_000 < base < 100_000
    assert speed(data_parallel=4) == pytest.approx(4 * base, rel=0.1)
    assert speed(length=8192) < base
    assert speed(max_inflight=8) < 0.2 * base
    assert speed(gpu="RTX4090-24GB") < base < speed(gpu="H200-141GB-SXM")
