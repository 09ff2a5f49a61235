"""Compare the trainer estimates with measured runs.

``python benchmarks/memory.py --points FILE [--format json] [--leave-one-out]``, with FILE in the
format of ``benchmarks_visible.json``. The estimates see nothing of a run but its configuration;
the measured figures are only used for the summary.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_prime_train.memory.constants import (  # noqa: E402
    CONTEXT_AND_NCCL_BYTES,
    CONTEXT_BYTES,
    FITTED,
    Fitted,
)
from pytest_prime_train.memory.gpus import find_gpu  # noqa: E402
from pytest_prime_train.memory.shapes import (  # noqa: E402
    GIB,
    LmHead,
    MemoryEstimate,
    Throughput,
    TrainerShape,
)
from pytest_prime_train.memory.throughput import estimate_speed  # noqa: E402
from pytest_prime_train.memory.trainer import estimate  # noqa: E402
from pytest_prime_train.memory.verdict import trainer_verdict  # noqa: E402
from pytest_prime_train.memory.versions import implementation  # noqa: E402
from pytest_prime_train.models.facts import ModelFacts  # noqa: E402
from pytest_prime_train.models.find import find  # noqa: E402
from pytest_prime_train.models.params import largest_layer, total_params  # noqa: E402

VERSION_OF_ERA = {
    "A": "v0.3.0",
    "B": "v0.4.0",
    "C0": "v0.5.0",
    "C": "v0.5.0",
    "D": "v0.5.0",
    "E": "v0.6.0",
}
"""Version of prime-rl whose code made the runs of an era."""

VERSION_SINCE = (
    ("2026-08-07", "main-2026-08-21"),
    ("2026-07-14", "v0.8.0"),
    ("2026-06-23", "v0.7.0"),
    ("2026-06-01", "v0.6.0"),
    ("2026-02-10", "v0.5.0"),
    ("2026-01-30", "v0.4.0"),
)
"""The same by the date of the code, for eras that have no name here."""

FITTED_VERSIONS = ("v0.3.0", "v0.4.0")
CARD_SIZES_GIB = (23.6, 31.4, 47.4, 79.1, 94.96, 139.72, 178.35)
Point = dict[str, Any]


def version_of(point: Point) -> str:
    """The version of prime-rl that a point was measured with."""
    known = VERSION_OF_ERA.get(str(point.get("era")))
    if known is not None:
        return known
    date = str(point.get("measured") or point.get("commit_date") or "")
    for since, version in VERSION_SINCE:
        if date >= since:
            return version
    return "v0.3.0"


def lm_head_of(point: Point) -> LmHead:
    """How a point's logits are made."""
    if point["kind"] == "sft" and "plain" in str(point.get("lm_head")):
        return "plain"
    if point.get("lm_head_token_chunk"):
        return "token chunks"
    return "vocabulary chunks" if point.get("lm_head_vocab_chunk") else "plain"


def shape_of(point: Point, facts: ModelFacts) -> TrainerShape:
    """The configuration fields of a point, and nothing else of it."""
    version = version_of(point)
    num_gpus = int(point["num_gpus"])
    seq_len = int(point["seq_len"])
    cp = int(point.get("cp") or 1)
    micro = int(point.get("micro_batch_tokens") or seq_len // cp)
    return TrainerShape(
        model=facts,
        kind=point["kind"],
        num_gpus=num_gpus,
        seq_len=seq_len,
        micro_batch_size=max(1, round(micro * cp / seq_len)),
        micro_batches_per_step=int(point.get("micro_batches_per_gpu_per_step") or 1),
        dp_replicate=int(point.get("dp_replicate") or 1),
        cp=cp,
        ep=int(point.get("ep") or 1),
        tp=int(point.get("tp") or 1),
        lora_rank=point.get("lora_rank"),
        lora_slots=int(point.get("lora_adapter_slots") or 1),
        ac=point.get("ac") or "none",
        ac_offloading=bool(point.get("ac_offloading")),
        optim_cpu_offload=bool(point.get("optim_cpu_offload")),
        fsdp_cpu_offload=bool(point.get("fsdp_cpu_offload")),
        full_offload=bool(point.get("full_offload")),
        optimizer=point.get("optimizer") or "adamw",
        optimization_dtype=point.get("optimization_dtype") or "float32",
        reduce_dtype=point.get("reduce_dtype") or "float32",
        compiled=bool(point.get("compile", True)),
        quantization="fp8" if point.get("fp8") else None,
        reshard_after_forward=bool(point.get("reshard_after_forward", True)),
        lm_head=lm_head_of(point),
        token_chunk=int(point.get("lm_head_token_chunk") or 8192),
        vocab_chunk=int(point.get("lm_head_vocab_chunk") or 8192),
        attention=point.get("attention") or "flash_attention_2",
        implementation=implementation(facts.family, version, point.get("impl") or "auto"),
        version=version,
    )


# --- rules of thumb to compare with ---------------------------------------------------------


def rule_16_bytes(shape: TrainerShape) -> float:
    """16 bytes per parameter, sharded."""
    return 16 * total_params(shape.model) / shape.shards


def rule_sketch(shape: TrainerShape) -> float:
    """Parameters x 2 x 1.5."""
    return 3 * total_params(shape.model)


def rule_accelerate(shape: TrainerShape) -> float:
    """accelerate estimate-memory: float32 parameters x 4 for Adam."""
    return 16.0 * total_params(shape.model)


def rule_zero3(shape: TrainerShape) -> float:
    """DeepSpeed's ZeRO-3 estimator: 18 bytes per parameter, sharded, and the largest layer."""
    largest = 4 * largest_layer(shape.model).params
    return 18 * total_params(shape.model) / shape.shards + largest


def rule_llm_analysis(shape: TrainerShape) -> float:
    """llm-analysis' terms: ZeRO-3 states, full recomputation, one layer, logits in float32."""
    facts = shape.model
    states = 18 * total_params(facts) / shape.shards
    boundaries = 2 * shape.tokens * facts.hidden * facts.layers
    layer = 34 * shape.tokens * facts.hidden
    return states + boundaries + layer + 4 * shape.tokens * facts.vocab


RULES: dict[str, Callable[[TrainerShape], float]] = {
    "16 bytes per parameter / n": rule_16_bytes,
    "parameters x 2 x 1.5": rule_sketch,
    "accelerate": rule_accelerate,
    "DeepSpeed ZeRO-3 estimator": rule_zero3,
    "llm-analysis (rule re-done)": rule_llm_analysis,
}


# --- errors ---------------------------------------------------------------------------------


def errors_summary(errors: Sequence[float]) -> dict[str, float | int | None]:
    """Mean and largest absolute relative error in percent."""
    if not errors:
        return {"points": 0, "mape_pct": None, "max_pct": None, "bias_pct": None}
    return {
        "points": len(errors),
        "mape_pct": round(100 * sum(map(abs, errors)) / len(errors), 2),
        "max_pct": round(100 * max(map(abs, errors)), 2),
        "bias_pct": round(100 * sum(errors) / len(errors), 2),
    }


def relative(value: float, measured: float) -> float:
    """Relative error."""
    return value / measured - 1


def measured_peak(point: Point) -> float | None:
    """The measured peak of a successful run in GiB."""
    peak = point.get("peak_memory_gib")
    return float(peak) if point.get("success", True) and peak else None


# --- fitting again, for leave-one-model-out -------------------------------------------------


def fit(rows: Sequence[tuple[TrainerShape, float]], start: Fitted = FITTED) -> Fitted:
    """Fit the constants of the working set again: Gauss-Newton on relative errors."""
    values = list(astuple(start))

    def residuals(at: Sequence[float]) -> list[float]:
        fitted = Fitted(*at)
        return [relative(estimate(shape, fitted).peak_gib, peak) for shape, peak in rows]

    for _ in range(6):
        base = residuals(values)
        columns = []
        for index, value in enumerate(values):
            step = 1e-3 * value
            moved = [*values[:index], value + step, *values[index + 1 :]]
            columns.append([(a - b) / step for a, b in zip(residuals(moved), base, strict=True)])
        size = len(values)
        matrix = [
            [sum(a * b for a, b in zip(columns[i], columns[j], strict=True)) for j in range(size)]
            for i in range(size)
        ]
        right = [-sum(a * b for a, b in zip(column, base, strict=True)) for column in columns]
        for i in range(size):
            matrix[i][i] *= 1 + 1e-6
            matrix[i][i] += 1e-12
        change = solve(matrix, right)
        values = [max(1e-3, value + delta) for value, delta in zip(values, change, strict=True)]
    return Fitted(*values)


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve a small linear system by elimination."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(i + 1, size):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    result = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][k] * result[k] for k in range(i + 1, size))
        result[i] = (rows[i][size] - known) / rows[i][i]
    return result


def leave_one_model_out(rows: Sequence[tuple[str, TrainerShape, float]]) -> list[float]:
    """Errors of each model's runs with constants fitted on all other models' runs."""
    errors: list[float] = []
    for model in sorted({name for name, _, _ in rows}):
        others = [(shape, peak) for name, shape, peak in rows if name != model]
        fitted = fit(others)
        errors.extend(
            relative(estimate(shape, fitted).peak_gib, peak)
            for name, shape, peak in rows
            if name == model
        )
    return errors


# --- the report -----------------------------------------------------------------------------


class Row:
    """One point with its estimates."""

    def __init__(self, point: Point) -> None:
        self.point = point
        facts = find(str(point["model"]))
        self.unknown = "" if isinstance(facts, ModelFacts) else str(facts)
        self.shape: TrainerShape | None = None
        self.memory: MemoryEstimate | None = None
        self.speed: Throughput | None = None
        if isinstance(facts, ModelFacts):
            self.shape = shape_of(point, facts)
            self.memory = estimate(self.shape)
            gpu = find_gpu(str(point["gpu"]))
            self.speed = estimate_speed(self.shape, gpu) if gpu is not None else None

    def as_json(self) -> dict[str, Any]:
        """What is printed of a point."""
        entry: dict[str, Any] = {
            "id": self.point["id"],
            "peak_gib": None,
            "low_gib": None,
            "high_gib": None,
            "includes_context": False,
            "tokens_per_s_per_gpu": None,
            "tokens_low": None,
            "tokens_high": None,
        }
        if self.memory is not None:
            entry["peak_gib"] = round(self.memory.peak_gib, 3)
            entry["low_gib"] = round(self.memory.low_gib, 3)
            entry["high_gib"] = round(self.memory.high_gib, 3)
            entry["not_validated_by_measurement"] = list(self.memory.uncovered)
        if self.speed is not None:
            entry["tokens_per_s_per_gpu"] = round(self.speed.tokens_per_s_per_gpu, 1)
            entry["tokens_low"] = round(self.speed.low, 1)
            entry["tokens_high"] = round(self.speed.high, 1)
        if self.unknown:
            entry["unknown"] = self.unknown
        return entry


def verdict_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Verdicts of every point on every card size against what was measured."""
    counts = {"checked": 0, "false_fits": 0, "false_refusals": 0, "tight": 0}
    for row in rows:
        peak = measured_peak(row.point)
        ran_out = bool(row.point.get("out_of_memory"))
        if row.memory is None or (peak is None and not ran_out):
            continue
        for size in CARD_SIZES_GIB:
            if peak is None:
                # Out of memory on its own card: how much it needed is not known beyond that.
                card = find_gpu(str(row.point["gpu"]))
                if card is None or size > card.usable_gib:
                    continue
                fits = False
            else:
                alone = row.point["num_gpus"] == 1
                outside = CONTEXT_BYTES if alone else CONTEXT_AND_NCCL_BYTES
                fits = peak + outside / GIB <= size
            verdict = trainer_verdict(row.memory, size)
            counts["checked"] += 1
            counts["false_fits"] += verdict == "fits" and not fits
            counts["false_refusals"] += verdict == "does-not-fit" and fits
            counts["tight"] += verdict == "tight"
    checked = counts["checked"] or 1
    share = round(100 * counts["false_refusals"] / checked, 2)
    return {**counts, "false_refusals_pct": share, "card_sizes_gib": list(CARD_SIZES_GIB)}


def speed_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Errors of the speed on runs with grouped matrix products."""
    errors, inside = [], 0
    for row in rows:
        total = row.point.get("tok_s_from_step_time")
        if not total or not row.point.get("grouped_gemm") or row.speed is None:
            continue
        measured = total / row.point["num_gpus"]
        errors.append(relative(row.speed.tokens_per_s_per_gpu, measured))
        inside += row.speed.low <= measured <= row.speed.high
    if not errors:
        return {"points": 0}
    size = len(errors)
    return {
        "points": size,
        "median_pct": round(100 * median(map(abs, errors)), 2),
        "max_pct": round(100 * max(map(abs, errors)), 2),
        "within_15_pct": round(100 * sum(abs(e) <= 0.15 for e in errors) / size, 1),
        "inside_interval_pct": round(100 * inside / size, 1),
    }


def summary(rows: Sequence[Row], *, leave_one_out: bool) -> dict[str, Any]:
    """Errors against the measured figures, and those of rules of thumb."""
    measured = [
        (row, shape, peak)
        for row in rows
        if (shape := row.shape) is not None and (peak := measured_peak(row.point)) is not None
    ]
    fitted = [item for item in measured if item[1].version in FITTED_VERSIONS]
    later = [item for item in measured if item[1].version not in FITTED_VERSIONS]
    result: dict[str, Any] = {
        "points": len(rows),
        "constants_from_measurements": 8,
        "peak": errors_summary(
            [relative(estimate(shape).peak_gib, peak) for _, shape, peak in fitted]
        ),
        "later_points": {
            "points": len(later),
            "below_high": sum(peak <= estimate(shape).high_gib for _, shape, peak in later),
            **{
                key: value
                for key, value in errors_summary(
                    [relative(estimate(shape).peak_gib, peak) for _, shape, peak in later]
                ).items()
                if key != "points"
            },
        },
        "inside_band_pct": round(
            100
            * sum(e.low_gib <= peak <= e.high_gib for e, peak in _estimated(measured))
            / max(1, len(measured)),
            1,
        ),
        "verdicts": verdict_summary(rows),
        "throughput": speed_summary(rows),
        "rules": {
            name: errors_summary([relative(rule(shape) / GIB, peak) for _, shape, peak in fitted])
            for name, rule in RULES.items()
        },
        "unknown": sorted({row.unknown for row in rows if row.unknown}),
    }
    if leave_one_out:
        result["leave_one_model_out"] = errors_summary(
            leave_one_model_out(
                [(str(row.point["model"]), shape, peak) for row, shape, peak in fitted]
            )
        )
    return result


def _estimated(
    measured: Sequence[tuple[Row, TrainerShape, float]],
) -> list[tuple[MemoryEstimate, float]]:
    return [(estimate(shape), peak) for _, shape, peak in measured]


def as_text(rows: Sequence[Row], totals: dict[str, Any]) -> str:
    """A table of all points and the summary below."""
    lines = [f"{'peak':>8} {'low':>8} {'high':>8} {'measured':>8} {'error':>7}  id"]
    for row in rows:
        if row.memory is None:
            lines.append(f"{row.unknown}  {row.point['id']}")
            continue
        peak = measured_peak(row.point)
        shown = f"{peak:8.2f} {100 * relative(row.memory.peak_gib, peak):+6.1f}%" if peak else ""
        lines.append(
            f"{row.memory.peak_gib:8.2f} {row.memory.low_gib:8.2f} {row.memory.high_gib:8.2f} "
            f"{shown:16}  {row.point['id']}"
        )
    lines.append(json.dumps(totals, indent=1))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the estimates of all points and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=Path, required=True)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--leave-one-out", action="store_true")
    options = parser.parse_args(arguments)
    document = json.loads(options.points.read_text(encoding="utf-8"))
    points = document["points"] if isinstance(document, dict) else document
    rows = [Row(point) for point in points]
    totals = summary(rows, leave_one_out=options.leave_one_out)
    if options.format == "json":
        print(json.dumps({"points": [row.as_json() for row in rows], "summary": totals}, indent=1))
    else:
        print(as_text(rows, totals))
    return 0


if __name__ == "__main__":
    sys.exit(main())
