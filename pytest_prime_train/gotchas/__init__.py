"""Known ways to lose hours that prime-rl's own validation lets pass; one module per category."""

from __future__ import annotations

from pytest_prime_train.gotchas.registry import Gotcha, all_gotchas, applicable, find, gotcha, run

__all__ = ["Gotcha", "all_gotchas", "applicable", "find", "gotcha", "run"]
