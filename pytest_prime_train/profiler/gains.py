"""What each lever would bring, estimated from what a run shows of itself.

In steady state producer (dispatcher, engines, environments) and consumer (trainer) have the same
period; speeding one up helps until the other's slack is used up. A lever makes a resource a fifth
faster or a fourth larger, halves a habit, or ends stragglers at their 90th percentile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_prime_train.profiler.evidence import Evidence
from pytest_prime_train.profiler.thresholds import Thresholds

CONSUMERS = ("trainer", "data-load", "checkpointing")
ENGINES_OR_CAP = ("inference-capacity", "inference-cap")
PRODUCERS = (
    *ENGINES_OR_CAP,
    "environment",
    "orchestrator-loop",
    "long-tail",
    "waste",
    "evaluation",
)
STAGES = (*CONSUMERS, *PRODUCERS, "weight-sync")


@dataclass(frozen=True, slots=True)
class Gain:
    """What a stage's lever brings.

    Attributes:
        stage: Name of the stage.
        share: The stage's share of the half that it belongs to, 0 to 1.
        gain: Steps per hour that the lever brings, as a share of today's.
        bound: Share of the mean step time that would vanish were the stage free.
    """

    stage: str
    share: float
    gain: float
    bound: float


def estimate(evidence: Evidence, thresholds: Thresholds) -> dict[str, Gain]:
    """Estimate the gains of all stages.

    Args:
        evidence: What the run shows.
        thresholds: How far the levers are pulled.
    """
    gains: dict[str, Gain] = {}
    needed = _known(evidence.trainer_needed)
    idle = _known(evidence.producer_idle)
    wait = _known(evidence.wait)
    running = 1 - min(_known(evidence.pause), 0.95)
    alone = needed + (1 - needed) * evidence.serialised

    def put(stage: str, share: float, cut: float, bound: float) -> None:
        cut = min(max(cut, 0.0), 0.95)
        gains[stage] = Gain(stage, share, cut / (1 - cut), min(max(bound, 0.0), 1.0))

    def consume(stage: str, share: float, pulled: float, alone: float = alone) -> None:
        # Where the halves work one after the other, each second of either counts.
        put(stage, share, min(pulled * share * alone, idle), min(share * alone, idle))

    def produce(stage: str, share: float, pulled: float) -> None:
        # While weights are loaded nothing is produced, however fast it could be.
        part = share * (1 - needed) * running
        put(stage, share, min(pulled * part, wait), min(part, wait))

    consume("trainer", _known(evidence.work), thresholds.resource)
    consume("data-load", _known(evidence.load), thresholds.resource)
    lump = max(alone, evidence.unhidden_save)
    consume("checkpointing", _known(evidence.checkpoint), thresholds.habit, lump)
    shares = producer_shares(evidence, thresholds)
    for stage in ("inference-capacity", "inference-cap", "environment", "orchestrator-loop"):
        produce(stage, shares[stage], thresholds.resource)
    loop = gains["orchestrator-loop"]
    if evidence.pack > 0.5 and loop.bound > 0:
        bound = min(loop.bound, overproduction(evidence))
        gain = min(loop.gain, _as_gain(bound))
        gains["orchestrator-loop"] = replace(loop, gain=gain, bound=bound)
    produce("long-tail", shares["long-tail"], 1.0)
    produce("waste", shares["waste"], thresholds.habit)
    produce("evaluation", shares["evaluation"], thresholds.habit)
    sync = _known(evidence.broadcast) * needed + _known(evidence.pause) * (1 - needed)
    put("weight-sync", sync, thresholds.resource * sync, sync)
    return gains


def overproduction(evidence: Evidence) -> float:
    """Share of the time between two batches for which episodes need not run: with so many in
    flight, each as long as it is, more are made than batches take (Little's law); 1 where the
    number in flight is not known.
    """
    made = evidence.engines.inflight * evidence.orchestrator_s / evidence.episode_s
    if not (made > 0 and evidence.batch > 0):
        return 1.0
    return max(0.0, 1 - evidence.batch / made)


def _as_gain(cut: float) -> float:
    cut = min(cut, 0.95)
    return cut / (1 - cut)


def producer_shares(evidence: Evidence, thresholds: Thresholds) -> dict[str, float]:
    """By stage, how much of the producer's time it stands for."""
    engines = evidence.engines
    model = evidence.model if evidence.model == evidence.model else 0.5
    outside = 1 - model
    full = engines.is_full(thresholds)
    saturated = engines.saturation if engines.saturation == engines.saturation else 0.5
    at_cap = not engines.at_cap < thresholds.at_cap
    shares = dict.fromkeys(PRODUCERS, 0.0)
    if full:
        shares["inference-capacity"] = 1.0
    else:
        shares["inference-capacity"] = saturated * model
        if at_cap and model > 0.2:
            shares["inference-cap"] = 1 - saturated
        if outside >= thresholds.long_environment:
            shares["environment"] = 1.0
        else:
            shares["environment"] = outside * (1 - saturated * model)
    lag = _known(engines.lag_s)
    pack = _known(evidence.pack)
    # The loop serves one at a time: its lag stays small until it is nearly always busy.
    late = lag / evidence.episode_s / thresholds.lag if evidence.episode_s > 0 else 0.0
    if late > 0.5:
        shares["orchestrator-loop"] = min(1.0, 2 * late - 1)
    elif pack > 0.5:
        # While a batch is packed nothing is taken in, but episodes go on: it binds bit by bit.
        binds = min(1.0, (pack - 0.5) / 0.35) * min(1.0, overproduction(evidence) / 0.15)
        shares["orchestrator-loop"] = pack * binds
    shares["long-tail"] = tail_share(evidence, thresholds)
    shares["waste"] = waste_share(evidence)
    shares["evaluation"] = _known(evidence.evaluation)
    # What the orchestrator's own process holds back, nothing before it can bring.
    open_share = 1 - shares["orchestrator-loop"]
    return {
        stage: share if stage == "orchestrator-loop" else share * open_share
        for stage, share in shares.items()
    }


def tail_share(evidence: Evidence, thresholds: Thresholds) -> float:
    """Share of the producer's work that stragglers cost, by their length or by being cancelled."""
    tail = _known(evidence.episodes.tail)
    cancelled = _known(evidence.episodes.cancelled)
    if evidence.stale_room < 0.6:
        # Most are far from the limit, so those that pass it are stragglers; unless all of them
        # queue for an environment.
        queues = 1 - evidence.model >= thresholds.long_environment
        sure = min(1.0, (0.6 - evidence.stale_room) / 0.2) if queues else 1.0
        tail = 1 - (1 - tail) * (1 - cancelled * sure)
    return tail if tail > thresholds.tail else 0.0


def waste_share(evidence: Evidence) -> float:
    """Share of the episodes that failed or were rejected.

    Not in it: cancelled and dropped ones, which follow from overproduction or a tail, and groups
    that are all solved or all unsolved, which stay in the batch.
    """
    errors = _known(evidence.episodes.errors)
    rejected = _known(evidence.episodes.rejected)
    return 1 - (1 - errors) * (1 - rejected)


def _known(value: float) -> float:
    return value if value == value else 0.0
