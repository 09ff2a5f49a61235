"""What a run's metrics show: shares of time, what episodes consist of, what is thrown away."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from math import isnan, log, nan

from pytest_prime_train.metrics import RunMetrics
from pytest_prime_train.profiler.context import RunContext
from pytest_prime_train.profiler.engines import EngineView, view_engines
from pytest_prime_train.profiler.steady import (
    Steady,
    median,
    steady_steps,
    weighted_mean,
    window,
)
from pytest_prime_train.profiler.thresholds import Thresholds

WANTED = (
    "time/",
    "perf/",
    "progress/",
    "off_policy/",
    "train/agg/",
    "eval/",
    "inference/",
    "dispatcher/",
    "concurrency/",
    "watcher/",
    "event_loop_lag/",
    "pre_filters/all/dropped_rate",
    "filters/all/is_filtered",
    "timing/all/",
    "decode_len/all/",
)
"""Beginnings of the names that the profiler reads."""

_TOTAL = re.compile(r"(train/agg/all/.+)/timing/total/mean")


@dataclass(frozen=True, slots=True)
class Episodes:
    """Mean times of an episode in seconds, and what becomes of it; NaN where unknown.

    Attributes:
        total_s: All of it, without the event loop's lag.
        model_s: Waiting for the engines.
        tail: Share of the time that is due to stragglers beyond the 90th percentile.
        errors: Share that failed.
        rejected: Share that was not admitted, and not because it was cancelled.
        cancelled: Share that was cancelled as stale, or dropped as stale when it was done.
        tokens: Mean output tokens.
        turns: Mean turns; 1 where that is not known.
    """

    total_s: float = nan
    model_s: float = nan
    tail: float = nan
    errors: float = nan
    rejected: float = nan
    cancelled: float = nan
    tokens: float = nan
    turns: float = 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a diagnosis is made of. Shares are of the trainer's mean step unless said.

    Attributes:
        trainer: The trainer's steady steps.
        orchestrator: The orchestrator's.
        step_s: Mean time of a trainer's step.
        wait: Waiting for batches (b).
        work: Forward and backward (f).
        broadcast: Broadcasting weights (w).
        load: Loading data (l).
        checkpoint: Saving checkpoints (c).
        hold: The orchestrator's waiting for a policy against its own time (p); may pass 1.
        never_waits: Share of the steps in which the trainer does not wait.
        pause: Pausing of the engines for new weights (u).
        pack: Packing of batches against the orchestrator's time.
        orchestrator_s: Mean time between two batches.
        episodes: What the episodes are made of.
        engines: What the gauges say.
        evaluation: Share of the engines' work that evaluations take; 0 without any, NaN where
            there were some of unknown size.
        stale_room: Mean age of what was shipped plus one, against the greatest allowed.
        tokens_p90: 90th percentile of the output tokens of an episode.
        total_p90: 90th percentile of the seconds of an episode.
        batch: Usual number of episodes between two batches.
        eval_interval: Usual number of steps between two evaluations.
    """

    trainer: Steady
    orchestrator: Steady
    step_s: float = nan
    wait: float = nan
    work: float = nan
    broadcast: float = nan
    load: float = nan
    checkpoint: float = nan
    hold: float = nan
    never_waits: float = nan
    pause: float = nan
    pack: float = nan
    orchestrator_s: float = nan
    episodes: Episodes = field(default_factory=Episodes)
    engines: EngineView = field(default_factory=EngineView)
    evaluation: float = 0.0
    stale_room: float = nan
    tokens_p90: float = nan
    total_p90: float = nan
    batch: float = nan
    eval_interval: float = nan

    @property
    def model(self) -> float:
        """Share of an episode that is waiting for the engines (m)."""
        return self.episodes.model_s / self.episode_s

    @property
    def episode_s(self) -> float:
        """An episode with the event loop's lag."""
        lag = self.engines.lag_s
        return self.episodes.total_s + (lag if lag == lag else 0.0)

    @property
    def trainer_needed(self) -> float:
        """How much the trainer is the one waited for (phi)."""
        held = 0.6 * self.hold
        share = held / (self.wait + held) if self.wait + held > 0 else 0.5
        return (self.never_waits + share) / 2 if share == share else self.never_waits

    @property
    def serialised(self) -> float:
        """How much the halves work one after the other instead of beside each other, 0 to 1:
        then each waits while the other works.
        """
        both = self.wait + 0.6 * self.hold
        return min(1.0, max(0.0, (both - 0.35) / 0.35)) if both == both else 0.0

    @property
    def unhidden_save(self) -> float:
        """Share of a checkpoint that no batch made meanwhile makes up for: the queue between the
        halves holds one, so all of a long one but a usual step's time.
        """
        saves = [value for value in self.trainer.values("time/save_ckpt") if value > 0]
        usual = median(step_times(self.trainer))
        if not saves or not usual > 0:
            return 0.0
        return max(0.0, 1 - usual * len(saves) / sum(saves))

    @property
    def producer_idle(self) -> float:
        """Share of the time in which nothing is produced because the trainer is behind."""
        if self.engines.busy == self.engines.busy:
            idle = max(0.0, 1 - self.engines.busy)
            # Rates flicker by themselves; and nobody is idle for longer than the gate is closed.
            return min(idle, self.hold) if self.hold == self.hold else idle
        return min(1.0, 0.6 * self.hold)


def gather(run: RunMetrics, context: RunContext, thresholds: Thresholds) -> Evidence:
    """Read the evidence from a run.

    Args:
        run: What it wrote.
        context: What its configs say.
        thresholds: Which steps count.
    """
    trainer = steady_steps(run.trainer, "time/forward_backward", thresholds)
    orchestrator = steady_steps(run.orchestrator, "time/step", thresholds)
    times = step_times(trainer)
    total = sum(times)
    episodes = read_episodes(run, orchestrator)
    engines = view_engines(
        run.gauges,
        window(run, trainer, orchestrator),
        context.max_inflight,
        weight_updates(run),
        (episodes.total_s - episodes.model_s) / episodes.turns,
    )
    waits = trainer.values("time/wait_for_batch")
    share = {name: trainer.total(f"time/{name}") / total if total > 0 else nan for name in _PARTS}
    between = orchestrator.total("time/step")
    step_s = total / len(times) if times else nan
    still = [not wait > thresholds.waits * step for wait, step in zip(waits, times, strict=True)]
    pause = engines.pause_s / step_s if engines.pause_s == engines.pause_s else nan
    return Evidence(
        trainer=trainer,
        orchestrator=orchestrator,
        step_s=step_s,
        wait=share["wait_for_batch"],
        work=share["forward_backward"],
        broadcast=share["broadcast_weights"],
        load=share["load_data"],
        checkpoint=share["save_ckpt"],
        hold=_held(orchestrator) / between if between > 0 else nan,
        never_waits=sum(still) / len(still) if still else nan,
        pause=pause if pause == pause else share["broadcast_weights"],
        pack=orchestrator.total("time/pack") / between if between > 0 else nan,
        orchestrator_s=between / len(orchestrator) if len(orchestrator) else nan,
        episodes=episodes,
        engines=engines,
        evaluation=evaluation_share(run, orchestrator, engines, episodes, context),
        stale_room=_stale_room(orchestrator, context),
        tokens_p90=_greatest(orchestrator, "num_output_tokens/p90"),
        total_p90=_greatest(orchestrator, "timing/total/p90"),
        batch=median(orchestrator.values("progress/rollouts")),
        eval_interval=_eval_interval(run),
    )


_PARTS = ("wait_for_batch", "forward_backward", "broadcast_weights", "load_data", "save_ckpt")


def weight_updates(run: RunMetrics) -> list[tuple[float, float]]:
    """From when to when the trainer broadcast each version, in seconds since the epoch: the
    checkpoint comes behind it, and then the row is written.
    """
    table = run.trainer
    columns = (table.column(f"time/{name}") for name in ("broadcast_weights", "save_ckpt"))
    spans = []
    for moment, broadcast, save in zip(table.times, *columns, strict=True):
        end = moment - (save if save == save else 0.0)
        if end == end and broadcast == broadcast:
            spans.append((end - broadcast, end))
    return sorted(spans)


def step_times(trainer: Steady) -> array[float]:
    """The trainer's time of each step; where it is not written, the sum of its parts."""
    times = trainer.values("time/step")
    if any(value != value for value in times):
        parts = [trainer.values(f"time/{name}") for name in _PARTS]
        for place, value in enumerate(times):
            if value != value:
                times[place] = sum(part[place] for part in parts if part[place] == part[place])
    return times


def _held(orchestrator: Steady) -> float:
    """Time in which the orchestrator waited for a policy; up to v0.6 for its checkpoint."""
    if orchestrator.table.has("time/wait_for_policy"):
        return orchestrator.total("time/wait_for_policy")
    if orchestrator.table.has("time/wait_for_ckpt"):
        return orchestrator.total("time/wait_for_ckpt")
    return nan


def agents(steady: Steady) -> list[str]:
    """Beginnings of the names of each agent's metrics."""
    found = (_TOTAL.fullmatch(name) for name in steady.table.names)
    return [match.group(1) for match in found if match is not None]


def read_episodes(run: RunMetrics, orchestrator: Steady) -> Episodes:
    """Means over the steady batches, each weighted with its episodes; agents are added up."""
    weights = orchestrator.values("progress/rollouts")
    if all(isnan(weight) for weight in weights):
        weights = array("d", [1.0]) * len(orchestrator)
    prefixes = agents(orchestrator)

    def added(name: str) -> float:
        values = [orchestrator.mean(f"{prefix}/{name}", weights) for prefix in prefixes]
        known = [value for value in values if value == value]
        return sum(known) if known else nan

    def shared(*names: str) -> float:
        full = [f"{prefix}/{name}" for name in names for prefix in prefixes]
        full += [f"train/agg/all/{name}" for name in names]
        values = [orchestrator.mean(name, weights) for name in full]
        known = [value for value in values if value == value]
        return sum(known) / len(known) if known else nan

    total, model = added("timing/total/mean"), added("timing/agent/model/mean")
    if total != total:  # v0.6
        total = orchestrator.mean("timing/all/total/mean")
        model = orchestrator.mean("timing/all/model/mean")
    cancelled = shared("cancelled/mean")
    dropped_late = orchestrator.total("off_policy/dropped")
    arrived = orchestrator.total("progress/rollouts")
    stale = cancelled + (dropped_late / arrived if arrived > 0 else 0.0)
    admitted = shared("is_admitted/mean")
    if admitted == admitted:
        rejected = 1 - admitted - (cancelled if cancelled == cancelled else 0.0)
    else:
        rejected = shared("is_filtered/mean")
        if rejected != rejected:
            rejected = orchestrator.mean("filters/all/is_filtered")
        dropped = orchestrator.mean("pre_filters/all/dropped_rate")
        if dropped == dropped:
            rejected = max(dropped, rejected if rejected == rejected else 0.0)
    share = model / total if total > 0 else nan
    tokens = added("num_output_tokens/mean")
    turns = added("num_turns/mean")
    return Episodes(
        total_s=total,
        model_s=model,
        tail=_tail(orchestrator, prefixes, share),
        errors=shared("has_error/mean"),
        rejected=max(0.0, rejected) if rejected == rejected else nan,
        cancelled=min(1.0, stale),
        tokens=tokens if tokens == tokens else orchestrator.mean("decode_len/all/mean"),
        turns=turns if turns >= 1 else 1.0,
    )


def _tail(orchestrator: Steady, prefixes: list[str], model: float) -> float:
    """Excess of the mean over what it would be if nothing were beyond the 90th percentile."""
    of_time = [excess(orchestrator, f"{prefix}/timing/total") for prefix in prefixes]
    of_tokens = [excess(orchestrator, f"{prefix}/num_output_tokens") for prefix in prefixes]
    of_harness = [excess(orchestrator, f"{prefix}/timing/agent/harness") for prefix in prefixes]
    parts = [
        max(time, _known(tokens) * model + _known(harness) * (1 - model))
        for time, tokens, harness in zip(of_time, of_tokens, of_harness, strict=True)
        if time == time
    ]
    return max(parts, default=nan)


def _known(value: float) -> float:
    return value if value == value else 0.0


def excess(orchestrator: Steady, prefix: str) -> float:
    """Share of a mean that lies beyond the 90th percentile.

    The distribution itself is not written, so two guesses are weighed. By the greatest value: the
    excess of the k values beyond the percentile is taken as exponential, whose greatest of k is
    the mean times 1 + 1/2 + ... + 1/k. By the rest: between the 10th and the 90th percentile the
    distribution is taken as log-uniform, and what that does not explain of the mean is excess.
    """
    mean = orchestrator.mean(f"{prefix}/mean")
    low, high = (median(orchestrator.values(f"{prefix}/{name}")) for name in ("p10", "p90"))
    if not (mean > 0 and high > 0 and low == low):
        return nan
    low = max(low, high * 1e-3)
    middle = (high - low) / log(high / low) if high > low * 1.0001 else high
    by_rest = max(0.0, 1 - (0.8 * middle + 0.1 * low + 0.1 * high) / mean)
    greatest = orchestrator.mean(f"{prefix}/max")
    beyond = 0.1 * orchestrator.mean("progress/rollouts")
    if not (greatest > 0 and beyond >= 1):
        return by_rest
    harmonic = log(beyond) + 0.5772 + 0.5 / beyond
    # The mean of the percentiles, because that of the greatest is compared with it.
    high = orchestrator.mean(f"{prefix}/p90")
    by_greatest = max(0.0, 0.1 * (greatest - high) / harmonic / mean)
    return 0.75 * by_greatest + 0.25 * by_rest


def evaluation_share(
    run: RunMetrics,
    orchestrator: Steady,
    engines: EngineView,
    episodes: Episodes,
    context: RunContext,
) -> float:
    """Share of the engines' work that evaluations take."""
    tokens = _eval_tokens(run)
    happened = len(run.evaluation) > 0 or engines.eval_share > 0
    if not happened:
        return 0.0
    if engines.eval_share == engines.eval_share:
        return engines.eval_share
    if context.eval_episodes_per_step == context.eval_episodes_per_step and tokens > 0:
        rollouts = orchestrator.mean("progress/rollouts")
        train = rollouts * episodes.tokens
        evaluation = context.eval_episodes_per_step * tokens
        if train > 0:
            return evaluation / (evaluation + train)
    return nan


def _eval_tokens(run: RunMetrics) -> float:
    names = [
        name
        for name in run.evaluation.names
        if name.endswith("/num_output_tokens/mean") and "/all/" in name
    ]
    # The episode's own, not those of each agent.
    shortest = min((name.count("/") for name in names), default=0)
    own = [name for name in names if name.count("/") == shortest]
    values = [weighted_mean(run.evaluation.column(name)) for name in own]
    return weighted_mean(values) if values else nan


def _greatest(orchestrator: Steady, name: str) -> float:
    """The greatest of the agents' usual values."""
    values = (median(orchestrator.values(f"{prefix}/{name}")) for prefix in agents(orchestrator))
    return max((value for value in values if value == value), default=nan)


def _eval_interval(run: RunMetrics) -> float:
    steps = sorted(set(run.evaluation.steps))
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    return median(gaps) if gaps else nan


def _stale_room(orchestrator: Steady, context: RunContext) -> float:
    age = orchestrator.mean("off_policy/in_flight/mean")
    if age == age and context.max_off_policy_steps > 0:
        return (age + 1) / context.max_off_policy_steps
    return nan
