"""Health and profile of a run while it goes on, looked at now and then."""

from __future__ import annotations

import time
from pathlib import Path

from pytest_prime_train.health.watch import Alert, Watch
from pytest_prime_train.profiler.live import LiveProfile


class Monitor:
    """Follows the metrics of a run.

    Args:
        run_dir: Its directory, which need not be there yet.
        every_s: Seconds between two looks at least.
    """

    def __init__(self, run_dir: Path, every_s: float) -> None:
        self._every_s = every_s
        self._watch = Watch(run_dir)
        self._profile = LiveProfile(run_dir)
        self._watch.poll()  # What was told before is no news.
        self._next = 0.0
        self._warning = ""

    def poll(self) -> tuple[list[Alert], str]:
        """What has come to be wrong, and a warning where GPUs have come to idle."""
        now = time.monotonic()
        if now < self._next:
            return [], ""
        self._next = now + self._every_s
        self._profile.poll()
        warning = self._profile.warning()
        news = warning if warning != self._warning else ""
        self._warning = warning
        return self._watch.poll(), news

    def line(self) -> str:
        """The profile in one line; empty where there is nothing to say."""
        return self._profile.line()
