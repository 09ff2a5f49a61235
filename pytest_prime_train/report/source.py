"""One line out of a text, found without splitting the whole."""

from __future__ import annotations

from typing import NamedTuple


class SourceLine(NamedTuple):
    """A line without its end, and the text before it."""

    before: str
    line: str


def find_line(text: str, number: int) -> SourceLine | None:
    """Line ``number``, counted from 1; ``None`` where the text has fewer. Only ``\\n`` ends one."""
    start = 0
    for _ in range(number - 1):
        start = text.find("\n", start) + 1
        if start == 0:
            return None
    end = text.find("\n", start)
    line = text[start : len(text) if end < 0 else end]
    return SourceLine(text[:start], line.removesuffix("\r"))
