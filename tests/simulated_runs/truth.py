"""What a simulated run's bottleneck truly is: the lever that brings the most steps per hour.

The levers are those of the definition: a resource a fifth faster or a fourth larger, a habit
halved, stragglers cut at their 90th percentile. All re-runs share the draws of the run.
"""

from __future__ import annotations

from dataclasses import dataclass

from .spec import Levers, Luck, Spec
from .world import Record, World

LEVERS: dict[str, tuple[Levers, Levers]] = {
    "trainer": (Levers(train=0.8), Levers(train=0.0)),
    "data-load": (Levers(load=0.8), Levers(load=0.0)),
    "weight-sync": (Levers(sync=0.8), Levers(sync=0.0)),
    "inference-capacity": (Levers(engines=1.25), Levers(engines=1e6)),
    "inference-cap": (Levers(cap=1.25), Levers(cap=100.0)),
    "environment": (Levers(env=0.8), Levers(env=0.0)),
    "orchestrator-loop": (Levers(loop=0.8), Levers(loop=0.0)),
    "checkpointing": (Levers(ckpt=0.5), Levers(ckpt=0.0)),
    "evaluation": (Levers(evaluation=0.5), Levers(evaluation=0.0)),
    "waste": (Levers(waste=0.5), Levers(waste=0.0)),
    "long-tail": (Levers(tail=True), Levers(tail=True)),
}
CONSUMERS = ("trainer", "data-load", "checkpointing")
PRODUCERS = (
    "inference-capacity",
    "inference-cap",
    "environment",
    "orchestrator-loop",
    "evaluation",
    "waste",
    "long-tail",
)
SMALLEST_GAIN = 0.04
BALANCED_FACTOR = 2.0


@dataclass(frozen=True)
class Truth:
    """A run and what its levers do.

    Attributes:
        record: The run.
        gains: By lever, the steps per hour that it brings, as a share of today's.
        bounds: By lever, the share of the step time that vanishes when the stage is free.
    """

    record: Record
    gains: dict[str, float]
    bounds: dict[str, float]

    @property
    def verdict(self) -> str:
        """The stage, or ``balanced`` where no lever gains or both halves are equally worth it."""
        best = max(self.gains, key=lambda name: self.gains[name])
        if self.gains[best] < SMALLEST_GAIN or self.is_balanced:
            return "balanced"
        return best

    @property
    def is_balanced(self) -> bool:
        """Whether the best lever of each half gains about the same."""
        consumer = max(self.gains[name] for name in CONSUMERS)
        producer = max(self.gains[name] for name in PRODUCERS)
        least, most = sorted((consumer, producer))
        return least > SMALLEST_GAIN / 2 and most < BALANCED_FACTOR * least

    @property
    def margin(self) -> float:
        """By how much the best lever beats the second best, as a share of the best."""
        first, second = sorted(self.gains.values())[-1:-3:-1]
        return 1 - max(second, 0.0) / first if first > 0 else 0.0


def find_truth(spec: Spec) -> Truth:
    """Run a spec, and run it again with each lever."""
    luck = Luck(spec)
    record = World(spec, luck).run()
    base = record.step_s
    gains, bounds = {}, {}
    for name, (better, _) in LEVERS.items():
        if not _matters(name, spec):
            gains[name] = bounds[name] = 0.0
            continue
        again = World(spec, luck, better, gauges=False).run().step_s
        gains[name] = base / again - 1
    best = max(gains, key=lambda name: gains[name])
    for name, gain in gains.items():
        if gain >= 0.5 * gains[best] and gain > SMALLEST_GAIN / 2:
            bounds[name] = 1 - World(spec, luck, LEVERS[name][1], gauges=False).run().step_s / base
    return Truth(record, gains, bounds)


def _matters(name: str, spec: Spec) -> bool:
    return not (
        (name == "checkpointing" and not spec.ckpt_every)
        or (name == "evaluation" and not spec.eval_every)
        or (name == "waste" and not spec.error_p and not spec.reject_p)
    )
