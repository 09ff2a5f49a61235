"""Facts of models: counts against published ones, config.json files, hub and meta load."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_prime_train.memory.lora import adapted_modules, lora_params
from pytest_prime_train.memory.shapes import LORA_TARGETS
from pytest_prime_train.models import bundled, hub, local, meta
from pytest_prime_train.models.compat import Asked, incompatibilities
from pytest_prime_train.models.facts import ModelFacts, Unknown
from pytest_prime_train.models.find import find
from pytest_prime_train.models.params import (
    active_params,
    expert_params,
    largest_layer,
    total_params,
)

ROOT = Path(__file__).resolve().parent.parent


def facts_of(name: str) -> ModelFacts:
    facts = bundled.lookup(name)
    assert facts is not None
    return facts


# --- bundled facts --------------------------------------------------------------------------


def test_79_models_are_bundled() -> None:
    assert len(bundled.names()) == 79


@pytest.mark.parametrize("name", bundled.names())
def test_count_is_the_published_one(name: str) -> None:
    facts = facts_of(name)
    assert facts.published_params is not None
    assert total_params(facts) == pytest.approx(facts.published_params, rel=0.005)


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("Qwen/Qwen3-0.6B", 596049920),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", 30532122624),
        ("meta-llama/Llama-3.1-405B-Instruct", 405853388800),
        ("openai/gpt-oss-120b", 116829156672),
        ("google/gemma-3-27b-it", 27009346304),
        ("THUDM/GLM-4-9B-0414", 9400279040),
        ("allenai/OLMo-3-7B-Instruct", 7298011136),
    ],
)
def test_exact_counts(name: str, elements: int) -> None:
    assert total_params(facts_of(name)) == elements


def test_parts_never_exceed_the_whole() -> None:
    for name in bundled.names():
        facts = facts_of(name)
        assert 0 < active_params(facts) <= total_params(facts)
        assert 0 <= expert_params(facts) < total_params(facts)
        assert 0 < largest_layer(facts).params < total_params(facts)


def test_names_are_found_in_any_case_and_by_alias() -> None:
    assert bundled.lookup("qwen/qwen3-0.6b") == facts_of("Qwen/Qwen3-0.6B")
    alias = facts_of("PrimeIntellect/Qwen3-0.6B-Reverse-Text-SFT")
    assert alias.name == "Qwen/Qwen3-0.6B"


def test_an_alias_keeps_its_own_longest_context() -> None:
    assert facts_of("Qwen/Qwen3-30B-A3B").max_positions == 40960
    assert facts_of("Qwen/Qwen3-30B-A3B-Instruct-2507").max_positions == 262144


def test_bundled_file_is_what_the_tool_makes(shared: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build_models.py"), "--check", "--shared", shared],
        check=False,
    )
    assert done.returncode == 0


# --- adapters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", 0.84),
        ("PrimeIntellect/INTELLECT-3", 1.57),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", 3.3),
    ],
)
def test_adapters_of_experts(name: str, billions: float) -> None:
    count = lora_params(facts_of(name), 16, LORA_TARGETS).total
    assert count / 1e9 == pytest.approx(billions, rel=0.02)


def test_adapters_of_named_modules_only() -> None:
    facts = facts_of("Qwen/Qwen3-8B")
    both = lora_params(facts, 16, ("q_proj", "v_proj")).total
    expected = 36 * 16 * ((4096 + 4096) + (4096 + 1024))
    assert both == expected
    assert lora_params(facts, 16, (r".*\.q_proj$",)).total == 36 * 16 * 8192


# --- config.json ----------------------------------------------------------------------------

QWEN3 = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 40960,
    "attention_bias": False,
}


def test_directory_gives_the_facts_of_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    facts = local.from_directory(tmp_path)
    assert isinstance(facts, ModelFacts)
    assert total_params(facts) == 596049920


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"model_type": "nobody_knows"}', "'nobody_knows'"),
        ('{"model_type": "llama", "hidden_size": 8}', "num_attention_heads"),
        (json.dumps({**QWEN3, "hidden_size": "wide"}), "hidden_size"),
        ("{}", "has no formula"),
    ],
)
def test_a_config_that_does_not_tell_is_unknown(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "config.json").write_text(text)
    facts = local.from_directory(tmp_path)
    assert isinstance(facts, Unknown)
    assert reason in str(facts)
    assert str(facts).startswith("unknown: ")


def test_a_directory_without_config_is_unknown(tmp_path: Path) -> None:
    assert isinstance(local.from_directory(tmp_path), Unknown)


def test_find_prefers_bundled_and_takes_directories(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps({**QWEN3, "num_hidden_layers": 2}))
    mine = find("mine", base=tmp_path)
    assert isinstance(mine, ModelFacts)
    assert mine.layers == 2
    assert isinstance(find("Qwen/Qwen3-0.6B"), ModelFacts)


def test_a_quantised_copy_has_the_facts_of_its_model() -> None:
    quantised = find("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8")
    assert quantised == facts_of("Qwen/Qwen3-30B-A3B-Instruct-2507")


def test_unknown_model_is_unknown_without_network() -> None:
    facts = find("nobody/has-this-model")
    assert isinstance(facts, Unknown)
    assert "nobody/has-this-model" in str(facts)


def test_a_path_that_is_no_directory_is_not_asked_of_the_hub() -> None:
    assert "directory" in str(find("./nowhere"))


def test_hub_reads_its_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub", reason="extra hub is not installed")
    cache = tmp_path / "models--some--model"
    snapshot = cache / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text(json.dumps(QWEN3))
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    facts = hub.fetch("some/model")
    assert isinstance(facts, ModelFacts)
    assert total_params(facts) == 596049920
    assert isinstance(hub.fetch("some/other"), Unknown)


# --- meta-device load -----------------------------------------------------------------------

SMALL = {"hidden_size": 256, "num_hidden_layers": 3, "vocab_size": 1024, "head_dim": 32}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 512}
MLA = {
    "q_lora_rank": 64,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
LINEAR = {
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
    "num_hidden_layers": 4,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
META_CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**SMALL, **HEADS},
    "mistral": {**SMALL, **HEADS},
    "qwen2": {**SMALL, **HEADS, "head_dim": 32, "hidden_size": 256},
    "qwen3": {**SMALL, **HEADS, "tie_word_embeddings": True},
    "qwen3_moe": {**SMALL, **HEADS, **EXPERTS},
    "smollm3": {**SMALL, **HEADS, "pad_token_id": 0},
    "olmo2": {**SMALL, **HEADS, "head_dim": 32},
    "olmo3": {**SMALL, **HEADS, "num_hidden_layers": 4},
    "gemma2": {**SMALL, **HEADS},
    "gemma3_text": {**SMALL, **HEADS},
    "glm4": {**SMALL, **HEADS, "attention_bias": True, "pad_token_id": 0},
    "mixtral": {**SMALL, **HEADS, "num_local_experts": 4, "num_experts_per_tok": 2},
    "phi3": {**SMALL, **HEADS, "pad_token_id": 0},
    "gpt_oss": {**SMALL, **HEADS, "num_local_experts": 4, "num_hidden_layers": 4},
    "deepseek_v3": {**SMALL, **HEADS, **MLA, "num_key_value_heads": 8},
    "qwen3_5_text": {**SMALL, **HEADS, **LINEAR},
    "qwen3_next": {
        **SMALL,
        **HEADS,
        **LINEAR,
        **EXPERTS,
        "shared_expert_intermediate_size": 64,
    },
}


@pytest.mark.parametrize("model_type", META_CONFIGS)
def test_meta_device_load_counts_as_the_formula_does(model_type: str) -> None:
    """Small configs of the real architectures, built by transformers on the meta device."""
    pytest.importorskip("torch", reason="extra meta is not installed")
    pytest.importorskip("accelerate", reason="extra meta is not installed")
    transformers = pytest.importorskip("transformers", reason="extra meta is not installed")
    values = dict(META_CONFIGS[model_type])
    written = transformers.AutoConfig.for_model(model_type, **values).to_dict()
    counted = meta.count(written)
    assert isinstance(counted, meta.MetaCount), counted
    facts = local.from_config(model_type, written)
    assert isinstance(facts, ModelFacts), facts
    corrections = (
        facts.moe.experts * facts.layers if facts.moe is not None and facts.moe.router_bias else 0
    )
    # transformers keeps DeepSeek's score correction as a buffer, one number per expert.
    assert 0 <= total_params(facts) - counted.total <= corrections
    assert counted.experts == expert_params(facts)


def test_an_architecture_without_formula_is_counted_exactly(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="extra meta is not installed")
    pytest.importorskip("accelerate", reason="extra meta is not installed")
    pytest.importorskip("transformers", reason="extra meta is not installed")
    config = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 512}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    assert isinstance(find("model", base=tmp_path), Unknown)
    facts = find("model", base=tmp_path, meta=True)
    assert isinstance(facts, ModelFacts)
    # Embeddings 512 and 1024 positions of 64, two layers of 12 h^2 + 13 h, the last norm.
    assert total_params(facts) == (512 + 1024) * 64 + 2 * (12 * 64 * 64 + 13 * 64) + 2 * 64


def test_without_the_extra_a_meta_load_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    found = meta.count(QWEN3)
    assert isinstance(found, Unknown)
    assert "pytest-prime-train[meta]" in str(found)


# --- compatibility --------------------------------------------------------------------------

DENSE = "Qwen/Qwen3-8B"
MIXTURE = "Qwen/Qwen3-30B-A3B-Instruct-2507"
LATENT = "deepseek-ai/DeepSeek-V3"
HYBRID = "Qwen/Qwen3.5-35B-A3B"


def asked_of(name: str, **changes: Any) -> Asked:
    return replace(Asked(adapted=adapted_modules(facts_of(name))), **changes)


PLANTED: list[tuple[str, dict[str, Any], str]] = [
    (DENSE, {"seq_len": 65536}, "seq_len"),
    (DENSE, {"max_model_len": 131072}, "max_model_len"),
    (DENSE, {"ep": 8}, "ep"),
    (MIXTURE, {"ep": 6}, "ep"),
    (DENSE, {"freeze_router": True}, "freeze_router"),
    (DENSE, {"router_replay": True}, "router_replay"),
    (DENSE, {"fused_moe": True}, "fused_moe"),
    (DENSE, {"inference_experts": True}, "inference_experts"),
    ("Qwen/Qwen2.5-7B-Instruct", {"tensor_parallel": 8}, "tensor_parallel"),
    (DENSE, {"cp": 3, "cp_style": "ulysses", "seq_len": 6144}, "cp"),
    ("allenai/OLMo-3-7B-Instruct", {"cp": 2, "own_code": False}, "cp"),
    (DENSE, {"cp": 4, "seq_len": 4100}, "seq_len"),
    ("google/gemma-4-31B-it", {"attn": "flash_attention_2"}, "attn"),
    ("Qwen/Qwen3.5-27B", {"attn": "flash_attention_4"}, "attn"),
    ("HuggingFaceTB/SmolLM3-3B", {"attn": "flash_attention_3", "own_code": False}, "attn"),
    ("microsoft/phi-4", {"impl": "custom", "own_code": False}, "impl"),
    ("microsoft/phi-4", {"quantization": "fp8", "own_code": False}, "quantization"),
    (MIXTURE, {"ac_targets": ("mlp",)}, "ac_targets"),
    (DENSE, {"ac_targets": ("routed_experts",)}, "ac_targets"),
    (DENSE, {"ac_targets": ("mla_up_proj",)}, "ac_targets"),
    ("google/gemma-2-9b-it", {"lora_targets": ("c_attn",)}, "lora_targets"),
    (
        DENSE,
        {"lora_targets": ("q_proj", "qproj")},
        "lora_targets",
    ),
    (DENSE, {"vlm": True}, "vlm"),
    ("Qwen/Qwen3-VL-8B-Instruct", {"vlm": True}, "vlm"),
    (LATENT, {"index_cache": True}, "index_cache"),
    (DENSE, {"served": facts_of("Qwen/Qwen3-4B")}, "served"),
    ("meta-llama/Llama-3.1-8B-Instruct", {"tokenizer_vocab": 151936}, "tokenizer_vocab"),
]

SOUND: list[tuple[str, dict[str, Any]]] = [
    (DENSE, {"seq_len": 40960}),
    (DENSE, {"max_model_len": 131072, "rope_scaling": True}),
    (DENSE, {"ep": 1}),
    (MIXTURE, {"ep": 8}),
    (MIXTURE, {"freeze_router": True, "router_replay": True, "fused_moe": True}),
    (MIXTURE, {"inference_experts": True, "tensor_parallel": 4}),
    ("Qwen/Qwen2.5-7B-Instruct", {"tensor_parallel": 4}),
    (MIXTURE, {"tensor_parallel": 8}),
    (DENSE, {"cp": 8, "cp_style": "ulysses", "seq_len": 32768}),
    (DENSE, {"cp": 3, "cp_style": "ring", "seq_len": 6144}),
    ("google/gemma-4-31B-it", {"attn": "auto"}),
    ("Qwen/Qwen3.5-27B", {"attn": "flash_attention_3"}),
    (LATENT, {"attn": "flash_attention_4"}),
    ("HuggingFaceTB/SmolLM3-3B", {"attn": "flash_attention_2", "own_code": False}),
    ("microsoft/phi-4", {"impl": "auto", "own_code": False}),
    (MIXTURE, {"ac_targets": ("norm", "attn_proj", "routed_experts")}),
    ("zai-org/GLM-4.5-Air", {"ac_targets": ("mlp", "routed_experts")}),
    (HYBRID, {"ac_targets": ("linear_attn",)}),
    (LATENT, {"ac_targets": ("mla_up_proj",)}),
    (DENSE, {"lora_targets": LORA_TARGETS}),
    (DENSE, {"lora_targets": ("q_proj", "o_proj")}),
    (DENSE, {"lora_targets": (r".*\.layers\.1\..*",)}),
    (HYBRID, {"vlm": True}),
    ("zai-org/GLM-5", {"index_cache": True}),
    (DENSE, {"lora_targets": ("q_proj", "in_proj")}),
    (DENSE, {"seq_len": 65536, "packed": True}),
    ("Qwen/Qwen3-VL-8B-Instruct", {"vlm": True, "own_code_needed": False}),
    (DENSE, {"served": facts_of(DENSE)}),
    (DENSE, {"tokenizer_vocab": 151936}),
    (MIXTURE, {"quantization": "mxfp8", "attn": "flash_attention_4"}),
]


@pytest.mark.parametrize(("name", "changes", "where"), PLANTED)
def test_planted_incompatibility_is_found(name: str, changes: dict[str, Any], where: str) -> None:
    found = incompatibilities(facts_of(name), asked_of(name, **changes))
    assert [item.field for item in found] == [where]
    assert found[0].message


@pytest.mark.parametrize(("name", "changes"), SOUND)
def test_sound_pair_raises_nothing(name: str, changes: dict[str, Any]) -> None:
    assert incompatibilities(facts_of(name), asked_of(name, **changes)) == []
