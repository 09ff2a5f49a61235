"""Facts from a config.json as transformers writes it: of a model directory or of the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_prime_train.models.facts import (
    GlobalAttention,
    Hybrid,
    Indexer,
    LinearAttention,
    Mla,
    ModelFacts,
    MoE,
    Unknown,
)


class _Config:
    """Reads a config.json whose keys differ from family to family."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def get(self, *keys: str, default: Any = None) -> Any:
        for key in keys:
            if self.values.get(key) is not None:
                return self.values[key]
        return default

    def number(self, *keys: str, default: int | None = None) -> int:
        value = self.get(*keys, default=default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _MissingError(keys[0])
        return value


class _MissingError(Exception):
    """A fact that the config.json does not tell."""


# Families whose layers look like Llama's, with the facts in which they differ.
_LLAMA_LIKE: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "smollm3": {},
    "phi3": {},
    "mixtral": {},
    "olmo2": {"qk_norm": "full"},
    "olmo3": {"qk_norm": "full"},
    "qwen2": {"attention_bias_qkv": True},
    "qwen2_moe": {"attention_bias_qkv": True},
    "mimo": {"attention_bias_qkv": True},
    "qwen3": {"qk_norm": "head"},
    "qwen3_moe": {"qk_norm": "head"},
    "qwen3_vl": {"qk_norm": "head"},
    "qwen3_vl_moe": {"qk_norm": "head"},
    "qwen3_next": {"qk_norm": "head", "attn_output_gate": True},
    "qwen3_5": {"qk_norm": "head", "attn_output_gate": True},
    "qwen3_5_moe": {"qk_norm": "head", "attn_output_gate": True},
    "seed_oss": {},
    "gemma2": {"norms_per_layer": 4},
    "gemma3": {"norms_per_layer": 4, "qk_norm": "head"},
    "gemma4": {"norms_per_layer": 4, "qk_norm": "head"},
    "glm4": {"norms_per_layer": 4},
    "glm4_moe": {},
    "gpt_oss": {"sinks": True, "attention_bias_o": True},
    "minimax_m2": {"qk_norm": "full"},
    "deepseek_v2": {},
    "deepseek_v3": {},
    "glm4_moe_lite": {},
    "glm_moe_dsa": {},
    "nemotron_h": {"norms_per_layer": 1, "gated_mlp": False},
}
_SAME_FAMILY = {
    "deepseek_v32": "deepseek_v3",
    "kimi_k2": "deepseek_v3",
    "minimax_m1": "minimax_m2",
}
_ROUTER_WITH_BIAS = frozenset({"glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "deepseek_v3"})
_TIED_BY_DEFAULT = frozenset({"gemma2", "gemma3", "gemma4"})


def family_of(model_type: str) -> str:
    """The family of a ``model_type``: without the suffix of text parts, renamed kin together."""
    family = model_type.removesuffix("_text")
    return _SAME_FAMILY.get(family, family)


def known_families() -> frozenset[str]:
    """Families whose config.json is understood."""
    return frozenset(_LLAMA_LIKE)


def from_directory(directory: Path) -> ModelFacts | Unknown:
    """Facts of a local model directory, by its config.json."""
    path = directory / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return Unknown(f"{path} cannot be read ({error.strerror})")
    except ValueError:
        return Unknown(f"{path} is not valid JSON")
    if not isinstance(values, dict):
        return Unknown(f"{path} does not hold a JSON object")
    return from_config(str(directory), values, source=str(path))


def from_config(name: str, values: dict[str, Any], source: str = "") -> ModelFacts | Unknown:
    """Facts from the contents of a config.json.

    Args:
        name: What to call the model.
        values: The config.json.
        source: Where it came from.

    Returns:
        The facts, or why they cannot be told.
    """
    vision = "text_config" in values or "vision_config" in values
    text = (
        {**values, **values["text_config"]}
        if isinstance(values.get("text_config"), dict)
        else values
    )
    family = family_of(str(text.get("model_type", "")))
    if family not in _LLAMA_LIKE:
        return Unknown(f"architecture {text.get('model_type')!r} of {name} has no formula here")
    try:
        return _facts(name, family, _Config(text), vision, source)
    except _MissingError as error:
        return Unknown(f"the config.json of {name} does not tell {error.args[0]}")


def _facts(name: str, family: str, config: _Config, vision: bool, source: str) -> ModelFacts:
    hidden = config.number("hidden_size")
    heads = config.number("num_attention_heads")
    kinds = config.get("layers_block_type", default=())
    layers = config.number("num_hidden_layers", default=len(kinds) or None)
    mla = _mla(config, layers)
    facts = dict(_LLAMA_LIKE[family])
    if family in ("glm4", "glm4_moe", "seed_oss", "gpt_oss") or "attention_bias" in config.values:
        facts["attention_bias_qkv"] = bool(
            config.get("attention_bias", default=facts.get("attention_bias_qkv", False))
        )
    if family == "llama":
        facts["attention_bias_o"] = bool(config.get("attention_bias", default=False))
    if family == "seed_oss":
        facts["attention_bias_o"] = bool(config.get("attention_out_bias", default=False))
    if family == "glm4_moe" and config.get("use_qk_norm"):
        facts["qk_norm"] = "head"
    if family == "minimax_m2" and not config.get("use_qk_norm", default=True):
        facts["qk_norm"] = None
    window, full = _windows(family, config, layers)
    moe = _moe(family, config, layers)
    head_dim = config.get("head_dim")
    if mla is not None:
        head_dim = mla.qk_nope_head_dim + mla.qk_rope_head_dim
    elif not isinstance(head_dim, int):
        head_dim = hidden // heads
    global_attention = _global_attention(family, config, full)
    if family == "gemma4" and moe is not None:
        facts["norms_per_layer"] = 7
        facts["parallel_dense"] = config.number("intermediate_size")
    return ModelFacts(
        name=name,
        family=family,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=config.number("num_key_value_heads", default=heads),
        head_dim=head_dim,
        intermediate=config.number("intermediate_size", default=0),
        vocab=config.number("vocab_size"),
        tied=bool(config.get("tie_word_embeddings", default=family in _TIED_BY_DEFAULT)),
        max_positions=config.number("max_position_embeddings", default=0),
        sliding_window=window,
        full_attention_layers=None if global_attention is not None else full,
        linear_attention=_linear(config, layers),
        moe=moe,
        mla=mla,
        hybrid=_hybrid(family, config),
        global_attention=global_attention,
        vision=vision,
        source=source,
        **facts,
    )


def _windows(family: str, config: _Config, layers: int) -> tuple[int | None, int | None]:
    """Sliding window and number of full-attention layers; (None, None) without windows."""
    window = config.get("sliding_window")
    types = config.get("layer_types")
    if not isinstance(window, int) or config.get("use_sliding_window") is False:
        return None, None
    if isinstance(types, list):
        full = sum(kind == "full_attention" for kind in types)
        return (window, full) if full < layers else (None, None)
    every: dict[str, Callable[[], int]] = {
        "gemma2": lambda: 2,
        "gemma3": lambda: config.number("sliding_window_pattern", default=6),
        "gemma4": lambda: config.number("sliding_window_pattern", default=6),
        "gpt_oss": lambda: 2,
        "olmo3": lambda: 4,
    }
    if family in every:
        return window, layers // every[family]()
    # Elsewhere the window applies to every layer, or is a leftover of pre-training.
    return (window, 0) if family == "mistral" else (None, None)


def _global_attention(family: str, config: _Config, full: int | None) -> GlobalAttention | None:
    if family != "gemma4" or full is None or config.get("global_head_dim") is None:
        return None
    return GlobalAttention(
        layers=full,
        kv_heads=config.number("num_global_key_value_heads", "num_key_value_heads"),
        head_dim=config.number("global_head_dim"),
        k_eq_v=bool(config.get("attention_k_eq_v", default=False)),
    )


def _linear(config: _Config, layers: int) -> LinearAttention | None:
    if config.get("linear_num_value_heads") is None:
        return None
    types = config.get("layer_types")
    if isinstance(types, list):
        full = sum(kind == "full_attention" for kind in types)
    else:
        full = layers // config.number("full_attention_interval", default=4)
    return LinearAttention(
        k_heads=config.number("linear_num_key_heads"),
        v_heads=config.number("linear_num_value_heads"),
        k_dim=config.number("linear_key_head_dim"),
        v_dim=config.number("linear_value_head_dim"),
        conv=config.number("linear_conv_kernel_dim", default=4),
        full_attention_layers=full,
    )


def _moe(family: str, config: _Config, layers: int) -> MoE | None:
    experts = config.get("n_routed_experts", "num_local_experts", "num_experts")
    if not isinstance(experts, int) or experts <= 1:
        return None
    width = config.number("moe_intermediate_size", "intermediate_size")
    shared_each = config.get("moe_shared_expert_intermediate_size", default=width)
    shared = config.get("shared_expert_intermediate_size")
    if not isinstance(shared, int):
        shared = shared_each * (config.get("n_shared_experts") or 0)
    return MoE(
        experts=experts,
        top_k=config.number("num_experts_per_tok", "top_k_experts"),
        intermediate=width,
        shared_intermediate=shared,
        dense_layers=_dense_layers(family, config, layers),
        router_bias=family in _ROUTER_WITH_BIAS
        or family in ("gpt_oss", "minimax_m2", "nemotron_h"),
        shared_expert_gate=family.startswith(("qwen2_moe", "qwen3_next", "qwen3_5")),
        expert_bias=family == "gpt_oss",
        matrices_per_expert=2 if family == "nemotron_h" else 3,
        latent=config.get("moe_latent_size"),
    )


def _dense_layers(family: str, config: _Config, layers: int) -> int:
    if family.startswith(("glm", "deepseek")):
        types = config.get("mlp_layer_types")
        if isinstance(types, list):
            return sum(kind == "dense" for kind in types)
        return min(layers, config.number("first_k_dense_replace", default=0))
    only = config.get("mlp_only_layers")
    return len(only) if isinstance(only, list) else 0


def _mla(config: _Config, layers: int) -> Mla | None:
    if not isinstance(config.get("kv_lora_rank"), int):
        return None
    indexer = None
    if config.get("index_n_heads") is not None:
        own = config.get("indexer_types")
        computed = layers
        if isinstance(own, list):
            computed = sum(kind == "full" for kind in own)
        indexer = Indexer(
            heads=config.number("index_n_heads"),
            head_dim=config.number("index_head_dim"),
            topk=config.number("index_topk"),
            layers=computed,
        )
    return Mla(
        q_lora_rank=config.get("q_lora_rank"),
        kv_lora_rank=config.number("kv_lora_rank"),
        qk_nope_head_dim=config.number("qk_nope_head_dim"),
        qk_rope_head_dim=config.number("qk_rope_head_dim"),
        v_head_dim=config.number("v_head_dim"),
        indexer=indexer,
    )


_HYBRID_LETTERS = {"mamba": "M", "attention": "*", "moe": "E", "mlp": "-"}


def _hybrid(family: str, config: _Config) -> Hybrid | None:
    if family != "nemotron_h":
        return None
    pattern = config.get("hybrid_override_pattern")
    if not isinstance(pattern, str):
        kinds = config.get("layers_block_type")
        if not isinstance(kinds, list):
            raise _MissingError("hybrid_override_pattern")
        pattern = "".join(_HYBRID_LETTERS.get(str(kind), "?") for kind in kinds)
    if set(pattern) - set("M*E-"):
        raise _MissingError("hybrid_override_pattern")
    return Hybrid(
        pattern=pattern,
        mamba_heads=config.number("mamba_num_heads"),
        mamba_head_dim=config.number("mamba_head_dim"),
        n_groups=config.number("n_groups"),
        state=config.number("ssm_state_size"),
        conv=config.number("conv_kernel", default=4),
    )
