"""The parent of a launch, which outlives the runner.

    python nanny.py COMMAND...

A runner that is killed cannot write down what it has just started. So what it starts is this, and
it writes that down before it lets it go on: everything that is launched from here on is below a
process that is known, also when those in between die, because orphans below it become its own
children. It ends when nothing is below it any more, or, with a runner that lives, when the command
has ended: then the runner sees to the rest.

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
_SIGNALLED = 128
_CANNOT_START = 127


def main() -> int:
    """Wait for leave, run the command, and stay for what it leaves behind."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    runner = os.getppid()
    if os.read(0, 1) != b"g":
        return _CANNOT_START  # The runner is gone.
    try:
        process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{sys.argv[1]}: {error.strerror}", flush=True)
        return _CANNOT_START
    code = 0
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return code
        if pid == process.pid:
            code = os.waitstatus_to_exitcode(status)
            code = _SIGNALLED - code if code < 0 else code
            if os.getppid() == runner:
                return code


if __name__ == "__main__":
    sys.exit(main())
