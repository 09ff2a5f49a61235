"""What prime-rl would have left of a simulated run: metrics.jsonl, and W&B's history."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .spec import Spec
from .world import Done, Record

START = 1_780_000_000.0
START_UP_S = 180.0


class Signals(NamedTuple):
    """Which of the metrics a run has kept.

    Attributes:
        wandb: Whether there is a history of W&B.
        engines: Whether it has the engines' gauges.
        dispatcher: Whether it has those of dispatcher and cap.
        loop: Whether it has the lag of the event loop.
        config: Whether the run's directory has its configs.
        version: ``main`` or ``v0.8``, which has neither staleness nor packing.
        stats: Whether engines' gauges have the endings that main writes.
        agent: Name of the agent.
    """

    wandb: bool = True
    engines: bool = True
    dispatcher: bool = True
    loop: bool = True
    config: bool = True
    version: str = "main"
    stats: bool = True
    agent: str = "policy"


ALL_SIGNALS = Signals()


def write_run(folder: Path, spec: Spec, record: Record, signals: Signals = ALL_SIGNALS) -> None:
    """Write what a run leaves into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = [row for step in record.trainer for row in _trainer(step, spec)]
    orchestrator = [_orchestrator(batch, signals) for batch in record.orchestrator]
    orchestrator += [_evaluation(*one, signals) for one in record.evaluations]
    orchestrator.sort(key=lambda row: row["time"])
    if signals.version == "main":
        _write(folder / "metrics.jsonl", sorted(trainer + orchestrator, key=lambda r: r["time"]))
    else:
        _write(folder / "metrics.jsonl", trainer)
        _write(folder / "run_default" / "metrics.jsonl", orchestrator)
    if signals.wandb:
        rows = [_history(row) for row in trainer + orchestrator]
        rows += [row for gauge in _thinned(record.gauges) for row in _gauges(gauge, signals, spec)]
        rows.sort(key=lambda row: float(row["_timestamp"]))
        for number, row in enumerate(rows):
            row["_step"] = number
        _write(folder / "wandb-history.jsonl", rows)
    if signals.config:
        (folder / "configs").mkdir(exist_ok=True)
        text = json.dumps(config_of(spec, signals))
        (folder / "configs" / "orchestrator.json").write_text(text)


def config_of(spec: Spec, signals: Signals = ALL_SIGNALS) -> dict[str, Any]:
    """The part of the orchestrator's config that a run is told by."""
    config: dict[str, Any] = {
        "batch_size": spec.batch,
        "max_off_policy_steps": spec.max_off,
        "concurrency": {"max_inflight": spec.cap, "initial_inflight": spec.initial or spec.cap},
        "train": {"source": [{"name": "sums", "group_size": spec.group}]},
    }
    if spec.eval_every:
        config["eval"] = {
            "interval": spec.eval_every,
            "source": [{"name": "exam", "num_examples": spec.eval_episodes, "group_size": 1}],
        }
    return config


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def _at(seconds: float) -> float:
    return START + START_UP_S + seconds


def _trainer(step: dict[str, float], spec: Spec) -> list[dict[str, Any]]:
    number, moment = int(step["step"]), _at(step["end"])
    work = step["time/forward_backward"]
    tokens = spec.batch * spec.turns * spec.tokens
    groups: list[dict[str, float]] = [
        {
            "perf/throughput": tokens / max(work, 1e-9),
            "perf/throughput_per_gpu": tokens / max(work, 1e-9) / 4,
            "perf/mfu": 30.0,
            "perf/peak_memory": 60.0,
        },
        {"optim/lr": 1e-6, "optim/grad_norm": 0.1},
        {"loss/mean": 0.01, "entropy/all/mean": 0.5},
        {name: value for name, value in step.items() if name.startswith("time/")},
        {"system/ckpt_disk_free_ratio": 0.8},
    ]
    return [{"step": number, "time": moment, **group} for group in groups]


def stats(prefix: str, values: Sequence[float]) -> dict[str, float]:
    """Mean, extremes and percentiles as prime-rl writes them."""
    if not values:
        return {}
    ordered = sorted(values)

    def percentile(q: float) -> float:
        rank = q * (len(ordered) - 1)
        low = int(rank)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)

    return {
        f"{prefix}/mean": sum(ordered) / len(ordered),
        f"{prefix}/max": ordered[-1],
        f"{prefix}/min": ordered[0],
        f"{prefix}/p10": percentile(0.1),
        f"{prefix}/p90": percentile(0.9),
    }


def episode_stats(prefix: str, agent: str, done: Sequence[Done]) -> dict[str, float]:
    """The metrics of a set of episodes."""
    of_agent = f"{prefix}/{agent}"
    rows = stats(f"{prefix}/num_output_tokens", [one.tokens for one in done])
    rows |= stats(f"{of_agent}/num_output_tokens", [one.tokens for one in done])
    rows |= stats(f"{of_agent}/num_turns", [float(one.turns) for one in done])
    for name in ("setup", "scoring", "total"):
        rows |= stats(f"{of_agent}/timing/{name}", [getattr(one, name) for one in done])
    rows |= stats(f"{of_agent}/timing/finalize", [0.0 for _ in done])
    rows |= stats(f"{of_agent}/timing/agent", [one.model + one.harness for one in done])
    rows |= stats(f"{of_agent}/timing/agent/model", [one.model for one in done])
    rows |= stats(f"{of_agent}/timing/agent/harness", [one.harness for one in done])
    return rows


def _orchestrator(batch: dict[str, Any], signals: Signals) -> dict[str, Any]:
    window: list[Done] = batch["window"]
    effective: list[Done] = batch["batch"]
    agent, size = signals.agent, max(len(window), 1)
    row: dict[str, Any] = {"step": batch["step"], "time": _at(batch["end"]) + 0.01}
    for subset, done in (("all", window), ("effective", effective)):
        row |= episode_stats(f"train/agg/{subset}", agent, done)
    mean = {
        "has_error": sum(one.error for one in window) / size,
        "is_admitted": sum(one.admitted for one in window) / size,
        "cancelled": sum(one.cancelled for one in window) / size,
    }
    row["train/agg/all/has_error/mean"] = mean["has_error"]
    row[f"train/agg/all/{agent}/has_error/mean"] = mean["has_error"]
    if signals.version == "main":
        row["train/agg/all/cancelled/mean"] = mean["cancelled"]
        row[f"train/agg/all/{agent}/cancelled/mean"] = mean["cancelled"]
        row[f"train/agg/all/{agent}/is_admitted/mean"] = mean["is_admitted"]
    else:
        filtered = max(0.0, 1 - mean["is_admitted"] - mean["cancelled"])
        row[f"train/agg/all/{agent}/is_filtered/mean"] = filtered
    row["progress/tokens"] = sum(one.tokens for one in window)
    row["progress/output_tokens"] = sum(one.tokens for one in effective)
    row["progress/rollouts"] = len(window)
    for name, value in batch.items():
        if name.startswith("time/") or name.startswith("off_policy/"):
            row[name] = value
    if signals.version != "main":
        for name in [name for name in row if name.startswith("off_policy/")] + ["time/pack"]:
            del row[name]
    return row


def _evaluation(step: int, end: float, done: list[Done], signals: Signals) -> dict[str, Any]:
    row: dict[str, Any] = {"step": step, "time": _at(end), "eval/exam/policy_version": step - 1}
    row |= episode_stats("eval/exam/all", signals.agent, done)
    return row


def _history(row: dict[str, Any]) -> dict[str, Any]:
    copy = {name: value for name, value in row.items() if name != "time"}
    copy["_timestamp"] = row["time"]
    return copy


def _thinned(gauges: list[dict[str, float]], most: int = 1500) -> list[dict[str, float]]:
    """As W&B's history of a long run: a random part of the rows."""
    if len(gauges) <= most:
        return gauges
    chosen = sorted(random.Random(len(gauges)).sample(range(len(gauges)), most))
    return [gauges[number] for number in chosen]


def _gauges(gauge: dict[str, float], signals: Signals, spec: Spec) -> list[dict[str, Any]]:
    moment = _at(gauge["time"])
    rows: list[dict[str, Any]] = []
    if signals.engines:
        engines = spec.engines
        one: dict[str, Any] = {"_timestamp": moment}
        for name, value in (
            ("num_requests_running", gauge["running"]),
            ("num_requests_waiting", gauge["waiting"]),
            ("generation_tokens_total:rate", gauge["rate"]),
            ("num_preemptions_total:rate", 0.0),
        ):
            if signals.stats:
                one[f"inference/agg/{name}/sum"] = value
                one[f"inference/agg/{name}/mean"] = value / engines
                one[f"inference/agg/{name}/max"] = value / engines
            else:
                one[f"inference/agg/{name}"] = value
        for ending in ("/mean", "/max") if signals.stats else ("",):
            one[f"inference/agg/kv_cache_usage_perc{ending}"] = gauge["kv"]
        rows.append(one)
    other: dict[str, Any] = {"_timestamp": moment + 0.5}
    if signals.dispatcher:
        other |= {
            "dispatcher/inflight/train": gauge["inflight"],
            "dispatcher/inflight/eval": gauge["inflight_eval"],
            "dispatcher/cancelled/train": gauge["cancelled"],
            "concurrency/max_inflight": gauge["cap"],
            "watcher/policy_version": gauge["version"],
            "watcher/last_update_weights_time": gauge["pause"],
        }
    if signals.loop:
        other |= {"event_loop_lag/p99": gauge["lag"], "event_loop_lag/mean": gauge["lag"]}
    if len(other) > 1:
        rows.append(other)
    return rows
