"""Streams of metrics of runs that learn, and of runs with a planted fault.

What healthy runs do is varied widely: rewards that rise, stay, are sparse or have heavy tails;
entropies that fall slowly; curricula that make the tasks harder all at once; restarts; slow
machines; learning rates that warm up and decay; single odd steps.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any, NamedTuple

FAULTS = (
    "loss-not-finite", "gradient-not-finite", "loss-explodes", "gradient-explodes",
    "entropy-collapses", "kl-blows-up", "reward-collapses", "truncation-rises", "errors-rise",
    "throughput-drops", "policy-stale",
)  # fmt: skip


class Stream(NamedTuple):
    """One run.

    Attributes:
        rows: Lines of metrics.jsonl, in order.
        fault: What was planted; empty for nothing.
        at: The step from which on it is there; -1 for never.
    """

    rows: list[dict[str, Any]]
    fault: str
    at: int

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in self.rows)
        (folder / "metrics.jsonl").write_text(text)


def stream(seed: int, fault: str = "") -> Stream:
    """A run of a few hundred steps."""
    source = random.Random(seed)
    steps = source.choice([80, 150, 300])
    at = source.randrange(45, steps - 20) if fault else -1
    world = _World(source, steps)
    rows: list[dict[str, Any]] = []
    moment = 1.76e9
    restart = source.randrange(30, steps) if source.random() < 0.3 else -1
    number = 0
    while number < steps:
        if number == restart:
            restart = -1
            number = max(0, number - source.randrange(2, 15))
            moment += 900
        values = world.step(number)
        if fault and number >= at:
            world.spoil(values, fault, number - at)
        moment += values["seconds"]
        rows += world.rows(number, moment, values)
        number += 1
    return Stream(rows, fault, at)


class _World:
    def __init__(self, source: random.Random, steps: int) -> None:
        self.source = source
        self.steps = steps
        self.noise = source.choice([0.02, 0.08, 0.2])
        self.reward_kind = source.choice(["rises", "flat", "sparse", "negative", "scaled"])
        self.heavy = source.random() < 0.3
        self.reward_noise = source.choice([0.01, 0.04, 0.08])
        self.entropy = source.uniform(0.15, 1.5)
        self.entropy_end = self.entropy * source.uniform(0.5, 1.1)
        self.kl_noise = source.choice([0.1, 0.3, 0.6])
        self.kl = 10 ** source.uniform(-4, -2)
        self.gradient = 10 ** source.uniform(-2, 0.5)
        self.throughput = 10 ** source.uniform(3, 5)
        self.truncated = source.uniform(0, 0.2)
        self.failed = source.uniform(0, 0.08)
        self.stale = source.uniform(0.2, 2.5)
        self.loss = source.choice([0.0, 0.002, 0.05, 1.5])
        self.loss_noise = 10 ** source.uniform(-3.5, -1.5)
        self.is_sft = self.loss > 1
        self.curriculum = source.randrange(40, steps) if source.random() < 0.3 else steps
        self.version = source.choice(["main", "v0.6"])
        self.ramp = 1
        self.severity = 1.0

    def normal(self) -> float:
        if self.heavy and self.source.random() < 0.05:
            return self.source.gauss(0, 3)
        return self.source.gauss(0, 1)

    def share(self, value: float, spread: float) -> float:
        return min(1.0, max(0.0, value + spread * self.normal()))

    def noisy(self, value: float, spread: float) -> float:
        return value * math.exp(spread * self.normal())

    def step(self, number: int) -> dict[str, float]:
        part = number / self.steps
        reward = {
            "rises": 0.2 + 0.6 * (1 - math.exp(-3 * part)),
            "flat": 0.55,
            "sparse": 0.04 + 0.05 * part,
            "negative": -2.0 + 1.2 * part,
            "scaled": 40 + 30 * part,
        }[self.reward_kind]
        if number >= self.curriculum:
            reward -= 0.3 * abs(reward)
        scale = {"negative": 2.0, "scaled": 40.0}.get(self.reward_kind, 1.0)
        reward += self.reward_noise * scale * self.normal()
        if self.reward_kind in ("rises", "flat", "sparse"):
            reward = min(1.0, max(0.0, reward))
        warm_up = 4.0 * math.exp(-number / 3)
        odd = self.source.random() < 0.01
        slow = 0.3 if number < 2 else 1.0
        return {
            "reward": reward,
            "loss": self.loss * (1 - 0.4 * part) + self.loss_noise * self.normal(),
            "gradient": self.noisy(self.gradient * (30 if odd else 1 + warm_up), self.noise + 0.05),
            "entropy": self.noisy(self.entropy + (self.entropy_end - self.entropy) * part, 0.05),
            "kl": self.noisy(self.kl, self.kl_noise),
            "throughput": self.noisy(self.throughput, min(0.08, self.noise)) * slow,
            "truncated": self.share(self.truncated, 0.03),
            "failed": self.share(self.failed, 0.02),
            "stale": max(0.0, self.stale + 0.3 * self.normal()),
            "seconds": self.noisy(30.0, 0.1),
        }

    def spoil(self, values: dict[str, float], fault: str, age: int) -> None:
        """Plant a fault, which is whole after a few steps."""
        if age == 0:
            self.ramp = self.source.choice([1, 2, 3, 5])
            self.severity = self.source.uniform(0.0, 1.0)
        part = min(1.0, (age + 1) / self.ramp)
        grown = 10 ** (part * (1.0 + self.severity))
        if fault == "loss-not-finite":
            values["loss"] = math.nan
        elif fault == "gradient-not-finite":
            values["gradient"] = math.nan
        elif fault == "loss-explodes":
            values["loss"] += part * max(60 * self.loss_noise, 2 * abs(self.loss), 0.5) * 2
        elif fault == "gradient-explodes":
            values["gradient"] *= grown
        elif fault == "entropy-collapses":
            values["entropy"] *= 1 - (0.75 + 0.2 * self.severity) * part
        elif fault == "kl-blows-up":
            values["kl"] *= grown
        elif fault == "reward-collapses":
            if self.reward_kind == "negative":
                values["reward"] -= part * 8
            else:
                values["reward"] *= 1 - (0.75 + 0.2 * self.severity) * part
        elif fault == "truncation-rises":
            values["truncated"] = self.share(
                self.truncated + (0.4 + 0.3 * self.severity) * part, 0.03
            )
        elif fault == "errors-rise":
            more = (0.3 + 0.4 * self.severity) * part
            values["failed"] = self.share(self.failed + more, 0.03)
        elif fault == "throughput-drops":
            values["throughput"] *= 1 - (0.45 + 0.3 * self.severity) * part
        else:
            values["stale"] += (4 + 4 * self.severity) * part

    def rows(self, step: int, moment: float, values: dict[str, float]) -> list[dict[str, Any]]:
        base = {"step": step, "time": moment}
        agent = "train/agg/all/solver"
        reward = f"{agent}/reward/mean" if self.version == "main" else "reward/all/mean"
        orchestrator = {
            **base, "time/step": values["seconds"], "time/wait_for_policy": 0.1,
            "progress/tokens": 1e6, reward: values["reward"],
            f"{agent}/is_truncated/mean": values["truncated"],
            f"{agent}/has_error/mean": values["failed"], "off_policy/mean": values["stale"],
        }  # fmt: skip
        trainer = [
            {**base, "perf/throughput": values["throughput"], "perf/mfu": 30.0},
            {**base, "optim/lr": 1e-6, "optim/grad_norm": values["gradient"]},
            {**base, "loss/mean": values["loss"], "entropy/all/mean": values["entropy"],
             "mismatch_kl/all/mean": values["kl"]},
            {**base, "time/step": values["seconds"], "time/wait_for_batch": 1.0,
             "time/forward_backward": values["seconds"] - 2},
        ]  # fmt: skip
        kept = [orchestrator, *trainer]
        # As prime-rl does: what is not finite is left out.
        return [{key: value for key, value in row.items() if math.isfinite(value)} for row in kept]
