"""``prime-rl-dry-run``: what launching the configs of a push would do, without doing it.

For the stages manual and pre-push: it looks at the disk and the checkpoints of this machine.
"""

from __future__ import annotations

import sys

PROGRAM = "prime-rl-dry-run"


def main(argv: list[str] | None = None) -> int:
    """Plan the launch of each config named in ``argv``; without it, on the command line.

    Returns:
        0 where every one of them could be launched, 1 where a check found an error, 2 for wrong
        use or for a path that cannot be opened.
    """
    from pytest_prime_train.run import main as run

    arguments = sys.argv[1:] if argv is None else argv
    return run(arguments, PROGRAM, each=True) if arguments else 0
