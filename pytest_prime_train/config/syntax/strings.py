"""Characters that cannot be seen, escapes that there are not, strings that do not end."""

from __future__ import annotations

import re
import unicodedata

from pytest_prime_train.config.syntax.stop import Stop, SyntaxProblem


def is_odd(character: str) -> bool:
    """Whether a character cannot be seen, and is none that TOML allows there."""
    category = unicodedata.category(character) if character else ""
    return category in ("Cc", "Cf", "Zl", "Zp", "Zs") and character not in " \t\n"


def odd_character(stop: Stop) -> SyntaxProblem:
    """What is wrong with a character that cannot be seen."""
    character = stop.character
    start = stop.offset
    if character == "\r":
        return stop.problem(
            start,
            start + 1,
            "A carriage return stands here without a line feed, which is no end of a line.",
            "Save the file with the line ends of Linux (LF) or Windows (CRLF).",
        )
    code = f"{ord(character):04X}"
    if unicodedata.category(character) == "Cc":
        name = " (NUL)" if character == "\0" else ""
        return stop.problem(
            start,
            start + 1,
            f"The control character U+{code}{name} cannot be seen and is not allowed here.",
            f"Delete it; a text in double quotes may have it as `\\u{code}`.",
        )
    name = unicodedata.name(character, "unnamed").lower()
    return stop.problem(
        start,
        start + 1,
        f"The invisible character U+{code} ({name}) is not allowed here.",
        "Delete it, or write a plain space if one is meant.",
    )


def bad_escape(stop: Stop) -> SyntaxProblem:
    """What is wrong with a backslash in a text."""
    start = stop.text.rfind("\\", 0, stop.offset)
    length = {"u": 6, "U": 10, "x": 4}.get(stop.text[start + 1 : start + 2], 2)
    shown = re.match(r"\\(?:[uUx][0-9A-Fa-f]*|[^\s]?)", stop.text[start : start + length])
    sequence = shown[0] if shown else "\\"
    return stop.problem(
        start,
        start + len(sequence),
        f"`{sequence}` means nothing in a text in double quotes.",
        "Write `\\\\` for a backslash, or put the text in single quotes, where it stands for "
        "itself.",
    )


def unclosed_string(stop: Stop) -> SyntaxProblem:
    """Where a text begins whose last quote is missing."""
    text, scanner = stop.text, stop.scanner
    start = scanner.value
    if start < scanner.end or text[start : start + 1] not in ("'", '"'):
        # Not a value but a part of a key.
        begin = max(scanner.statement, scanner.end)
        match = re.compile("[\"']").search(text, begin)
        start = match.start() if match else stop.offset
    quote = text[start : start + 1]
    if text.startswith(quote * 3, start):
        return stop.problem(
            start,
            start + 3,
            f"The text that opens here with `{quote * 3}` is never closed.",
            f"Write `{quote * 3}` where the text ends.",
        )
    escaped = quote == '"' and '\\"' in stop.line_from(start)
    recommendation = f"Write `{quote}` where the text ends"
    if escaped:
        recommendation += '; `\\"` is a quote inside the text and does not end it'
    return stop.problem(
        start,
        start + len(stop.line_from(start).rstrip()),
        "The text that opens here has no closing quote on its line.",
        f"{recommendation}.",
    )
