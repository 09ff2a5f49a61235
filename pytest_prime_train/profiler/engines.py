"""What the gauges say of engines, cap and event loop.

Only W&B gets them (or a scrape of the engines themselves), so each may be missing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from pytest_prime_train.metrics.table import Gauges
from pytest_prime_train.profiler.saturation import POLL_S, saturation
from pytest_prime_train.profiler.steady import median, percentile, weighted_mean
from pytest_prime_train.profiler.thresholds import Thresholds

LEAST_KEPT = 0.4
"""Share of the polls that has to be left without a weight update in it."""

_RUNNING = ("num_requests_running", "running_requests")
_WAITING = ("num_requests_waiting", "waiting_requests")
_WAITING_CAPACITY = ("num_requests_waiting_reason_capacity",)
_RATE = ("generation_tokens_total:rate", "generation_tokens:rate", "generation_throughput")
_KV = ("kv_cache_usage_perc", "gpu_cache_usage_perc", "kv_cache_usage_mean", "kv_cache_usage")
_PREEMPTIONS = ("num_preemptions_total:rate", "num_preemptions:rate")


@dataclass(frozen=True, slots=True)
class EngineView:
    """What is known of the engines; NaN where nothing is.

    Attributes:
        polls: Polls of the engines in the steady window.
        running: Mean of requests that are running.
        waiting: Mean of requests that wait for the engines, against those running.
        kv: Mean use of the KV cache, 0 to 1.
        kv_high: Its 90th percentile.
        preemptions: Mean rate of preemptions a second.
        saturation: Share of the time of a token that is due to other requests on the engine.
        busy: Mean of the generation rate against its 90th percentile.
        at_cap: Share of the polls in which the dispatcher is at its cap.
        inflight: Mean of the episodes in flight.
        cap: Median of the cap.
        ceiling_share: Median of the cap against its highest value.
        eval_share: Share of the episodes in flight that are evaluation's.
        pause_s: Mean time for which a weight update pauses the engines.
        lag_s: Mean over the polls of the event loop's 99th percentile of lag.
    """

    polls: int = 0
    running: float = nan
    waiting: float = nan
    kv: float = nan
    kv_high: float = nan
    preemptions: float = nan
    saturation: float = nan
    busy: float = nan
    at_cap: float = nan
    inflight: float = nan
    cap: float = nan
    ceiling_share: float = nan
    eval_share: float = nan
    pause_s: float = nan
    lag_s: float = nan

    def is_full(self, thresholds: Thresholds) -> bool:
        """Whether requests wait for room in the KV cache, or the cap is held down for it."""
        return (
            self.waiting > thresholds.queued
            or self.preemptions > 0.02
            or self.kv > thresholds.kv_full
            or (self.ceiling_share < 0.9 and self.kv > 0.5)
        )


class _Series:
    """Gauges within a window, by any of their names."""

    def __init__(self, gauges: Gauges, window: tuple[float, float]) -> None:
        self.gauges = gauges
        low, high = window
        self.inside = [
            index
            for index, moment in enumerate(gauges.times)
            if moment != moment or low <= moment <= high
        ]
        if not self.inside:
            # The history has a clock of its own, or the steps are of another launch.
            self.inside = list(range(len(gauges)))
        self.all = range(len(gauges))

    def engine(self, names: tuple[str, ...], endings: tuple[str, ...]) -> array[float] | None:
        """The first of the series that the engines have."""
        for scope in ("agg", "decode"):
            for name in names:
                for ending in endings:
                    full = f"inference/{scope}/{name}{ending}"
                    if self.gauges.has(full):
                        return self.gauges.column(full)
        return None

    def steady(self, column: array[float] | None) -> array[float]:
        """The values in the window."""
        if column is None:
            return array("d")
        return array("d", [column[i] for i in self.inside if column[i] == column[i]])

    def named(self, *names: str) -> array[float]:
        """The values in the window of the first of these that is there."""
        for name in names:
            if self.gauges.has(name):
                return self.steady(self.gauges.column(name))
        return array("d")


_SUMS = ("/sum", "", "/mean", "/median", "/max")
_MEANS = ("/mean", "", "/median", "/max")


def view_engines(
    gauges: Gauges,
    window: tuple[float, float],
    max_inflight: float = nan,
    updates: Sequence[tuple[float, float]] = (),
    away_s: float = nan,
) -> EngineView:
    """Work out what the gauges say.

    Args:
        gauges: All of the run.
        window: When its steady steps were, in seconds since the epoch.
        max_inflight: The ceiling of the cap by the config; NaN where that is not known.
        updates: From when to when each broadcast of weights took, in seconds since the epoch.
        away_s: How long an episode is not with the engines from one request to the next.
    """
    series = _Series(gauges, window)
    running = series.engine(_RUNNING, _SUMS)
    rate = series.engine(_RATE, _SUMS)
    waiting = series.engine(_WAITING_CAPACITY, _SUMS) or series.engine(_WAITING, _SUMS)
    steady_running = series.steady(running)
    mean_running = weighted_mean(steady_running)
    mean_waiting = weighted_mean(series.steady(waiting))
    kv = series.steady(series.engine(_KV, _MEANS))
    rates = series.steady(rate)
    train = series.named("dispatcher/inflight/train", "dispatcher/inflight_train")
    evaluation = series.named("dispatcher/inflight/eval", "dispatcher/inflight_eval")
    cap = series.named("concurrency/max_inflight", "dispatcher/max_inflight")
    mean_train, mean_eval = weighted_mean(train), weighted_mean(evaluation)
    if mean_eval != mean_eval:
        mean_eval = 0.0
    ceiling = max_inflight if max_inflight == max_inflight else max(cap, default=nan)
    high = percentile(rates, 0.9)
    pause = weighted_mean(series.named("watcher/last_update_weights_time"))
    return EngineView(
        polls=len(steady_running),
        running=mean_running,
        waiting=mean_waiting / mean_running if mean_running > 0 else nan,
        kv=weighted_mean(kv),
        kv_high=percentile(kv, 0.9),
        preemptions=weighted_mean(series.steady(series.engine(_PREEMPTIONS, _SUMS))),
        saturation=(
            nan
            if running is None or rate is None
            else saturation(_undisturbed(gauges.times, updates, pause), running, rate, away_s)
        ),
        busy=weighted_mean(rates) / high if high > 0 else nan,
        at_cap=_at_cap(gauges, series.inside, max_inflight),
        inflight=mean_train + mean_eval,
        cap=median(cap),
        ceiling_share=median(cap) / ceiling if ceiling > 0 else nan,
        eval_share=mean_eval / (mean_train + mean_eval) if mean_train + mean_eval > 0 else nan,
        pause_s=pause,
        lag_s=weighted_mean(
            series.named("event_loop_lag/p99", "event_loop_lag/p90", "event_loop_lag/mean")
        ),
    )


def _undisturbed(
    times: array[float], updates: Sequence[tuple[float, float]], pause: float
) -> array[float]:
    """The times of polls, with NaN for those whose time has a weight update in it.

    With so many updates that few polls are left, all stay.
    """
    if not updates:
        return times
    length = pause if pause == pause else 0.0
    starts = [start for start, _ in updates]
    left = array("d", times)
    for index, moment in enumerate(times):
        place = bisect_right(starts, moment) - 1
        # A poll tells of the time since the one before.
        if place >= 0 and moment <= updates[place][1] + length + 2 * POLL_S:
            left[index] = nan
    known = sum(moment == moment for moment in times)
    kept = sum(moment == moment for moment in left)
    return left if kept >= LEAST_KEPT * known else times


def _at_cap(gauges: Gauges, inside: list[int], max_inflight: float) -> float:
    train = gauges.column("dispatcher/inflight/train")
    evaluation = gauges.column("dispatcher/inflight/eval")
    cap = gauges.column("concurrency/max_inflight")
    at = polls = 0
    for index in inside:
        limit = cap[index] if cap[index] == cap[index] else max_inflight
        inflight = train[index] + (
            evaluation[index] if evaluation[index] == evaluation[index] else 0
        )
        if limit == limit and inflight == inflight:
            polls += 1
            at += inflight >= 0.95 * limit
    if polls:
        return at / polls
    # The two may be in rows of their own.
    limit = median(cap) if median(cap) == median(cap) else max_inflight
    known = [train[index] for index in inside if train[index] == train[index]]
    others = weighted_mean([evaluation[index] for index in inside])
    least = 0.95 * limit - (others if others == others else 0.0)
    return sum(value >= least for value in known) / len(known) if known and limit > 0 else nan
