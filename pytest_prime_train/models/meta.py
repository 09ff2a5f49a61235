"""Exact counts from a meta-device load: every parameter's shape, no memory, no weights.

Needs ``accelerate``, ``transformers`` and torch (extra ``meta``), imported when called. It answers
for architectures without a formula, and checks the formulas of the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_prime_train.models.facts import ModelFacts, Unknown

_EXPERT = re.compile(r"\.experts\.(?!.*(?:router|gate\.weight))")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class MetaCount:
    """What a meta-device load counted.

    Attributes:
        total: All parameters, shared ones once.
        experts: Parameters of routed experts.
        largest_layer: Parameters of the largest layer.
        layers: Number of layers.
        dtypes: Parameters by dtype name.
    """

    total: int
    experts: int
    largest_layer: int
    layers: int
    dtypes: dict[str, int]


def count(model: str | Path | dict[str, Any]) -> MetaCount | Unknown:
    """Count the parameters of a model by building it on the meta device.

    Args:
        model: A directory with a config.json, a name that transformers finds in its local cache,
            or the contents of a config.json.

    Returns:
        The counts, or why there are none: a missing package, or a model that transformers cannot
        build without code from its repository, which is never run.
    """
    try:
        accelerate = import_module("accelerate")
        transformers = import_module("transformers")
    except ImportError as error:
        return Unknown(
            f"{error.name} is not installed; pytest-prime-train[meta] counts unknown architectures"
        )
    try:
        if isinstance(model, dict):
            values = dict(model)
            config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
        else:
            config = transformers.AutoConfig.from_pretrained(
                str(model), trust_remote_code=False, local_files_only=True
            )
        config = getattr(config, "text_config", None) or config
        with accelerate.init_empty_weights(include_buffers=False):
            built = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        built.tie_weights()
    except Exception as error:  # transformers raises whatever a model's own code raises
        text = str(error).strip() or type(error).__name__
        return Unknown(f"transformers cannot build {_called(model)} ({text.splitlines()[0]})")
    return _tally(built)


def _called(model: str | Path | dict[str, Any]) -> str:
    return str(model.get("model_type")) if isinstance(model, dict) else str(model)


def _tally(built: Any) -> MetaCount:
    total = experts = 0
    layers: dict[int, int] = {}
    dtypes: dict[str, int] = {}
    for name, parameter in built.named_parameters():
        elements = parameter.numel()
        total += elements
        kind = str(parameter.dtype).removeprefix("torch.")
        dtypes[kind] = dtypes.get(kind, 0) + elements
        if _EXPERT.search(name):
            experts += elements
        layer = _LAYER.search(name)
        if layer is not None:
            layers[int(layer[1])] = layers.get(int(layer[1]), 0) + elements
    return MetaCount(
        total=total,
        experts=experts,
        largest_layer=max(layers.values(), default=0),
        layers=len(layers),
        dtypes=dtypes,
    )


def facts_of_unknown_family(name: str, values: dict[str, Any]) -> ModelFacts | Unknown:
    """Facts for a family without a formula: exact count, general shape of a transformer.

    Args:
        name: What to call the model.
        values: Its config.json.
    """
    counted = count(values)
    if isinstance(counted, Unknown):
        return counted
    inner = values.get("text_config")
    text = {**values, **inner} if isinstance(inner, dict) else values

    def number(*keys: str, default: int = 0) -> int:
        for key in keys:
            if isinstance(text.get(key), int):
                return int(text[key])
        return default

    hidden = number("hidden_size", "n_embd", "d_model")
    heads = number("num_attention_heads", "n_head", default=1)
    vocab = number("vocab_size")
    if not hidden or not vocab or not counted.layers:
        return Unknown(f"the config.json of {name} tells neither width nor vocabulary")
    return ModelFacts(
        name=name,
        family=str(text.get("model_type", "")),
        hidden=hidden,
        layers=counted.layers,
        heads=heads,
        kv_heads=number("num_key_value_heads", default=heads),
        head_dim=number("head_dim", default=hidden // heads),
        intermediate=number("intermediate_size", "n_inner", default=4 * hidden),
        vocab=vocab,
        tied=bool(text.get("tie_word_embeddings", True)),
        max_positions=number("max_position_embeddings", "n_positions"),
        vision="vision_config" in values,
        counted_params=counted.total,
        source="meta-device load",
    )
