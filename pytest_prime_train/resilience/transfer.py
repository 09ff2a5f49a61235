"""Doing many things at once with a bound on how many, and telling how far they are."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TextIO, TypeVar

from pytest_prime_train.resilience.outcomes import Stopped

T = TypeVar("T")

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_LINES = 0.1
_BAR_CHARACTERS = 24
_WIDEST = 100


def each(
    items: Iterable[T],
    work: Callable[[T], None],
    workers: int,
    stop: threading.Event | None = None,
) -> None:
    """Call ``work`` for every item, by several threads, and return when all is done.

    Items are taken from the iterable one by one, as threads become free. After the first error no
    further item is taken, and that error is raised once what was begun has ended. Ctrl-C and
    ``stop`` do not wait for that.

    Raises:
        Stopped: ``stop`` was set.
    """
    source = iter(items)
    lock = threading.Lock()
    errors: list[BaseException] = []

    def run() -> None:
        while True:
            with lock:
                if errors:
                    return
                try:
                    item = next(source)
                except StopIteration:
                    return
                except BaseException as error:
                    errors.append(error)
                    return
            try:
                work(item)
            except BaseException as error:
                with lock:
                    errors.append(error)
                return

    # Threads that Python waits for at its end would keep Ctrl-C from ending a stuck transfer.
    threads = [threading.Thread(target=run, daemon=True) for _ in range(max(1, workers))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(_SECONDS_BETWEEN_LOOKS)
                require_going(stop)
    except BaseException as error:
        with lock:
            errors.append(error)
        raise
    if errors:
        raise errors[0]
    require_going(stop)


def require_going(stop: threading.Event | None) -> None:
    """Make sure that nobody asked for an end.

    Raises:
        Stopped: Somebody did.
    """
    if stop is not None and stop.is_set():
        raise Stopped("it was stopped before its end; the same command goes on where it was")


class Progress:
    """How far a transfer is; shown as one line that is written over, on terminals only.

    Args:
        stream: Where to show it; ``None`` shows nothing.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        self._lock = threading.Lock()
        self._what = ""
        self._total = self._done = 0
        self._started = self._shown = 0.0

    def begin(self, what: str, total: int) -> None:
        """Start over.

        Args:
            what: What is transferred, in a few words.
            total: Its bytes.
        """
        with self._lock:
            self._what, self._total, self._done = what, total, 0
            self._started, self._shown = time.monotonic(), 0.0
            self._show()

    def add(self, count: int) -> None:
        """So many bytes more are done."""
        with self._lock:
            self._done += count
            self._show()

    def end(self) -> None:
        """Remove the line."""
        if self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _show(self) -> None:
        now = time.monotonic()
        if self._stream is None or now - self._shown < _SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        share = min(1.0, self._done / self._total) if self._total else 1.0
        bar = "█" * round(_BAR_CHARACTERS * share)
        speed = self._done / max(now - self._started, 1e-3)
        line = (
            f"{self._what} {bar:<{_BAR_CHARACTERS}} {share:4.0%}  "
            f"{show_bytes(self._done)} of {show_bytes(self._total)}  {show_bytes(round(speed))}/s"
        )
        self._stream.write(f"\r\x1b[K{line[:_WIDEST]}")
        self._stream.flush()


def show_bytes(count: int) -> str:
    """A number of bytes as people read it.

    >>> show_bytes(999), show_bytes(1536), show_bytes(5 << 30)
    ('999 B', '1.5 KiB', '5.0 GiB')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def progress_on_terminal() -> Progress:
    """Progress on standard error if that is a terminal."""
    return Progress(sys.stderr)
