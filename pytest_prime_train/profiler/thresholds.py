"""The numbers that judgements turn on, each with what it is for; all are options."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where judgements turn. Shares are of 1, times in seconds.

    Attributes:
        warm_up: First steps of every attempt that do not count.
        min_steps: Steady steps below which nothing is said.
        waits: Share of a step from which on the trainer counts as waiting for its batch.
        resource: How much faster, as a share of its time, a resource is when its lever is pulled.
        habit: The same of a habit.
        smallest_gain: Gain from which on a stage is worth naming.
        balanced_factor: Two halves whose best gains are nearer than this are balanced.
        near: Share of the greatest gain from which on a stage contributes.
        tie: Share of the greatest gain from which on a second one is too close to tell apart.
        small: Gain below which such a tie is left undetermined.
        drift: Difference between the halves of a run, of means, that makes it unstable.
        drift_median: The same of medians.
        tail: Excess over the 90th percentile that is a long tail.
        kv_full: Use of the KV cache at which engines are full.
        queued: Waiting requests against running ones at which engines are full.
        at_cap: Share of the polls at the cap from which on the cap binds.
        long_environment: Share of an episode outside the model from which on only it counts.
        lag: Share of an episode that the event loop's lag may be.
        idle_warning: Share of a half's time from which on its waiting is warned of.
    """

    warm_up: int = 2
    min_steps: int = 5
    waits: float = 0.03
    resource: float = 0.2
    habit: float = 0.5
    smallest_gain: float = 0.04
    balanced_factor: float = 2.0
    near: float = 0.5
    tie: float = 0.85
    small: float = 0.12
    drift: float = 0.3
    drift_median: float = 0.2
    tail: float = 0.12
    kv_full: float = 0.9
    queued: float = 0.1
    at_cap: float = 0.5
    long_environment: float = 0.7
    lag: float = 0.1
    idle_warning: float = 0.4


DEFAULTS = Thresholds()
"""The thresholds as they are unless somebody says otherwise."""
