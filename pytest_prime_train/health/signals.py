"""The quantities that are watched, under the names that prime-rl has for them.

Names of v0.6 to main: https://github.com/PrimeIntellect-ai/prime-rl (trainer/rl/train.py,
orchestrator/metrics.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

Writer: TypeAlias = Literal["trainer", "orchestrator"]


class Signal(NamedTuple):
    """One quantity.

    Attributes:
        name: What it is called here.
        writer: Which process writes it.
        pattern: The names of its metric; of several the shortest is taken, which is the mean over
            all environments.
    """

    name: str
    writer: Writer
    pattern: re.Pattern[str]


def _signal(name: str, writer: Writer, pattern: str) -> Signal:
    return Signal(name, writer, re.compile(pattern))


SIGNALS: Final = (
    _signal("loss", "trainer", r"loss/mean$"),
    _signal("nan-losses", "trainer", r"loss/nan_count$"),
    _signal("gradient", "trainer", r"optim/grad_norm$"),
    _signal("entropy", "trainer", r"entropy/(?:all/)?mean$"),
    _signal("kl", "trainer", r"mismatch_kl/(?:all/)?mean$"),
    _signal("throughput", "trainer", r"perf/throughput$"),
    _signal("reward", "orchestrator", r"(?:train/\w+/all/[^/]+/)?reward/(?:all/)?mean$"),
    _signal("truncated", "orchestrator", r".*\bis_truncated(?:/all)?/mean$"),
    _signal("failed", "orchestrator", r".*\bhas_error(?:/all)?/mean$"),
    _signal("staleness", "orchestrator", r"off_policy/mean$"),
)
WANTED: Final = (
    "loss/", "optim/grad_norm", "entropy/", "mismatch_kl/", "perf/throughput", "reward/", "train/",
    "is_truncated/", "has_error/", "off_policy/", "time/step", "progress/tokens",
)  # fmt: skip
"""Beginnings of the names that are read."""


def named(signal: Signal, names: Iterable[str]) -> str | None:
    """The metric of a signal among the names of a row; ``None`` where it is not there."""
    found = [name for name in names if signal.pattern.match(name)]
    return min(found, key=lambda name: (len(name), name)) if found else None
