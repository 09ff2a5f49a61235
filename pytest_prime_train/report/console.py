"""Writing to a terminal, a pipe or a log so that nothing a file contains can do harm or crash."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from pytest_prime_train.findings import EXIT_USAGE

EXIT_INTERRUPTED = 130
"""What shells report for a program that Ctrl-C ended."""

DEBUG_VARIABLE = "PRIME_TRAIN_DEBUG"
"""Environment variable that shows the traceback of an internal error."""


def use_color(stream: TextIO | None) -> bool:
    """Whether to colour what goes to ``stream``: a terminal, and nobody asked for none."""
    if stream is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def write(stream: TextIO | None, text: str) -> None:
    """Write and flush; characters that the stream cannot encode appear as escapes.

    A reader that went away (``| head``) is no error: what is left is dropped.

    Raises:
        OSError: The stream cannot be written for another reason, such as a full disk.
    """
    if stream is None:  # the program was started with this stream closed
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except OSError as error:
        # What is still in the buffer would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise


def clean(text: str) -> str:
    """The text on one line, with every character that is not printable as an escape.

    >>> clean("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return text if text.isprintable() else "".join(map(escape, text))


def escape(character: str) -> str:
    """A printable character as it is, any other as Python would write it in a string."""
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def complain(program: str, sentence: str) -> None:
    """Write one line about wrong use to standard error."""
    write(sys.stderr, f"{program}: {clean(sentence)}\n")


def explain_exception(program: str, error: BaseException) -> int:
    """Turn whatever ended a program into at most one line, and return the exit code for it."""
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    from pytest_prime_train.findings import UsageError

    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, UsageError):
        complain(program, str(error))
    elif isinstance(error, OSError):
        place = f" {error.filename!r}" if error.filename else ""
        complain(program, f"cannot read or write{place}: {error.strerror or error}")
    else:
        complain(
            program,
            f"internal error, {type(error).__name__}: {error} (please report it with the output of"
            f" {DEBUG_VARIABLE}=1)",
        )
    return EXIT_USAGE
