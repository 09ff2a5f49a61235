"""Make the bundled presets: for each card the largest common model that the estimator lets fit.

Run from the checkout as ``python tools/build_presets.py [--shared DIR] [--check]``; it reads the
shapes of machines in ``DIR/cost/presets.json`` and the published measurements in
``DIR/prime-rl/benchmarks_visible.json``, and writes ``pytest_prime_train/presets/data``.

A preset whose trainer was measured on the same card, with the same model and at least as long
sequences, on no more cards, names the measurement; the largest model that fits by the estimate says
that it is estimated. Where both are, the measured one is the usual one if it is at least half as
large, and the other is called ``-largest``; else it is called ``-measured``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_prime_train.memory.gpus import Gpu, all_gpus
from pytest_prime_train.models import bundled
from pytest_prime_train.models.params import total_params
from pytest_prime_train.presets.choose import (
    LORA_RANK,
    SEQUENCES,
    SHORT_SEQUENCES,
    Choice,
    best_split,
    settings_for,
)
from pytest_prime_train.presets.text import Wishes

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "pytest_prime_train" / "presets" / "data" / "presets.json"
MODELS = (
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-14B",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-4B-Instruct-2507",
    "Qwen/Qwen3-1.7B",
    "Qwen/Qwen3-0.6B",
)
MEASURED_CARDS = {
    "A6000": "A6000-48GB",
    "B200-180GB": "B200-180GB-SXM",
    "H200-141GB": "H200-141GB-SXM",
}
"""Names of cards in the measurements, where they are not ours."""


def largest(root: str, card: Gpu, gpus: int) -> Choice | None:
    """The largest model that fits, all of its weights trained where that is possible."""
    for rank, lengths in ((0, SEQUENCES), (0, SHORT_SEQUENCES), (LORA_RANK, ())):
        for model in MODELS:
            wishes = Wishes(root, model, "task", 1, lora_rank=rank or None)
            tries = lengths or (*SEQUENCES, *SHORT_SEQUENCES)
            choice = settings_for(wishes, card, gpus, lengths=tries)
            if choice is not None and (rank or choice.wishes.lora_rank is None):
                return choice
    return None


def measured(
    root: str, card: Gpu, gpus: int, points: list[dict[str, Any]]
) -> tuple[Choice, str] | None:
    """The largest model whose trainer was measured on the card, on no more cards than it gets."""
    found = []
    for point in points:
        if point["kind"] != root or not point["success"]:
            continue
        if MEASURED_CARDS.get(point["gpu"], point["gpu"]) != card.id:
            continue
        facts = bundled.lookup(point["model"])
        if facts is None or point["peak_memory_gib"] is None:
            continue
        length = max((one for one in SEQUENCES if one <= point["seq_len"]), default=0)
        wishes = Wishes(
            root, point["model"], "task", 1, seq_len=length, lora_rank=point["lora_rank"]
        )
        choice = best_split(wishes, card, gpus) if length else None
        if choice is None or choice.wishes.train_gpus < point["num_gpus"]:
            continue
        rank = point["lora_rank"]
        said = (
            f"measured: prime-rl's benchmark of {point['measured']} trained "
            f"{point['model']} ({root}, {f'LoRA of rank {rank}' if rank else 'all weights'}, "
            f"{point['seq_len']:,} tokens) on {point['num_gpus']} of these cards at a peak of "
            f"{point['peak_memory_gib']:.1f} GiB"
        )
        said += "; the split between training and inference is estimated" if root == "rl" else ""
        order = (total_params(facts), rank is None, point["num_gpus"], point["measured"])
        found.append((order, choice, said))
    if not found:
        return None
    _, choice, said = max(found, key=lambda one: one[0])
    return choice, said


def row(name: str, card: Gpu, gpus: int, choice: Choice, evidence: str) -> dict[str, Any]:
    """A preset as it is bundled."""
    wishes = choice.wishes
    return {
        "name": name,
        "gpu": card.id,
        "gpus": gpus,
        "root": wishes.root,
        "model": wishes.model,
        "train_gpus": wishes.train_gpus,
        "infer_gpus": wishes.infer_gpus,
        "seq_len": wishes.seq_len,
        "lora_rank": wishes.lora_rank,
        "settings": dict(wishes.settings),
        "evidence": evidence,
    }


def _is_near(measured: Choice, largest: Choice) -> bool:
    """Whether what was measured is at least half as large as what can be hoped for."""
    sizes = []
    for choice in (measured, largest):
        facts = bundled.lookup(choice.wishes.model)
        sizes.append(total_params(facts) if facts is not None else 0)
    return 2 * sizes[0] >= sizes[1]


def machines(shared: Path) -> Iterator[tuple[str, Gpu, int]]:
    """Machines to make presets for: the collected shapes, and usual ones of the other cards."""
    shapes = json.loads((shared / "cost" / "presets.json").read_text(encoding="utf-8"))["shapes"]
    known: dict[str, dict[int, str]] = {}
    for shape in shapes:
        if shape["nodes"] == 1:
            known.setdefault(shape["gpu"], {})[shape["gpus_per_node"]] = shape["name"]
    for card in all_gpus().values():
        named = known.get(card.id, {})
        counts = {*named, max(card.gpus_per_node), min(card.gpus_per_node)}
        counts |= {count for count in (2, 4) if count in card.gpus_per_node}
        for count in sorted(counts):
            yield named.get(count, f"{count}x{card.id.lower()}"), card, count


def rows_of(shared: Path, cards: list[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The presets of cards, and why others have none; no cards stand for all."""
    points = json.loads(
        (shared / "prime-rl" / "benchmarks_visible.json").read_text(encoding="utf-8")
    )["points"]
    presets, excluded = [], {}
    for name, card, gpus in machines(shared):
        if cards and card.id not in cards:
            continue
        if not card.cuda or not card.bf16:
            lacks = "CUDA, which prime-rl and its kernels need" if not card.cuda else "bf16"
            excluded[card.id] = f"{card.id} has no {lacks}"
            continue
        for root in ("rl", "sft"):
            if root == "rl" and gpus < 2:
                continue  # the trainer and vLLM need a card each
            full = largest(root, card, gpus)
            known = measured(root, card, gpus, points)
            preferred = known is not None and full is not None and _is_near(known[0], full)
            if known is not None:
                suffix = "" if preferred else "-measured"
                presets.append(row(f"{name}-{root}{suffix}", card, gpus, *known))
            if full is not None:
                suffix = "-largest" if preferred else ""
                presets.append(row(f"{name}-{root}{suffix}", card, gpus, full, "estimated"))
    return presets, excluded


def build(shared: Path) -> str:
    """The bundled document."""
    presets, excluded = rows_of(shared, [])
    head = {
        "as_of": "2026-11-25",
        "origin": "the estimator of this package; evidence from the benchmarks in prime-rl's "
        "repository (Apache-2.0)",
    }
    rows = ",\n".join(f"  {json.dumps(one)}" for one in presets)
    return (
        f'{{\n "about": {json.dumps(head)},\n "excluded": {json.dumps(excluded, indent=2)},\n'
        f' "presets": [\n{rows}\n ]\n}}\n'
    )


def main() -> int:
    """Write the bundled file, or with ``--check`` say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("PRIME_SHARED", str(ROOT.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=Path(default))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--card", action="append", help="with --check: only this card's presets")
    options = parser.parse_args()
    if options.check and options.card:
        kept = json.loads(DATA.read_text("utf-8"))
        presets, excluded = rows_of(options.shared, options.card)
        same = presets == [one for one in kept["presets"] if one["gpu"] in options.card]
        return 0 if same and excluded.items() <= kept["excluded"].items() else 1
    text = build(options.shared)
    if options.check:
        return 0 if DATA.read_text("utf-8") == text else 1
    DATA.parent.mkdir(parents=True, exist_ok=True)
    DATA.write_text(text, encoding="utf-8")
    print(f"{DATA.relative_to(ROOT)}: {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
