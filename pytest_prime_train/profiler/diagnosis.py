"""What a profile says, as one frozen document that every face shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from pytest_prime_train.profiler.gains import Gain


@dataclass(frozen=True, slots=True)
class Remedy:
    """One edit of the config.

    Attributes:
        key: Dotted path as in TOML, in the keys of the config's own version.
        value: What to write; ``None`` where only a person can decide.
        why: What it does, and what the run shows of it.
    """

    key: str
    value: bool | int | float | str | None
    why: str

    def as_json(self) -> dict[str, Any]:
        """The stable form."""
        return {"key": self.key, "value": self.value, "why": self.why}


@dataclass(frozen=True, slots=True)
class Idle:
    """GPU time that was paid and not used, over all that the metrics cover.

    Attributes:
        hours: Length of what the metrics cover, start-up left out.
        trainer_gpu_hours: GPU hours that the trainer waited for batches; ``None`` without its
            number of GPUs.
        inference_gpu_hours: GPU hours in which the engines had nothing to do, likewise.
        repeated_steps: Steps that a resume threw away.
        repeated_hours: Time that these took.
        usd: What the idle hours cost; ``None`` without a price.
        usd_per_gpu_hour: The price.
        price_source: Where the price comes from.
    """

    hours: float = 0.0
    trainer_gpu_hours: float | None = None
    inference_gpu_hours: float | None = None
    repeated_steps: int = 0
    repeated_hours: float = 0.0
    usd: float | None = None
    usd_per_gpu_hour: float | None = None
    price_source: str = ""

    def as_json(self) -> dict[str, Any]:
        """The stable form."""
        return {
            "hours": rounded(self.hours),
            "trainer_gpu_hours": rounded(self.trainer_gpu_hours),
            "inference_gpu_hours": rounded(self.inference_gpu_hours),
            "repeated_steps": self.repeated_steps,
            "repeated_hours": rounded(self.repeated_hours),
            "usd": rounded(self.usd, 2),
            "usd_per_gpu_hour": rounded(self.usd_per_gpu_hour),
            "price_source": self.price_source,
        }


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Where a run's time goes, and what would bring more steps an hour.

    Attributes:
        verdict: Name of the bottleneck, or ``balanced``, ``unstable``, ``undetermined``.
        contributing: Other stages whose gain comes near the greatest, the greatest first.
        confidence: 0 to 1.
        shares: Shares of the trainer's mean step time, and of the orchestrator's waiting; NaN
            where unknown.
        gain_upper_bound: Share (0 to 1) of the mean step time that would vanish were the named
            stage free; ``None`` where none is named.
        remedies: Edits of the config, the most promising first.
        steps_used: Steady steps of the trainer that it was told from.
        missing: Signals that would tell more, or that are needed where it is undetermined.
        why: How the verdict was told, in one sentence.
        gains: What each stage's lever would bring.
        step_seconds: Mean time of a steady step.
        attempts: Launches of the run.
        idle: GPU time that was paid and not used.
        notes: What is worth knowing of the metrics themselves.
        source: What was read.
    """

    verdict: str
    contributing: tuple[str, ...] = ()
    confidence: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)
    gain_upper_bound: float | None = None
    remedies: tuple[Remedy, ...] = ()
    steps_used: int = 0
    missing: tuple[str, ...] = ()
    why: str = ""
    gains: dict[str, Gain] = field(default_factory=dict)
    step_seconds: float | None = None
    attempts: int = 0
    idle: Idle = field(default_factory=Idle)
    notes: tuple[str, ...] = ()
    source: str = ""

    def as_json(self) -> dict[str, Any]:
        """The stable document of ``prime-train profile --format json``."""
        return {
            "verdict": self.verdict,
            "contributing": list(self.contributing),
            "confidence": self.confidence,
            "shares": {name: rounded(value) for name, value in self.shares.items()},
            "gain_upper_bound": rounded(self.gain_upper_bound),
            "remedies": [remedy.as_json() for remedy in self.remedies],
            "steps_used": self.steps_used,
            "missing": list(self.missing),
            "why": self.why,
            "gains": {
                gain.stage: {"gain": rounded(gain.gain), "upper_bound": rounded(gain.bound)}
                for gain in sorted(self.gains.values(), key=lambda gain: -gain.gain)
            },
            "step_seconds": rounded(self.step_seconds),
            "attempts": self.attempts,
            "idle": self.idle.as_json(),
            "notes": list(self.notes),
            "source": self.source,
        }


def rounded(value: float | None, digits: int = 4) -> float | None:
    """A number for JSON, which knows neither NaN nor infinities."""
    if value is None or not isfinite(value):
        return None
    return round(value, digits)
