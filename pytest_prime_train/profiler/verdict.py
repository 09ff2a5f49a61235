"""Which stage is the bottleneck: the one whose lever brings most, unless that cannot be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pytest_prime_train.profiler.evidence import Evidence, step_times
from pytest_prime_train.profiler.gains import CONSUMERS, ENGINES_OR_CAP, PRODUCERS, Gain
from pytest_prime_train.profiler.steady import median
from pytest_prime_train.profiler.thresholds import Thresholds

VERDICTS = (
    *CONSUMERS,
    *PRODUCERS,
    "weight-sync",
    "balanced",
    "unstable",
    "undetermined",
)
"""All verdicts that can be given."""

ENGINE_GAUGES = "inference/* of the engines (W&B, or a scrape of /metrics with --engine-metrics)"
DISPATCHER_GAUGES = "dispatcher/inflight/* and concurrency/max_inflight (W&B)"
LOOP_GAUGES = "event_loop_lag/* (W&B)"
EVAL_SIZE = "the size of the evaluations (dispatcher/inflight/eval of W&B, or the run's config)"
LOAD_SPREAD = (
    "polls of the engines with few requests running, such as those of the start "
    "(a history that is not thinned)"
)
SANDBOX_POOL = "the number of sandboxes in use, which prime-rl does not write"


class Verdict(NamedTuple):
    """What is said of a run.

    Attributes:
        name: One of ``VERDICTS``.
        contributing: Other stages whose gain comes near, the greatest first.
        confidence: 0 to 1.
        missing: Signals that would tell more; where the verdict is ``undetermined``, those that
            are needed.
        why: One sentence on how it was told.
        leading: The stage with the greatest estimated gain, which the verdict need not be.
    """

    name: str
    contributing: tuple[str, ...]
    confidence: float
    missing: tuple[str, ...]
    why: str
    leading: str = ""


def judge(evidence: Evidence, gains: Mapping[str, Gain], thresholds: Thresholds) -> Verdict:
    """Decide.

    Args:
        evidence: What the run shows.
        gains: What each lever would bring.
        thresholds: Where judgements turn.
    """
    lacking = tuple(too_little(evidence, thresholds))
    if lacking:
        return Verdict("undetermined", (), 0.0, lacking, "there is too little to judge by")
    ranked = sorted(gains.values(), key=lambda gain: -gain.gain)
    best = ranked[0]
    near = tuple(
        gain.stage
        for gain in ranked[1:]
        if gain.gain >= thresholds.near * best.gain and gain.gain >= thresholds.smallest_gain / 2
    )
    missing = tuple(missing_signals(evidence))
    drift = drifts(evidence, thresholds)
    if drift:
        names = (best.stage, *near) if best.gain >= thresholds.smallest_gain else ()
        return Verdict("unstable", names, 0.8, missing, drift, best.stage)
    balance = is_balanced(evidence, gains, best, thresholds)
    if balance:
        names = (best.stage, *near) if best.gain >= thresholds.smallest_gain else near
        return Verdict("balanced", names, 0.7, missing, balance, best.stage)
    needed = tuple(dict.fromkeys(undetermined(evidence, ranked, thresholds)))
    if needed:
        return Verdict(
            "undetermined",
            (best.stage, *near),
            0.3,
            needed,
            f"the signs point to {best.stage}, but other causes would look the same",
            best.stage,
        )
    return Verdict(
        best.stage, near, confidence(ranked, missing, evidence), missing, _why(best), best.stage
    )


def _why(best: Gain) -> str:
    return (
        f"its lever would bring {100 * best.gain:.0f} % more steps an hour, "
        "more than that of any other stage"
    )


def too_little(evidence: Evidence, thresholds: Thresholds) -> Iterator[str]:
    """What is missing for any judgement."""
    least = thresholds.min_steps
    if len(evidence.trainer) < least:
        yield (
            f"{least} steady steps of the trainer (there are {len(evidence.trainer)}; the first "
            f"{thresholds.warm_up} of every attempt do not count)"
        )
    elif evidence.wait >= 0.1 and len(evidence.orchestrator) < least:
        yield (
            f"{least} steady steps of the orchestrator (there are {len(evidence.orchestrator)}); "
            "up to v0.8 it writes its own run_default/metrics.jsonl"
        )


def drifts(evidence: Evidence, thresholds: Thresholds) -> str:
    """Why the run is unstable; empty where it is not."""
    if len(evidence.trainer) < 2 * thresholds.min_steps:
        return ""
    change, of_medians = _change(step_times(evidence.trainer))
    # Long steps with an evaluation are few, and lie as they lie.
    limit = 0.6 if evidence.evaluation > 0.4 else thresholds.drift_median
    if abs(change) > thresholds.drift and abs(of_medians) > limit:
        words = "longer" if change > 0 else "less"
        return (
            f"the steps took {100 * abs(change):.0f} % {words} in the later half; "
            "look at that one alone"
        )
    return ""


def _change(times: Sequence[float]) -> tuple[float, float]:
    """Change of mean and of median from the earlier half to the later, against the lesser."""
    middle = len(times) // 2
    earlier, later = times[:middle], times[middle:]
    means = sum(earlier) / len(earlier), sum(later) / len(later)
    medians = median(earlier), median(later)
    return _relative(*means), _relative(*medians)


def _relative(before: float, after: float) -> float:
    least = min(before, after)
    return (after - before) / least if least > 0 else 0.0


def is_balanced(
    evidence: Evidence, gains: Mapping[str, Gain], best: Gain, thresholds: Thresholds
) -> str:
    """Why the halves are balanced; empty where they are not."""
    if best.gain < thresholds.smallest_gain:
        return f"no lever would bring more than {100 * best.gain:.0f} % more steps an hour"
    if best.stage in ("evaluation", "waste", "long-tail"):
        return ""
    held = 0.6 * evidence.hold
    if (
        evidence.wait > 0.1
        and evidence.hold > 0.1
        and 0.5 < held / evidence.wait < 1.2
        and evidence.broadcast < 0.3
        and evidence.serialised < 0.5
    ):
        return "each half waits for the other by turns"
    if best.stage == "weight-sync":
        return ""
    consumer = max(gains[name].gain for name in CONSUMERS)
    producer = max(gains[name].gain for name in PRODUCERS)
    least, most = sorted((consumer, producer))
    # A half that hardly ever waits is no match for the other, whatever small gains suggest.
    both_wait = not evidence.hold < 0.1 and evidence.wait > 0.05
    if both_wait and least > 0 and most < thresholds.balanced_factor * least:
        return "the best levers of both halves would bring about the same"
    return ""


def undetermined(
    evidence: Evidence, ranked: Sequence[Gain], thresholds: Thresholds
) -> Iterator[str]:
    """Signals without which the best stage cannot be told from another."""
    best, second = ranked[0], ranked[1]
    if best.stage in CONSUMERS:
        return
    if best.stage == "weight-sync":
        if (
            second.stage in PRODUCERS
            and second.gain > thresholds.tie * best.gain
            and best.gain < thresholds.small
        ):
            yield f"longer metrics: {best.stage} and {second.stage} are too close to tell apart"
        return
    if not evidence.episodes.total_s > 0:
        yield "timing of the episodes (train/agg/all/*/timing/* of the orchestrator)"
        return
    engines = evidence.engines
    no_engines = not engines.polls
    outside = 1 - evidence.model
    settled = best.stage == "environment" and outside >= thresholds.long_environment
    settled = settled or (best.stage == "orchestrator-loop" and evidence.pack > 0.5)
    if best.stage in (*ENGINES_OR_CAP, "environment", "orchestrator-loop") and not settled:
        if no_engines:
            yield ENGINE_GAUGES
        if engines.at_cap != engines.at_cap and not engines.is_full(thresholds):
            yield DISPATCHER_GAUGES
    hidden = no_engines and best.gain < 0.27 * (1 - evidence.trainer_needed)
    if hidden and best.stage in ("waste", "long-tail", "evaluation"):
        # An engine or a cap that nobody sees may weigh as much.
        yield ENGINE_GAUGES
    unsure = engines.polls and engines.saturation != engines.saturation
    if (
        unsure
        and not engines.is_full(thresholds)
        and engines.at_cap >= thresholds.at_cap
        and best.stage in ("waste", "long-tail", "evaluation")
        and best.gain < 0.2 * (1 - evidence.trainer_needed) * (1 - min(evidence.pause, 1.0))
    ):
        yield LOAD_SPREAD
    if evidence.evaluation != evidence.evaluation:
        yield EVAL_SIZE
    at_cap = engines.at_cap >= thresholds.at_cap
    if (
        best.stage in ("environment", "inference-cap")
        and at_cap
        and 0.35 < outside < thresholds.long_environment
        and not engines.is_full(thresholds)
    ):
        yield SANDBOX_POOL
    if (
        second.stage in (*PRODUCERS, "weight-sync")
        and second.gain > thresholds.tie * best.gain
        and best.gain < thresholds.small
    ):
        yield f"longer metrics: {best.stage} and {second.stage} are too close to tell apart"


def missing_signals(evidence: Evidence) -> Iterator[str]:
    """Signals that the run has not kept."""
    engines = evidence.engines
    if not engines.polls:
        yield ENGINE_GAUGES
    if engines.at_cap != engines.at_cap:
        yield DISPATCHER_GAUGES
    if engines.lag_s != engines.lag_s:
        yield LOOP_GAUGES
    if evidence.evaluation != evidence.evaluation:
        yield EVAL_SIZE
    if len(evidence.orchestrator) and not evidence.episodes.total_s > 0:
        yield "timing of the episodes (train/agg/all/*/timing/* of the orchestrator)"


def confidence(ranked: Sequence[Gain], missing: Sequence[str], evidence: Evidence) -> float:
    """How sure a named stage is: by its lead, by the signals, by the number of steps."""
    best, second = ranked[0].gain, ranked[1].gain
    lead = 1 - second / best if best > 0 else 0.0
    steps = min(len(evidence.trainer), 40) / 40
    sure = 0.55 + 0.35 * lead + 0.1 * steps
    if ranked[0].stage in PRODUCERS:
        sure -= 0.08 * len(missing)
    return round(min(0.98, max(0.2, sure)), 2)
