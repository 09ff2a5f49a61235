"""What a run has written about itself: one reader, for the profiler and for the health watch.

``read_run`` reads a whole run into columns, ``RunTail`` follows a live one row by row.
Both understand ``metrics.jsonl`` of prime-rl v0.6 to main, whose two writers (trainer and
orchestrator) share one file, leave a torn last line when they are killed, and repeat steps after
a resume.
"""

from __future__ import annotations

from pytest_prime_train.metrics.rows import Row, RowParser, Source
from pytest_prime_train.metrics.run import RunMetrics, read_run
from pytest_prime_train.metrics.table import Table
from pytest_prime_train.metrics.tail import RunTail, Tail

__all__ = ["Row", "RowParser", "RunMetrics", "RunTail", "Source", "Table", "Tail", "read_run"]
