"""Words of a text: where they end, how they are shown, and what they look like."""

from __future__ import annotations

import re

from pytest_prime_train.config.syntax.stop import Stop

CURLY_QUOTES = "“”„‟‘’‚‛«»`´"  # noqa: RUF001
LONGEST_SHOWN = 60
SECRETIVE = re.compile("key|token|secret|passw|passphrase|credential|auth|bearer", re.IGNORECASE)
READABLE = re.compile(
    r"""true|false|"[^"\\]*"|'[^']*'|[+-]?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|\[.*\]|\{.*\}"""
)
OPERATION = re.compile(
    r"[(+-]*[\d._]+(?:[eE][+-]?\d+)?\)*(?:\s*(?:\*\*?|//?|[+%^])\s*|\s+-\s+)[\d.(].*"
)
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
KEY_LINE = re.compile(rf"[ \t]*{_PART}(?:[ \t]*\.[ \t]*{_PART})*[ \t]*=")
HEADER_LINE = re.compile(r"\[{1,2}[ \t]*[\w\"'-][\w .\"'-]*\]{1,2}[ \t]*(?:#.*)?")


def word_at(stop: Stop, start: int) -> str:
    """What was meant as one value: up to a comma or bracket inside brackets, else to a comment."""
    rest = stop.line_from(start)
    if stop.stack:
        match = re.match(r"[^,\]}#]*", rest)
        return (match[0] if match else rest).rstrip() or rest[:1]
    return re.split(r"\s+#", rest)[0].rstrip().rstrip(",;") or rest[:1]


def quoted(text: str) -> str:
    """A text as a string of TOML."""
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    if "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def shown(word: str) -> str:
    """The word for a message, unless it is too long for one: what is cut could not be masked."""
    return f"`{word}` " if len(word) <= LONGEST_SHOWN else "behind the `=` "


COMMENT_SIGNS = ("//", "/*", "--", ";", "%", "REM ", "<!--")
CONFLICT = re.compile(r"(?:<{7}|={7}|>{7}|\|{7})(?: |$)")
