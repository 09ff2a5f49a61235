"""The facts of a model by whatever name a config gives it."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_prime_train.models import bundled
from pytest_prime_train.models.facts import ModelFacts, Unknown

_QUANTISED_SUFFIXES = ("-fp8", "-fp8-dynamic", "-nvfp4", "-awq", "-gptq-int4", "-bf16")


def find(
    name: str, *, base: Path | None = None, online: bool = False, meta: bool = False
) -> ModelFacts | Unknown:
    """Look a model up: bundled, local directory, hub, and on request an exact meta-device load.

    Args:
        name: Hub name or path, as in ``model.name``.
        base: Directory that relative paths start from; the current one without.
        online: Whether the Hugging Face hub may be asked; without, only its local cache.
        meta: Whether an architecture without a formula may be built on the meta device.

    Returns:
        The facts, or why they are unknown. A quantised copy (``-FP8`` and the like) of a bundled
        model has that model's facts.
    """
    facts = bundled.lookup(name) or bundled.lookup(_unquantised(name))
    if facts is not None:
        return facts
    directory = (base or Path()) / name
    if directory.is_dir():
        return _local(name, directory, meta)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        return Unknown(f"model {name!r} is neither a known model nor a directory here")
    from pytest_prime_train.models import hub

    return hub.fetch(name, online=online)


def _unquantised(name: str) -> str:
    lowered = name.lower()
    for suffix in _QUANTISED_SUFFIXES:
        if lowered.endswith(suffix):
            return name[: -len(suffix)]
    return name


def _local(name: str, directory: Path, meta: bool) -> ModelFacts | Unknown:
    from pytest_prime_train.models import local

    facts = local.from_directory(directory)
    if isinstance(facts, ModelFacts) or not meta:
        return facts
    try:
        values = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return facts
    if not isinstance(values, dict):
        return facts
    from pytest_prime_train.models import meta as meta_load

    return meta_load.facts_of_unknown_family(name, values)
