"""The facts that ship with the package: the models that prime-rl's users train."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from pytest_prime_train.models.facts import (
    GlobalAttention,
    Hybrid,
    Indexer,
    LinearAttention,
    Mla,
    ModelFacts,
    MoE,
)

_NOT_FACTS = ("aliases", "published_note", "max_positions_of_aliases")


@cache
def _document() -> dict[str, Any]:
    text = (files(__package__) / "data" / "models.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


@cache
def _index() -> dict[str, str]:
    """Lower-case name or alias to the name the facts are kept under."""
    index: dict[str, str] = {}
    for name, entry in _document()["models"].items():
        for alias in (name, *entry.get("aliases", ())):
            index.setdefault(alias.lower(), name)
    return index


def origin() -> dict[str, str]:
    """Where the bundled facts come from and of which date they are."""
    about: dict[str, str] = _document()["about"]
    return about


def names() -> tuple[str, ...]:
    """Hub names of all bundled models, without aliases."""
    return tuple(_document()["models"])


def aliases() -> dict[str, str]:
    """Every known name, in lower case, with the name of the model whose facts it has."""
    return dict(_index())


@cache
def lookup(name: str) -> ModelFacts | None:
    """The facts of a model by its hub name or an alias; None when it is not bundled."""
    key = _index().get(name.lower())
    if key is None:
        return None
    entry = _document()["models"][key]
    facts = from_entry(key, entry)
    for alias, max_positions in entry.get("max_positions_of_aliases", {}).items():
        if alias.lower() == name.lower():
            return replace(facts, name=alias, max_positions=max_positions)
    return facts


def from_entry(name: str, entry: dict[str, Any]) -> ModelFacts:
    """Build facts from their compact description.

    Raises:
        TypeError: The description has a name that no fact has.
    """
    values = {key: value for key, value in entry.items() if key not in _NOT_FACTS}
    if "moe" in values:
        values["moe"] = MoE(**values["moe"])
    if "mla" in values:
        mla = dict(values["mla"])
        if mla.get("indexer") is not None:
            mla["indexer"] = Indexer(**mla["indexer"])
        values["mla"] = Mla(**mla)
    if "linear_attention" in values:
        values["linear_attention"] = LinearAttention(**values["linear_attention"])
    if "hybrid" in values:
        values["hybrid"] = Hybrid(**values["hybrid"])
    if "global_attention" in values:
        values["global_attention"] = GlobalAttention(**values["global_attention"])
    return ModelFacts(name=name, **values)
