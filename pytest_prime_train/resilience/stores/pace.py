"""A limit on bytes per second that all threads of a store share."""

from __future__ import annotations

import threading
import time


class Pace:
    """Lets bytes through at a steady rate.

    Args:
        bytes_per_s: The rate; 0 lets everything through at once.
    """

    def __init__(self, bytes_per_s: int) -> None:
        self.bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, count: int) -> None:
        """Wait until this many more bytes may pass."""
        if not self.bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + count / self.bytes_per_s
        if start > now:
            time.sleep(start - now)
