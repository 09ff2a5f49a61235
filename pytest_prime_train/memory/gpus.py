"""Cards: usable memory and speed, by the names that users write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card.

    Attributes:
        id: Its full name here, such as ``H100-80GB-SXM``.
        usable_gib: Total memory as torch reports it.
        bf16_tflops: Dense bf16 with float32 accumulation; None without bf16.
        bandwidth_gb_s: Memory bandwidth.
        interconnect_gb_s: To other cards of the node, both directions together.
        compute_capability: Such as ``9.0``.
        bf16: Whether it has bf16.
        cuda: Whether it runs CUDA.
        gpus_per_node: Usual numbers of cards in a node.
    """

    id: str
    usable_gib: float
    bf16_tflops: float | None
    bandwidth_gb_s: float
    interconnect_gb_s: float
    compute_capability: str
    bf16: bool = True
    cuda: bool = True
    gpus_per_node: tuple[int, ...] = (8,)

    @property
    def sm(self) -> int:
        """Compute capability as a number: 90 for Hopper, 100 for Blackwell; 0 elsewhere."""
        major, _, minor = self.compute_capability.partition(".")
        return int(major) * 10 + int(minor) if major.isdigit() and minor.isdigit() else 0


@cache
def all_gpus() -> dict[str, Gpu]:
    """Every known card by its id."""
    text = (files(__package__) / "data" / "gpus.json").read_text(encoding="utf-8")
    return {
        name: Gpu(id=name, **{**facts, "gpus_per_node": tuple(facts["gpus_per_node"])})
        for name, facts in json.loads(text)["gpus"].items()
    }


@cache
def find_gpu(name: str) -> Gpu | None:
    """A card by its id, or by the start of it; without a form factor SXM is meant.

    Returns:
        None when no card, or several other than by form factor, are called so.
    """
    gpus = all_gpus()
    by_lower = {known.lower(): gpu for known, gpu in gpus.items()}
    wanted = name.lower()
    for candidate in (wanted, f"{wanted}-sxm"):
        if candidate in by_lower:
            return by_lower[candidate]
    starting = [gpu for known, gpu in by_lower.items() if known.startswith(f"{wanted}-")]
    return starting[0] if len(starting) == 1 else None
