"""How a supervised run can end: one code for each end that calls for another answer.

137 is never returned, so that it means what it means everywhere: killed from outside. 75 is the
code of ``sysexits.h`` for "try again later": schedulers that requeue or recover by exit code
should do so for it alone.
"""

from __future__ import annotations

from typing import NamedTuple

FINISHED = 0
PREFLIGHT = 1
USAGE = 2
BUSY = 3
CONFIG_ERROR = 10
OUT_OF_MEMORY = 11
DISK_FULL = 12
BAD_CHECKPOINTS = 13
GAVE_UP = 14
CRASH_LOOP = 15
HUNG = 16
DATA_ERROR = 17
UNHEALTHY = 18
PREEMPTED = 75
INTERRUPTED = 130


class Exit(NamedTuple):
    """One way to end.

    Attributes:
        code: What the process returns.
        name: In a word.
        meaning: What happened, in one sentence.
        retry: Whether starting the same command again, as it is, can help.
    """

    code: int
    name: str
    meaning: str
    retry: bool


EXITS = (
    Exit(FINISHED, "finished", "The run reached its last step.", False),
    Exit(PREFLIGHT, "preflight", "A check before the launch found an error.", False),
    Exit(USAGE, "usage", "Wrong use, or a file that cannot be opened.", False),
    Exit(BUSY, "busy", "Another runner is at work on the same run.", False),
    Exit(CONFIG_ERROR, "config", "prime-rl refused the config or its run directory.", False),
    Exit(OUT_OF_MEMORY, "out-of-memory", "A GPU or the machine ran out of memory.", False),
    Exit(DISK_FULL, "disk-full", "A disk is full.", False),
    Exit(BAD_CHECKPOINTS, "bad-checkpoint", "No checkpoint that can be resumed is left.", False),
    Exit(GAVE_UP, "gave-up", "It failed too often without getting any further.", True),
    Exit(CRASH_LOOP, "crash-loop", "It failed at the same step in the same way again.", False),
    Exit(HUNG, "hung", "It hung too often without getting any further.", True),
    Exit(DATA_ERROR, "data", "The environments gave no batch that can be trained on.", False),
    Exit(UNHEALTHY, "unhealthy", "The health watch stopped it.", False),
    Exit(PREEMPTED, "preempted", "The machine is taken away; start it again elsewhere.", True),
    Exit(INTERRUPTED, "interrupted", "Ctrl-C ended it.", False),
)
"""Every way to end, by code."""


def exit_of(code: int) -> Exit:
    """The end that a code stands for.

    Raises:
        KeyError: No end has it.
    """
    return {one.code: one for one in EXITS}[code]
