"""What is wrong with a file as a whole: its encoding, its depth, numbers beyond measure."""

from __future__ import annotations

import re

from pytest_prime_train.config.syntax.stop import Stop, SyntaxProblem, problem_at
from pytest_prime_train.findings import format_key

BINARY = (
    "The file holds binary data and is no text at all.",
    "Give a TOML file, or restore this one from a copy.",
)
_MARKS_OF_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SAMPLE = 4096
_TEXT_CONTROLS = "\t\n\f\r\x1b"


def explain_encoding(data: bytes, start: int) -> SyntaxProblem:
    """What is wrong with bytes that are no UTF-8."""
    if data.startswith(_MARKS_OF_UTF_16):
        return SyntaxProblem(
            "The file is saved as UTF-16, and TOML must be UTF-8.",
            *(1, 1),
            "Save the file as UTF-8 without BOM.",
            1,
        )
    if b"\0" in data[:_SAMPLE] or is_binary(data[:_SAMPLE].decode("latin-1"), share=0.05):
        return SyntaxProblem(BINARY[0], 1, 1, BINARY[1], 1)
    line = data.count(b"\n", 0, start) + 1
    column = len(data[data.rfind(b"\n", 0, start) + 1 : start].decode("utf-8")) + 1
    shown = data[start : start + 1].decode("cp1252", "replace")
    guess = f", perhaps a `{shown}` saved as Windows-1252" if shown.isalnum() else ""
    return SyntaxProblem(
        f"The byte 0x{data[start]:02X} is not valid in UTF-8{guess}.",
        *(line, column),
        "Save the file as UTF-8.",
        column + 1,
    )


def is_binary(text: str, share: float = 0.1) -> bool:
    """Whether a text has more control characters than a text would have."""
    sample = text[:_SAMPLE]
    controls = sum(character < " " and character not in _TEXT_CONTROLS for character in sample)
    return controls > max(1, share * len(sample))


# Strings and comments, so that brackets and digits inside them do not count.
_SKIPPED = (
    r'"""(?:[^"\\]++|\\[\s\S]|"{1,2}+(?!"))*+"{3,5}+'
    r"|'''(?:[^']++|'{1,2}+(?!'))*+'{3,5}+"
    r'|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|' + r"'[^'\n]*+'?|#[^\n]*+"
)
_BRACKETS = re.compile(_SKIPPED + r"|(?P<bracket>[\[\]{}])")
_DEEP = 100
_LONG_KEY = re.compile(r"(?:[^\s=\[\].]+\.){200,}+[^\s=\[\].]*")
_WORDS = re.compile(_SKIPPED + r"|(?P<word>[^\s,\[\]{}#=\"']++)")


def explain_depth(text: str) -> SyntaxProblem:
    """What is wrong with a text that is nested deeper than can be read."""
    depth = deepest = opened = place = 0
    for match in _BRACKETS.finditer(text):
        bracket = match["bracket"]
        if bracket is None:
            continue
        if bracket in "[{":
            if depth == 0:
                opened = match.start()
            depth += 1
            if depth > deepest:
                deepest, place = depth, opened
        else:
            depth = max(0, depth - 1)
    if deepest < _DEEP and (long_key := _LONG_KEY.search(text)) is not None:
        return problem_at(
            text,
            *long_key.span(),
            "This key has more parts between dots than can be read.",
            "Write a key with fewer parts.",
        )
    return problem_at(
        text,
        place,
        place + 1,
        f"The brackets that open here are nested {deepest} deep, which is more than can be read.",
        "Write the value with fewer levels of brackets.",
        format_key(Stop(text, place).path()) if deepest else "",
    )


def huge_integer(text: str) -> tuple[int, int] | None:
    """Where an integer stands that has more digits than Python reads; ``None`` for none."""
    for match in _WORDS.finditer(text):
        word = match["word"]
        if word is not None and len(word) > 600 and re.fullmatch(r"[+-]?[0-9_]+", word):
            try:
                int(word)
            except ValueError:
                return match.span()
    return None
