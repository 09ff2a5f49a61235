"""Facts from the Hugging Face hub: config.json and safetensors headers, never weights.

Needs ``huggingface-hub`` (extra ``hub``). Offline unless asked: then only what the local cache of
the hub already holds is read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from pytest_prime_train.models.facts import ModelFacts, Unknown
from pytest_prime_train.models.local import from_config

_HOW = "install pytest-prime-train[hub] to read it from the Hugging Face hub"


def fetch(name: str, *, online: bool = False, revision: str | None = None) -> ModelFacts | Unknown:
    """Facts of a model on the hub.

    Args:
        name: ``owner/name`` on the hub.
        online: Whether the network may be used; without, only the hub's local cache is read.
        revision: Branch, tag or commit; the default branch without.

    Returns:
        The facts, with the number of elements in the safetensors headers as published count where
        the network was allowed; or why they cannot be told.
    """
    try:
        hub = import_module("huggingface_hub")
    except ImportError:
        return Unknown(f"{name} is not bundled; {_HOW}")
    try:
        path = hub.hf_hub_download(
            name, "config.json", revision=revision, local_files_only=not online
        )
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except Exception as error:  # the hub client's own errors share no base class across versions
        if not online:
            return Unknown(f"{name} is not bundled nor in the hub's local cache; allow the hub")
        return Unknown(f"the hub does not give the config.json of {name} ({_first_line(error)})")
    if not isinstance(values, dict):
        return Unknown(f"the config.json of {name} does not hold a JSON object")
    page = f"https://huggingface.co/{name}/blob/{revision or 'main'}/config.json"
    facts = from_config(name, values, source=page)
    if isinstance(facts, ModelFacts) and online:
        published = _published_params(name, revision)
        if published is not None:
            return replace(facts, published_params=published)
    return facts


def _published_params(name: str, revision: str | None) -> int | None:
    """Elements of all tensors by the safetensors headers; None where the hub does not tell."""
    try:
        hub = import_module("huggingface_hub")
        metadata = hub.get_safetensors_metadata(name, revision=revision)
    except Exception:  # a count to compare with is welcome, never needed
        return None
    return int(sum(metadata.parameter_count.values()))


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
