"""``python -m pytest_prime_train.run``: launch prime-rl so that it survives rented machines."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

PROGRAM = "python -m pytest_prime_train.run"


def main(argv: Sequence[str] | None = None, program: str = PROGRAM, *, each: bool = False) -> int:
    """Launch what ``argv`` names; without it, what the command line names.

    Args:
        argv: The arguments.
        program: What the command is called.
        each: Only plan the launch of every file on its own, and pass over files that no run is
            launched with.

    Returns:
        The fate of the run, as in ``supervision.exits``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        signal.signal(signal.SIGTERM, _told_too_early)
    try:
        return _run(arguments, program, each)
    except (Exception, KeyboardInterrupt) as error:
        from pytest_prime_train.report.console import complain, explain_exception
        from pytest_prime_train.resilience.outcomes import BackupError

        if isinstance(error, BackupError):
            from pytest_prime_train.supervision.exits import BAD_CHECKPOINTS

            complain(program, str(error))
            return BAD_CHECKPOINTS
        return explain_exception(program, error)


def _run(arguments: list[str], program: str, each: bool) -> int:
    from pytest_prime_train.supervision.options import parse

    try:
        options = parse(arguments, program)
    except SystemExit as asked:  # For help, which has been printed.
        return asked.code if isinstance(asked.code, int) else 0
    from pytest_prime_train.supervision.runner import supervise

    if not each:
        from pytest_prime_train.history.recorder import HistoryRecorder

        return supervise(options, HistoryRecorder())
    plans = [
        options._replace(configs=(path,), dry_run=True)
        for path in options.configs
        if _is_launched(path)
    ]
    return max(map(supervise, plans), default=0)


def _told_too_early(number: int, frame: object) -> None:
    """A notice before anything was launched: there is nothing to save."""
    from pytest_prime_train.supervision.exits import PREEMPTED

    raise SystemExit(PREEMPTED)


def _is_launched(path: str) -> bool:
    """Whether prime-rl is launched with a file, which of all TOML files few are."""
    from pytest_prime_train.checker import check_file
    from pytest_prime_train.findings import UsageError

    try:
        return check_file(path).root in ("rl", "sft")
    except UsageError:
        return True  # What is wrong is said where the file is looked at.


if __name__ == "__main__":
    sys.exit(main())
