"""How much of a token's time is due to the other requests on the engine.

The time of a token of a request is t0 + t1 n with n requests running, and shows as n / rate. Its
saturation is t1 n / (t0 + t1 n): 0 for an engine on which another request costs nothing, 1 for one
at its arithmetic limit. Three estimates are made, each with its error, because each fails where
another does not:

- by an instrument: n is read at one moment while the rate is a mean since the last poll, so a
  plain regression has the same noise on both sides; the number at the poll before is free of it;
- by how the rate moves with the number where that does but flicker: the elasticity of the rate is
  1 - saturation, once it is allowed for that a number at one moment tells only a part of the mean
  since the last poll, which the number's own autocorrelation says how large it is;
- by comparing polls with few requests against the usual ones, which the start of a run provides,
  when the pool is filled bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log, nan, sqrt
from typing import NamedTuple

from pytest_prime_train.profiler.steady import median, percentile

FEWEST_POLLS = 12
POLL_S = 5.0
"""Engines are polled every five seconds."""

LONGEST_GAP_S = 60.0

NARROW = 0.4
"""How far a poll may be from the usual one to be flicker."""

LEAST_MEMORY = 0.15
"""Autocorrelation from poll to poll below which a number tells nothing of the time between."""

GUESSED_MEMORY_ERROR = 0.2
SHORTEST_AWAY_S = 1.5
"""Shorter gaps are hardly ever met by a poll, and tell nothing."""

FEW = 0.8
"""Polls with less than this share of the usual number of requests are those with few."""

BLOCKS = 10
LEAST_STEADINESS = 0.5
LARGEST_ERROR = 0.25
SMALLEST_ERROR = 0.02


class Poll(NamedTuple):
    """Requests running at the poll before, in the mean since then, and tokens a second."""

    before: float
    running: float
    rate: float

    @property
    def after(self) -> float:
        """Requests running at the poll itself, as far as they changed evenly."""
        return 2 * self.running - self.before

    @property
    def token_s(self) -> float:
        """Time of a token of a request."""
        return self.running / self.rate


def _middle(gap: float) -> float:
    """Place of the middle of the last poll's time in a gap, as a share from its end."""
    return POLL_S / 2 / gap if gap > POLL_S else 0.5


class Guess(NamedTuple):
    """A value with its standard error."""

    value: float
    error: float


def saturation(
    times: Sequence[float],
    running: Sequence[float],
    rate: Sequence[float],
    away_s: float = nan,
) -> float:
    """Estimate the saturation at the usual number of requests; NaN where the polls do not tell.

    Args:
        times: When each poll was, in seconds; NaN for one to leave out.
        running: Requests running, poll by poll.
        rate: Tokens a second since the poll before.
        away_s: How long a request's place is empty until its episode's next one, or that of the
            next episode, has taken it; NaN where that is not known.
    """
    seen = [
        (moment, n, r)
        for moment, n, r in zip(times, running, rate, strict=True)
        if n == n and r == r and moment == moment
    ]
    # A long history is thinned: what was between two polls is then taken from their slope.
    polls = [
        Poll(before, n - (n - before) * _middle(later - earlier), r)
        for (earlier, before, _), (later, n, r) in pairwise(seen)
        if before > 0 and n > 0 and r > 0 and not later - earlier > LONGEST_GAP_S
    ]
    if len(polls) < FEWEST_POLLS:
        polls = [Poll(n, n, r) for _, n, r in seen if n > 0 and r > 0]
    if len(polls) < FEWEST_POLLS:
        return nan
    guesses = [by_instrument(polls), by_flicker(seen, away_s), by_few(polls)]
    sure = [guess for guess in guesses if guess.error < LARGEST_ERROR]
    if not sure:
        return nan
    weights = [1 / max(guess.error, SMALLEST_ERROR) ** 2 for guess in sure]
    value = sum(g.value * w for g, w in zip(sure, weights, strict=True)) / sum(weights)
    return min(1.0, max(0.0, value))


def by_instrument(polls: Sequence[Poll]) -> Guess:
    """By n = t0 r + t1 n r, with the number at the poll before as instrument."""
    if _steadiness(polls) < LEAST_STEADINESS:
        return Guess(nan, float("inf"))
    whole = _solve(polls)
    size = len(polls)
    parts = [
        _solve([*polls[: k * size // BLOCKS], *polls[(k + 1) * size // BLOCKS :]])
        for k in range(BLOCKS)
    ]
    return Guess(whole, _jackknife(parts))


def _solve(polls: Sequence[Poll]) -> float:
    n = r = nr = zn = zr = znr = 0.0
    for before, running, rate in polls:
        n += running
        r += rate
        nr += running * rate
        zn += before * running
        zr += before * rate
        znr += before * running * rate
    determinant = r * znr - nr * zr
    if determinant == 0:
        return nan
    alone = (n * znr - nr * zn) / determinant
    slope = (r * zn - zr * n) / determinant
    shared = slope * n / len(polls)
    return shared / (alone + shared) if alone + shared > 0 else nan


def _jackknife(parts: Sequence[float]) -> float:
    if any(part != part for part in parts):
        return float("inf")
    mean = sum(parts) / len(parts)
    return sqrt((len(parts) - 1) / len(parts) * sum((part - mean) ** 2 for part in parts))


def _steadiness(polls: Sequence[Poll]) -> float:
    """Correlation of the number of requests with itself two polls before: near 0 where it does
    but flicker, and then the instrument has a part in what it is to explain.
    """
    numbers = [poll.before for poll in polls]
    mean = sum(numbers) / len(numbers)
    variance = sum((n - mean) ** 2 for n in numbers)
    if variance == 0:
        return 0.0
    shifted = sum((a - mean) * (b - mean) for a, b in zip(numbers, numbers[2:], strict=False))
    return shifted / variance


def by_flicker(seen: Sequence[tuple[float, float, float]], away_s: float = nan) -> Guess:
    """By the covariance of rate and number of the same poll.

    Args:
        seen: Time, number of requests and rate of each poll.
        away_s: As of ``saturation``.
    """
    usual_n, usual_r = median([n for _, n, _ in seen]), median([r for *_, r in seen])
    # Starts, pauses and idle times are other stories.
    kept = [
        one
        for one in seen
        if abs(one[1] - usual_n) <= NARROW * usual_n and abs(one[2] - usual_r) <= NARROW * usual_r
    ]
    if len(kept) < 10 * FEWEST_POLLS or len(kept) < 0.6 * len(seen):
        return Guess(nan, float("inf"))
    size = len(kept)
    whole = _elasticity(kept, away_s)
    parts = [
        _elasticity([*kept[: k * size // BLOCKS], *kept[(k + 1) * size // BLOCKS :]], away_s)
        for k in range(BLOCKS)
    ]
    error = _jackknife(parts)
    if _memory(kept) < LEAST_MEMORY:
        error = sqrt(error**2 + (GUESSED_MEMORY_ERROR * whole) ** 2)
    return Guess(1 - whole, error)


def _elasticity(seen: Sequence[tuple[float, float, float]], away_s: float) -> float:
    size = len(seen)
    mean_n = sum(n for _, n, _ in seen) / size
    mean_r = sum(r for *_, r in seen) / size
    variance = sum((n - mean_n) ** 2 for _, n, _ in seen) / size
    covariance = sum((n - mean_n) * (r - mean_r) for _, n, r in seen) / size
    if variance <= 0 or mean_r <= 0:
        return nan
    after = _memory(seen)
    if after >= LEAST_MEMORY:
        memory, known = POLL_S / -log(after), 1.0
    elif away_s > SHORTEST_AWAY_S:
        # Too short for the polls to show: the number dips for as long as a place is empty, which
        # is between always the same time and an exponential one.
        memory, known = away_s, 0.8
    else:
        return nan
    # What one moment tells of the mean over the time between two polls.
    told = known * memory / POLL_S * (1 - exp(-POLL_S / memory))
    return covariance / (variance * told) * mean_n / mean_r


def _memory(seen: Sequence[tuple[float, float, float]]) -> float:
    """Autocorrelation of the number from one poll to the next, taken as exponential over longer
    and shorter times; 0 where too few polls are beside each other.
    """
    mean = sum(n for _, n, _ in seen) / len(seen)
    variance = sum((n - mean) ** 2 for _, n, _ in seen) / len(seen)
    pairs = [
        (one[1] - mean) * (other[1] - mean)
        for one, other in pairwise(seen)
        if not other[0] - one[0] > 1.5 * POLL_S
    ]
    if variance <= 0 or len(pairs) < FEWEST_POLLS:
        return 0.0
    return min(0.98, sum(pairs) / len(pairs) / variance)


def by_few(polls: Sequence[Poll]) -> Guess:
    """By medians over polls with few and with the usual number of requests.

    Medians, because the polls in which a weight update pauses the engines are slow for another
    reason.
    """
    usual = median([poll.running for poll in polls])
    # Few at both ends of the time: a number that but dips at a poll tells nothing of the rate.
    few = [
        poll
        for poll in polls
        if poll.running < FEW * usual and poll.before < usual * FEW and poll.after < usual
    ]
    many = [poll for poll in polls if poll.running >= FEW * usual]
    if not few or len(many) < 3:
        return Guess(nan, float("inf"))
    spread = _spread(many)
    spread_few = _spread(few) if len(few) >= 5 else spread
    few_n, many_n = _mean_n(few), _mean_n(many)
    few_s, many_s = (median([poll.token_s for poll in group]) for group in (few, many))
    factor = many_n / ((many_n - few_n) * many_s)
    error = 1.25 * sqrt(spread_few**2 / len(few) + spread**2 / len(many))
    return Guess((many_s - few_s) * factor, error * factor)


def _spread(polls: Sequence[Poll]) -> float:
    """Standard deviation of the time of a token, by percentiles."""
    times = [poll.token_s for poll in polls]
    return (percentile(times, 0.84) - percentile(times, 0.16)) / 2


def _mean_n(polls: Sequence[Poll]) -> float:
    return sum(poll.running for poll in polls) / len(polls)
