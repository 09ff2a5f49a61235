"""The parent of a launch, which outlives the runner.

    python nanny.py DESCRIPTOR COMMAND...

A runner that is killed cannot write down what it has just started. So what it starts is this, and
it writes that down before it lets it go on: everything that is launched from here on is below a
process that is known, also when those in between die, because orphans below it become its own
children. When the command ends it writes its exit code to the descriptor, and it ends itself when
nothing is below it any more, for which the runner sees to the rest, or the next one does.

Run as a file, with nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress

_PR_SET_CHILD_SUBREAPER = 36
_CANNOT_START = 127


def main() -> int:
    """Wait for leave, run the command, and stay for what it leaves behind."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    descriptor, command = int(sys.argv[1]), sys.argv[2:]
    if os.read(0, 1) != b"g":
        return _CANNOT_START  # The runner is gone.
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", flush=True)
        return _tell(descriptor, _CANNOT_START)
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return 0
        if pid == process.pid:
            _tell(descriptor, os.waitstatus_to_exitcode(status))


def _tell(descriptor: int, code: int) -> int:
    """Tell the runner, if there still is one, the code of the command: negative for a signal."""
    with suppress(OSError):
        os.write(descriptor, str(code).encode())
    return code


if __name__ == "__main__":
    sys.exit(main())
