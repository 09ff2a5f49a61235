"""Make the bundled facts of models and of cards from the collected facts.

Run from the checkout as ``python tools/build_models.py [--shared DIR] [--check]``; it reads
``DIR/models/architectures.json`` and ``DIR/cost/hardware.json`` and writes
``pytest_prime_train/models/data/models.json`` and ``pytest_prime_train/memory/data/gpus.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pytest_prime_train"
MODELS = PACKAGE / "models" / "data" / "models.json"
GPUS = PACKAGE / "memory" / "data" / "gpus.json"

RENAMED = {
    "tie_word_embeddings": "tied",
    "max_position_embeddings": "max_positions",
}
KEPT = (
    "family",
    "hidden",
    "layers",
    "heads",
    "kv_heads",
    "head_dim",
    "intermediate",
    "vocab",
    "tie_word_embeddings",
    "max_position_embeddings",
    "attention_bias_qkv",
    "attention_bias_o",
    "qk_norm",
    "norms_per_layer",
    "gated_mlp",
    "attn_output_gate",
    "sliding_window",
    "full_attention_layers",
    "linear_attention",
    "moe",
    "mla",
    "hybrid",
    "global_attention",
    "parallel_dense",
    "full_heads",
    "head_gate",
    "sinks",
)
DEFAULTS: dict[str, Any] = {
    "attention_bias_qkv": False,
    "attention_bias_o": False,
    "qk_norm": None,
    "norms_per_layer": 2,
    "gated_mlp": True,
    "attn_output_gate": False,
    "sliding_window": None,
}
MOE_RENAMED = {"moe_intermediate": "intermediate"}
MOE_DROPPED = {"moe_every"}

# Aliases share an architecture but not always the longest context; read from their config.json.
MAX_POSITIONS_OF_ALIASES = {
    "Qwen/Qwen3-30B-A3B": 40960,
    "Qwen/Qwen3-235B-A22B": 40960,
    "MiniMaxAI/MiniMax-M2.7": 204800,
    "moonshotai/Kimi-K2.5": 262144,
}


def compact(model: dict[str, Any]) -> dict[str, Any]:
    """One model's entry in the bundled file: only what differs from the defaults."""
    entry: dict[str, Any] = {}
    for key in KEPT:
        value = model.get(key)
        if value is None or (key in DEFAULTS and value == DEFAULTS[key]):
            continue
        entry[RENAMED.get(key, key)] = value
    if "moe" in entry:
        if entry["moe"].get("moe_every", 1) != 1:
            raise SystemExit(f"{model['model']}: experts in every n-th layer are not described yet")
        entry["moe"] = {
            MOE_RENAMED.get(key, key): value
            for key, value in entry["moe"].items()
            if value is not None and key not in MOE_DROPPED
        }
    if "hybrid" in entry:
        entry["hybrid"] = {k: v for k, v in entry["hybrid"].items() if k != "legend"}
    if "linear_attention" in entry:
        entry["linear_attention"] = {
            k: v for k, v in entry["linear_attention"].items() if k != "kind"
        }
    if "text part" in model.get("published_note", ""):
        entry["vision"] = True
    entry["published_params"] = int(model["published_params"])
    entry["published_note"] = model["published_note"]
    entry["source"] = model["source"]["config_page"]
    if model.get("aliases"):
        entry["aliases"] = sorted(model["aliases"])
    own = {
        alias: MAX_POSITIONS_OF_ALIASES[alias]
        for alias in entry.get("aliases", ())
        if alias in MAX_POSITIONS_OF_ALIASES
    }
    if own:
        entry["max_positions_of_aliases"] = own
    return entry


def build_models(shared: Path, as_of: str) -> str:
    """The text of the bundled file."""
    facts = json.loads((shared / "models" / "architectures.json").read_text(encoding="utf-8"))
    entries = {model["model"]: compact(model) for model in facts["models"]}
    lines = [
        "{",
        f' "about": {json.dumps(about(facts, as_of))},',
        ' "models": {',
        ",\n".join(
            f"  {json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}"
            for name, entry in sorted(entries.items())
        ),
        " }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def about(facts: dict[str, Any], as_of: str) -> dict[str, str]:
    """Origin and meaning of the bundled facts."""
    return {
        "as_of": as_of,
        "origin": "config.json of each model on the Hugging Face hub; 'source' is its page",
        "published_params": facts["about"]["published"],
        "units": "widths and counts; text part only where the checkpoint has a vision part",
    }


GPU_FACTS = {
    "torch_total_gib": "usable_gib",
    "bf16_dense_tflops": "bf16_tflops",
    "mem_bandwidth_gb_s": "bandwidth_gb_s",
    "interconnect_gb_s": "interconnect_gb_s",
    "compute_capability": "compute_capability",
    "bf16": "bf16",
    "cuda": "cuda",
    "usual_gpus_per_node": "gpus_per_node",
}


def build_gpus(shared: Path) -> str:
    """The text of the bundled file of cards."""
    facts = json.loads((shared / "cost" / "hardware.json").read_text(encoding="utf-8"))
    note = {
        "as_of": facts["as_of"],
        "origin": "vendors' datasheets and driver listings; dense bf16 with float32 accumulation",
        "usable_gib": facts["torch_note"],
    }
    cards = [
        f"  {json.dumps(gpu['id'])}: "
        + json.dumps({new: gpu[old] for old, new in GPU_FACTS.items()}, separators=(",", ":"))
        for gpu in facts["gpus"]
    ]
    return (
        "\n".join(
            ["{", f' "about": {json.dumps(note)},', ' "gpus": {', ",\n".join(cards), " }", "}"]
        )
        + "\n"
    )


def main() -> int:
    """Write the bundled files, or with ``--check`` say whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("PRIME_SHARED", str(ROOT.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=Path(default))
    parser.add_argument("--as-of", default="2026-11-24", help="date of the collected facts")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    texts = {
        MODELS: build_models(options.shared, options.as_of),
        GPUS: build_gpus(options.shared),
    }
    if options.check:
        stale = [path for path, text in texts.items() if path.read_text("utf-8") != text]
        return 1 if stale else 0
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
