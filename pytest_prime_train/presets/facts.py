"""The presets that come with the package: for each card what to train, on how many, and how.

``tools/build_presets.py`` makes them with the estimator; a test checks every one against the
estimator and the schema again.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple


class Preset(NamedTuple):
    """Settings for one card, count and program.

    Attributes:
        name: Such as ``8xh100-sxm-rl``.
        gpu: The card.
        gpus: Cards of the machine.
        root: ``rl`` or ``sft``.
        model: The largest of the common models that fits with room to spare.
        train_gpus: Cards of the trainer.
        infer_gpus: Cards of vLLM; 0 in ``sft``.
        seq_len: Tokens of a sequence.
        lora_rank: Rank of the adapter; None where all weights are trained.
        settings: Further settings by dotted key.
        evidence: The measurement that it rests on, or ``estimated``.
    """

    name: str
    gpu: str
    gpus: int
    root: str
    model: str
    train_gpus: int
    infer_gpus: int
    seq_len: int
    lora_rank: int | None
    settings: dict[str, Any]
    evidence: str


class Excluded(NamedTuple):
    """A card that no preset can be made for."""

    gpu: str
    reason: str


@cache
def _document() -> dict[str, Any]:
    text = (files("pytest_prime_train.presets") / "data" / "presets.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


@cache
def all_presets() -> dict[str, Preset]:
    """Every preset by its name."""
    return {row["name"]: Preset(**row) for row in _document()["presets"]}


@cache
def excluded() -> dict[str, Excluded]:
    """Cards that prime-rl cannot train on, by their ids."""
    return {name: Excluded(name, reason) for name, reason in _document()["excluded"].items()}


def presets_of(gpu: str, root: str | None = None) -> list[Preset]:
    """The presets of a card, the smallest machine first."""
    found = [one for one in all_presets().values() if one.gpu == gpu]
    return sorted(
        (one for one in found if root is None or one.root == root), key=lambda one: one.gpus
    )


def nearest(gpu: str, root: str, gpus: int | None = None) -> Preset | None:
    """The preset of a card for the largest machine of at most so many cards.

    Args:
        gpu: The card.
        root: ``rl`` or ``sft``.
        gpus: Cards that there are; None for any number.

    Returns:
        None where there is none for so few.
    """
    fitting = [
        one
        for one in presets_of(gpu, root)
        if one.name.endswith(f"-{root}") and (gpus is None or one.gpus <= gpus)
    ]
    return fitting[-1] if fitting else None
