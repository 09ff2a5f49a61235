"""How versions of prime-rl differ in what they allocate and how fast they are."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_prime_train.memory.shapes import Implementation

ORDER = (
    "v0.2",
    "v0.3.0",
    "v0.4.0",
    "v0.5.0",
    "v0.6.0",
    "v0.7.0",
    "v0.8.0",
    "main-2026-08-21",
)
"""Known versions, oldest first."""

_OWN_CODE_SINCE = {
    "llama": "v0.2",
    "qwen3_moe": "v0.2",
    "glm4_moe": "v0.2",
    "afmoe": "v0.3.0",
    "minimax_m2": "v0.5.0",
    "glm_moe_dsa": "v0.5.0",
    "nemotron_h": "v0.5.0",
    "qwen3_5_moe": "v0.5.0",
    "qwen3": "v0.6.0",
    "gpt_oss": "v0.6.0",
    "laguna": "v0.6.0",
    "qwen3_5": "v0.7.0",
}
"""Families with model code of prime-rl's own, and the first version that has it."""


@dataclass(frozen=True, slots=True)
class CodeTraits:
    """What a version's code does.

    Attributes:
        later_code: Whether its working set is the larger one of February 2026 and after.
        transformers_5: Whether transformers' model code is that of transformers 5.
        head_gradient_always: Whether the fused head makes its weight's gradient even when frozen.
        measured: Whether enough runs of this version were measured to fit constants.
    """

    later_code: bool
    transformers_5: bool
    head_gradient_always: bool
    measured: bool


def rank(version: str) -> int:
    """Place of a version among the known ones; an unknown one counts as the newest."""
    return ORDER.index(version) if version in ORDER else len(ORDER) - 1


def at_least(version: str, first: str) -> bool:
    """Whether a version is ``first`` or newer."""
    return rank(version) >= rank(first)


def traits(version: str) -> CodeTraits:
    """What a version's code does."""
    return CodeTraits(
        later_code=at_least(version, "v0.4.0"),
        transformers_5=at_least(version, "v0.5.0"),
        head_gradient_always=not at_least(version, "v0.8.0"),
        measured=version in ("v0.3.0", "v0.4.0"),
    )


def implementation(family: str, version: str, asked: str = "auto") -> Implementation:
    """Which model code runs: ``model.impl`` as asked, or what ``auto`` picks."""
    if asked == "hf":
        return "hf"
    if asked == "custom":
        return "custom"
    since = _OWN_CODE_SINCE.get(family)
    return "custom" if since is not None and at_least(version, since) else "hf"


def has_own_code(family: str, version: str) -> bool:
    """Whether prime-rl has model code of its own for a family."""
    return implementation(family, version) == "custom"
