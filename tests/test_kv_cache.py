"""vLLM's KV cache: tokens from memory against public start-up logs, and its monotony."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_prime_train.memory.inference import estimate_inference, lora_bytes, weights_bytes
from pytest_prime_train.memory.kv_cache import bytes_per_token, kv_cache
from pytest_prime_train.memory.shapes import GIB, InferenceShape
from pytest_prime_train.memory.verdict import inference_verdict
from pytest_prime_train.models import bundled
from pytest_prime_train.models.facts import ModelFacts

ROOT = Path(__file__).resolve().parent.parent


def facts_of(name: str) -> ModelFacts:
    facts = bundled.lookup(name)
    assert facts is not None
    return facts


def server(name: str, **changes: Any) -> InferenceShape:
    return replace(InferenceShape(model=facts_of(name)), **changes)


@pytest.fixture(scope="module")
def report(shared: Path) -> dict[str, Any]:
    """What the benchmark prints for the public logs."""
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "kv_cache.py"),
            "--points",
            str(shared / "models" / "kv_points_visible.json"),
            "--format",
            "json",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def logs(shared: Path) -> dict[str, dict[str, Any]]:
    document = json.loads((shared / "models" / "kv_points_visible.json").read_text())
    return {point["id"]: point for point in document["points"]}


def test_grouped_query_attention_within_1_5_percent(
    report: dict[str, Any], logs: dict[str, dict[str, Any]]
) -> None:
    checked = 0
    for row in report["points"]:
        log = logs[row["id"]]
        # The line of one of two workers: the other one, with the sampler, decided.
        one_worker = "ONE worker" in str(log.get("note"))
        if log["kind"] != "gqa" or row["kv_tokens"] is None or one_worker:
            continue
        assert row["kv_tokens"] == pytest.approx(log["kv_tokens_logged"], rel=0.015)
        checked += 1
    assert checked >= 6


@pytest.mark.parametrize(
    ("name", "gib", "changes", "tokens"),
    [
        (
            "Qwen/Qwen3.5-35B-A3B",
            5.98,
            {"kv_cache_dtype": "fp8", "max_model_len": 131072},
            567978,
        ),
        (
            "Qwen/Qwen3.5-27B",
            4.99,
            {"kv_cache_dtype": "fp8", "max_model_len": 131072, "tensor_parallel": 2},
            302921,
        ),
        (
            "Qwen/Qwen3.5-9B",
            10.78,
            {"max_model_len": 65536, "prefix_caching": False},
            342528,
        ),
        ("Qwen/Qwen3.5-27B", 31.24, {"max_model_len": 8192}, 314187),
    ],
)
def test_gated_delta_hybrids_to_the_token(
    name: str, gib: float, changes: dict[str, Any], tokens: int
) -> None:
    assert kv_cache(server(name, **changes), gib * GIB).tokens == tokens


@pytest.mark.parametrize(
    ("name", "gib", "tokens"),
    [("Qwen/Qwen3-14B", 6.51, 42656), ("Qwen/Qwen3-VL-30B-A3B-Instruct", 33.59, 366880)],
)
def test_tokens_come_in_blocks_of_16(name: str, gib: float, tokens: int) -> None:
    assert kv_cache(server(name), gib * GIB).tokens == tokens


def test_available_memory_within_10_percent_where_one_card_is_known(
    report: dict[str, Any], logs: dict[str, dict[str, Any]]
) -> None:
    checked = 0
    for row in report["points"]:
        log = logs[row["id"]]
        logged = log["available_kv_gib_per_gpu"]
        if log["tensor_parallel"] != 1 or row["available_kv_gib_per_gpu"] is None or logged < 5:
            continue
        assert row["available_kv_gib_per_gpu"] == pytest.approx(logged, rel=0.10)
        checked += 1
    assert checked >= 3


def test_latent_attention_is_not_divided_by_tensor_parallelism() -> None:
    one = bytes_per_token(server("deepseek-ai/DeepSeek-V3"))
    assert one == 70272
    assert bytes_per_token(server("deepseek-ai/DeepSeek-V3", tensor_parallel=8)) == one


def test_key_heads_are_copied_beyond_their_number() -> None:
    four = bytes_per_token(server("Qwen/Qwen3-30B-A3B-Instruct-2507", tensor_parallel=4))
    assert bytes_per_token(server("Qwen/Qwen3-30B-A3B-Instruct-2507", tensor_parallel=8)) == four


def test_windows_take_less_than_full_attention() -> None:
    windowed = server("google/gemma-3-27b-it", max_model_len=131072)
    full = replace(windowed, model=replace(windowed.model, full_attention_layers=62))
    assert kv_cache(windowed, 40 * GIB).tokens > 3 * kv_cache(full, 40 * GIB).tokens


def test_native_length_of_30b_needs_24_gib() -> None:
    cache = kv_cache(server("Qwen/Qwen3-30B-A3B-Instruct-2507"), 23.9 * GIB)
    assert cache.request_bytes / GIB == pytest.approx(24.0, abs=0.01)
    assert not cache.starts
    assert kv_cache(server("Qwen/Qwen3-30B-A3B-Instruct-2507"), 24.1 * GIB).starts


def test_weights_above_the_budget_do_not_fit() -> None:
    estimate = estimate_inference(server("meta-llama/Llama-3.3-70B-Instruct"), 79.1)
    assert estimate.available_kv_bytes < 0
    assert estimate.kv_cache_tokens == 0
    assert inference_verdict(estimate) == "does-not-fit"


def test_a_small_model_on_a_big_card_fits() -> None:
    estimate = estimate_inference(server("Qwen/Qwen3-0.6B"), 79.1)
    assert inference_verdict(estimate) == "fits"
    assert estimate.max_concurrency > 1


def test_adapter_slots_of_experts_are_gigabytes() -> None:
    shape = server("Qwen/Qwen3-30B-A3B-Instruct-2507", lora_slots=8, lora_rank=16)
    assert lora_bytes(shape) / 1e9 == pytest.approx(13.5, rel=0.02)


def test_expert_parallelism_spreads_experts_over_all_engines() -> None:
    apart = server("Qwen/Qwen3-30B-A3B-Instruct-2507", data_parallel=8)
    together = replace(apart, expert_parallel=True)
    assert weights_bytes(together) < weights_bytes(apart) / 4


@given(
    name=st.sampled_from(bundled.names()),
    gib=st.floats(0.5, 200),
    more=st.floats(0, 50),
    length=st.integers(1024, 262144),
    dtype=st.sampled_from(["bf16", "fp8"]),
    tp=st.sampled_from([1, 2, 4, 8]),
)
def test_more_memory_never_holds_fewer_tokens(
    name: str, gib: float, more: float, length: int, dtype: str, tp: int
) -> None:
    shape = server(name, max_model_len=length, kv_cache_dtype=dtype, tensor_parallel=tp)
    less, much = kv_cache(shape, gib * GIB), kv_cache(shape, (gib + more) * GIB)
    assert 0 <= less.tokens <= much.tokens
    assert less.max_concurrency <= much.max_concurrency


@given(
    name=st.sampled_from(bundled.names()),
    share=st.floats(0.3, 0.95),
    tp=st.sampled_from([1, 2, 4]),
    total=st.floats(16, 280),
)
def test_more_of_the_card_and_more_cards_never_leave_less(
    name: str, share: float, tp: int, total: float
) -> None:
    shape = server(name, gpu_memory_utilization=share, tensor_parallel=tp)
    now = estimate_inference(shape, total).available_kv_bytes
    higher = replace(shape, gpu_memory_utilization=min(0.99, share + 0.04))
    assert estimate_inference(higher, total).available_kv_bytes >= now
    wider = estimate_inference(replace(shape, tensor_parallel=2 * tp), total)
    # The step from one GPU to several costs 0.1 GiB for NCCL.
    assert wider.available_kv_bytes >= now - 0.11 * GIB
