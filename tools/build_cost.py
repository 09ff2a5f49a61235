"""Make the bundled facts about prices, names of cards and presets from the collected ones.

Run from the checkout as ``python tools/build_cost.py [--shared DIR] [--check]``; it reads
``DIR/cost`` and writes ``pytest_prime_train/cost/data``. Each file says where it comes from and of
which day it is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "pytest_prime_train" / "cost" / "data"
# Prices whose meaning their source does not state are no basis for a bill.
_MODES = ("on-demand", "spot")
_ROW = ("provider", "upstream", "gpu", "mode", "usd_per_gpu_hour", "gpus", "observed_at")


def build_aliases(shared: Path) -> str:
    """Names of cards at the providers, and the memory that tells cards of one name apart."""
    facts = json.loads((shared / "hardware.json").read_text(encoding="utf-8"))
    prime: dict[str, list[str]] = defaultdict(list)
    vast: dict[str, list[str]] = defaultdict(list)
    catalogues: dict[str, dict[str, list[str]]] = {"skypilot": {}, "gpuhunt": {}}
    memory: dict[str, list[float]] = {}
    for gpu in facts["gpus"]:
        memory[gpu["id"]] = [gpu["nvidia_smi_mib"], gpu["nominal_vram_gb"]]
        for alias in gpu["aliases"]["prime"]:
            prime[f"{alias['gpuType']}|{alias['socket']}"].append(gpu["id"])
        for name in gpu["aliases"]["vast"]:
            vast[name.lower()].append(gpu["id"])
        for catalogue, names in catalogues.items():
            for name in gpu["aliases"][catalogue]:
                names.setdefault(name.lower(), []).append(gpu["id"])
    document: dict[str, Any] = {
        "about": {
            "as_of": facts["as_of"],
            "origin": facts["sources"]["aliases"],
            "memory": "[MiB that drivers list, GB that vendors name]",
        },
        "memory": memory,
        "prime": prime,
        "vast": vast,
        "catalogues": catalogues,
    }
    return json.dumps(document, indent=1) + "\n"


def build_snapshot(shared: Path) -> str:
    """Dated prices that work offline."""
    facts = json.loads((shared / "prices_snapshot.json").read_text(encoding="utf-8"))
    used = {row["source"] for row in facts["prices"]}
    document = {
        "about": {
            "as_of": facts["snapshot_made"],
            "unit": facts["unit"],
            "origin": [
                {key: source[key] for key in ("id", "kind", "collected_at")}
                for source in facts["sources"]
                if source["id"] in used
            ],
        },
        "columns": list(_ROW),
        "rows": [
            [row.get(name) for name in _ROW]
            for row in facts["prices"]
            if row["mode"] in _MODES and row["observed_at"]
        ],
    }
    return json.dumps(document, separators=(",", ":")).replace("],[", "],\n[") + "\n"


def build_presets(shared: Path) -> str:
    """Shapes of machines with their reference prices, and profiles of risk."""
    facts = json.loads((shared / "presets.json").read_text(encoding="utf-8"))
    document = {
        "about": {"as_of": facts["as_of"], "note": facts["note"]},
        "shapes": facts["shapes"],
        "risk_profiles": facts["risk_profiles"],
    }
    return json.dumps(document, indent=1) + "\n"


def main() -> int:
    """Write the bundled files, or with ``--check`` say whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("PRIME_SHARED", str(ROOT.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=Path(default))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    shared = options.shared / "cost"
    texts = {
        DATA / "aliases.json": build_aliases(shared),
        DATA / "snapshot.json": build_snapshot(shared),
        DATA / "presets.json": build_presets(shared),
    }
    if options.check:
        return 1 if any(path.read_text("utf-8") != text for path, text in texts.items()) else 0
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
