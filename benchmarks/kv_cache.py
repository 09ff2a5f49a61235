"""Compare the KV cache estimates with public start-up logs of vLLM.

``python benchmarks/kv_cache.py --points FILE [--format json]``, with FILE in the format of
``kv_points_visible.json``. Tokens are worked out from the memory that the log says is available;
the available memory itself from the configuration where the card and its share are known.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_prime_train.memory.gpus import find_gpu  # noqa: E402
from pytest_prime_train.memory.inference import estimate_inference  # noqa: E402
from pytest_prime_train.memory.kv_cache import KvCache, kv_cache  # noqa: E402
from pytest_prime_train.memory.shapes import GIB, InferenceEstimate, InferenceShape  # noqa: E402
from pytest_prime_train.models.facts import ModelFacts  # noqa: E402
from pytest_prime_train.models.find import find  # noqa: E402

Point = dict[str, Any]
DTYPES = {"fp16": "bf16", "float16": "bf16", "bfloat16": "bf16", "quantised": "int4"}


def shape_of(point: Point, facts: ModelFacts) -> InferenceShape:
    """The configuration fields of a point, and nothing else of it."""
    weights = str(point.get("weights_dtype") or "bf16")
    return InferenceShape(
        model=facts,
        gpu_memory_utilization=float(point.get("gpu_memory_utilization") or 0.9),
        tensor_parallel=int(point.get("tensor_parallel") or 1),
        data_parallel=int(point.get("data_parallel") or 1),
        expert_parallel=bool(point.get("expert_parallel")),
        weights_dtype=DTYPES.get(weights, weights),
        kv_cache_dtype=str(point.get("kv_cache_dtype") or "bf16"),
        max_model_len=point.get("max_model_len"),
        max_num_batched_tokens=point.get("max_num_batched_tokens"),
        max_num_seqs=point.get("max_num_seqs"),
        prefix_caching=bool(point.get("prefix_caching", True)),
    )


def total_gib(point: Point) -> float | None:
    """Memory of the card: as the point says, else by the card's name."""
    if point.get("gpu_total_gib"):
        return float(point["gpu_total_gib"])
    gpu = find_gpu(str(point.get("gpu") or ""))
    return gpu.usable_gib if gpu is not None else None


class Row:
    """One point with its estimates."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.unknown = ""
        self.cache: KvCache | None = None
        self.whole: InferenceEstimate | None = None
        named = point.get("architecture")
        facts = find(str(named if named not in (None, "", "-") else point.get("model")))
        if not isinstance(facts, ModelFacts):
            self.unknown = str(facts)
            return
        shape = shape_of(point, facts)
        available = point.get("available_kv_gib_per_gpu")
        if available is not None:
            self.cache = kv_cache(shape, float(available) * GIB)
        total = total_gib(point)
        if total is not None and point.get("gpu_memory_utilization") is not None:
            self.whole = estimate_inference(shape, total, str(point.get("gpu") or ""))
        if self.cache is None and self.whole is None:
            self.unknown = "unknown: neither available memory nor the card is given"

    def as_json(self) -> dict[str, Any]:
        """What is printed of a point."""
        cache, whole = self.cache, self.whole
        entry: dict[str, Any] = {
            "id": self.point["id"],
            "kv_tokens": cache.tokens if cache else None,
            "max_concurrency": round(cache.max_concurrency, 4) if cache else None,
            "bytes_per_token_per_gpu": cache.bytes_per_token if cache else None,
            "block_tokens": cache.block_tokens if cache else None,
            "available_kv_gib_per_gpu": None,
            "available_low_gib": None,
            "available_high_gib": None,
            "weights_gib": None,
        }
        if whole is not None:
            entry["available_kv_gib_per_gpu"] = round(whole.available_kv_bytes / GIB, 3)
            entry["available_low_gib"] = round(whole.low_available_bytes / GIB, 3)
            entry["available_high_gib"] = round(whole.high_available_bytes / GIB, 3)
            entry["weights_gib"] = round(whole.weights_bytes / GIB, 3)
        if self.unknown:
            entry["unknown"] = self.unknown
        return entry


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Errors against the logs, by kind of attention."""
    errors: dict[str, list[float]] = {}
    available: list[float] = []
    for row in rows:
        logged = row.point.get("kv_tokens_logged")
        if row.cache is not None and logged:
            kind = str(row.point["kind"])
            errors.setdefault(kind, []).append(100 * (row.cache.tokens / logged - 1))
        free = row.point.get("available_kv_gib_per_gpu")
        if row.whole is not None and free is not None and free > 5:
            available.append(100 * (row.whole.available_kv_bytes / GIB / free - 1))
    return {
        "points": len(rows),
        "tokens": {
            kind: {
                "points": len(found),
                "max_pct": round(max(map(abs, found)), 3),
                "within_1_5_pct": sum(abs(error) <= 1.5 for error in found),
            }
            for kind, found in errors.items()
        },
        "available": {
            "points": len(available),
            "errors_pct": [round(error, 1) for error in available],
            "within_10_pct": sum(abs(error) <= 10 for error in available),
        },
    }


def as_text(rows: Sequence[Row], totals: dict[str, Any]) -> str:
    """A table of all points and the summary below."""
    lines = [f"{'tokens':>9} {'logged':>9} {'available':>9} {'logged':>7}  id"]
    for row in rows:
        entry = row.as_json()
        values = (
            entry["kv_tokens"],
            row.point.get("kv_tokens_logged"),
            entry["available_kv_gib_per_gpu"],
            row.point.get("available_kv_gib_per_gpu"),
        )
        shown = [f"{'-' if value is None else value!s:>9}" for value in values]
        lines.append(f"{' '.join(shown)}  {row.point['id']} {row.point['model']} {row.unknown}")
    lines.append(json.dumps(totals, indent=1))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the estimates of all points and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=Path, required=True)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    document = json.loads(options.points.read_text(encoding="utf-8"))
    points = document["points"] if isinstance(document, dict) else document
    rows = [Row(point) for point in points]
    totals = summary(rows)
    if options.format == "json":
        print(json.dumps({"points": [row.as_json() for row in rows], "summary": totals}, indent=1))
    else:
        print(as_text(rows, totals))
    return 0


if __name__ == "__main__":
    sys.exit(main())
