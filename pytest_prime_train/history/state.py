"""What the runs of this machine are doing."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_prime_train.history.entries import Entry

State: TypeAlias = Literal["running", "died", "saved", "ended"]

_SAME_START_S = 1.0


def state_of(entry: Entry) -> State:
    """Whether a run still has its runner; ``died`` where that ended without a word."""
    if entry.kind != "launched":
        return "saved"
    if entry.ended is not None:
        return "ended"
    return "running" if _lives(entry) else "died"


def _lives(entry: Entry) -> bool:
    import psutil

    if entry.pid is None or entry.pid_started is None:
        return False
    try:
        process = psutil.Process(entry.pid)
        return (
            abs(process.create_time() - entry.pid_started) < _SAME_START_S
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def in_words(entry: Entry) -> str:
    """The state with the outcome."""
    state = state_of(entry)
    if state == "ended":
        return entry.outcome or "ended"
    if state == "died":
        return "died (its runner ended without a word; start it again to go on)"
    return state
