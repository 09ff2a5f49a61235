"""What keeps a text from being TOML, in words for people who do not know parsers.

``tomllib`` says where it stopped, which is often behind the mistake, and names what it expected
there. This reads the text up to that place once more, sees what was open, and says what to change.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from pytest_prime_train.config.positions import Frame, KeyPart, Node, Scanner
from pytest_prime_train.findings import KeyPath, format_key


class SyntaxProblem(NamedTuple):
    """Why a text cannot be read.

    Attributes:
        message: What is wrong, in one sentence.
        line: Line of the mistake, from 1.
        column: Its column in characters, from 1.
        recommendation: What to write instead.
        end_column: Where it ends on that line, exclusive.
        key: Dotted path of the key it belongs to; empty where there is none.
    """

    message: str
    line: int
    column: int
    recommendation: str
    end_column: int
    key: str = ""


def explain(error: Exception, text: str | bytes) -> SyntaxProblem:
    """Say what is wrong with a text, whatever reading it as TOML raised.

    Args:
        error: What decoding the file, or ``tomllib``, raised.
        text: The content; bytes where they could not be decoded.
    """
    if isinstance(error, UnicodeDecodeError) and isinstance(text, str):
        text = error.object
    if isinstance(text, bytes):
        data = text
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as undecodable:
            return _explain_encoding(data, undecodable.start)
    # As tomllib does before it counts.
    text = text.replace("\r\n", "\n")
    if text.startswith("\ufeff"):
        return _at(
            text,
            0,
            1,
            "The file begins with a byte order mark, an invisible character that TOML forbids.",
            "Save the file as UTF-8 without BOM.",
        )
    if _is_binary(text):
        return _at(text, 0, 0, *_BINARY)
    if isinstance(error, RecursionError):
        return _explain_depth(text)
    stopped = _where(error, text)
    if stopped is not None:
        return _explain_stop(*stopped, text)
    if (number := _huge_integer(text)) is not None:
        start, end = number
        digits = sys.get_int_max_str_digits()
        return _at(
            text,
            start,
            end,
            f"This integer has more than {digits} digits, which is more than can be read.",
            "Write a number below 9223372036854775808, or put quotes around it if it is text.",
            format_key(_Stop(text, start).path()),
        )
    return _at(text, 0, 0, f"This is not valid TOML: {error}.", "")


# What tells about the file as a whole ------------------------------------------------------------

_BINARY = (
    "The file holds binary data and is no text at all.",
    "Give a TOML file, or restore this one from a copy.",
)
_MARKS_OF_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SAMPLE = 4096
_TEXT_CONTROLS = "\t\n\f\r\x1b"


def _explain_encoding(data: bytes, start: int) -> SyntaxProblem:
    if data.startswith(_MARKS_OF_UTF_16):
        return SyntaxProblem(
            "The file is saved as UTF-16, and TOML must be UTF-8.",
            *(1, 1),
            "Save the file as UTF-8 without BOM.",
            1,
        )
    if b"\0" in data[:_SAMPLE] or _is_binary(data[:_SAMPLE].decode("latin-1"), share=0.05):
        return SyntaxProblem(_BINARY[0], 1, 1, _BINARY[1], 1)
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


def _is_binary(text: str, share: float = 0.1) -> bool:
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


def _explain_depth(text: str) -> SyntaxProblem:
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
        return _at(
            text,
            *long_key.span(),
            "This key has more parts between dots than can be read.",
            "Write a key with fewer parts.",
        )
    return _at(
        text,
        place,
        place + 1,
        f"The brackets that open here are nested {deepest} deep, which is more than can be read.",
        "Write the value with fewer levels of brackets.",
        format_key(_Stop(text, place).path()) if deepest else "",
    )


def _huge_integer(text: str) -> tuple[int, int] | None:
    for match in _WORDS.finditer(text):
        word = match["word"]
        if word is not None and len(word) > 600 and re.fullmatch(r"[+-]?[0-9_]+", word):
            try:
                int(word)
            except ValueError:
                return match.span()
    return None


# What tomllib says -------------------------------------------------------------------------------

_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def _where(error: Exception, text: str) -> tuple[str, int] | None:
    """The parser's own message, and the offset at which it stopped."""
    line, column = getattr(error, "lineno", None), getattr(error, "colno", None)
    if isinstance(line, int) and isinstance(column, int):  # Python 3.14 and newer
        message = str(getattr(error, "msg", error))
    else:
        match = _PLACE.fullmatch(str(error))
        if match is None:
            return None
        message = match[1]
        if match[2] is None:
            return message, len(text)
        line, column = int(match[2]), int(match[3])
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    return message, min(start + column - 1, len(text))


class _Stop:
    """The place where the parser stopped, and what it was reading there."""

    def __init__(self, text: str, offset: int) -> None:
        self.text = text
        self.offset = offset
        self.scanner = Scanner(text[:offset])
        self.scanner.run()
        self.stack = self.scanner.stack
        self.keys = self.scanner.keys
        if self.stack and self.stack[-1].closes == "}":
            self.keys = self.stack[-1].keys

    @property
    def character(self) -> str:
        """The character at which the parser stopped; empty at the end of the text."""
        return self.text[self.offset : self.offset + 1]

    @property
    def frame(self) -> Frame | None:
        """The innermost array or inline table that is open."""
        return self.stack[-1] if self.stack else None

    @property
    def in_array(self) -> bool:
        return bool(self.stack) and self.stack[-1].closes == "]"

    @property
    def key(self) -> str:
        """The key of the value that is read, as it is written in its own line."""
        return self.text[self.keys[0][1] : self.keys[-1][2]] if self.keys else ""

    def path(self, below: Frame | None = None) -> KeyPath:
        """Where in the document the value is that is read, or the one that ``below`` fills."""
        scanner = self.scanner
        path = [] if scanner.in_header else list(scanner.path)
        path += _names(scanner.keys)
        for frame in self.stack:
            if frame is below:
                break
            if frame.closes == "}":
                path += _names(frame.keys)
                continue
            number = len(frame.node.children or ())
            begins_next = frame is self.stack[-1] and self.text[scanner.end - 1] in "[,"
            path.append(number if begins_next else number - 1)
        return tuple(path)

    def line_from(self, start: int) -> str:
        """The text from an offset to the end of its line."""
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]

    def begins_line(self, offset: int) -> bool:
        """Whether only white space stands before an offset in its line."""
        return not self.text[self.text.rfind("\n", 0, offset) + 1 : offset].strip(" \t")

    def line_number(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def assign(self, value: str) -> str:
        """The line, or the element of an array, with this value."""
        return f"`{value}`" if self.in_array or not self.key else f"`{self.key} = {value}`"

    def problem(
        self, start: int, end: int, message: str, recommendation: str, below: Frame | None = None
    ) -> SyntaxProblem:
        key = format_key(self.path(below))
        return _at(self.text, start, end, message, recommendation, key)


def _at(
    text: str, start: int, end: int, message: str, recommendation: str, key: str = ""
) -> SyntaxProblem:
    begins = text.rfind("\n", 0, start) + 1
    ends = text.find("\n", start)
    if ends < 0:
        ends = len(text)
    line = text.count("\n", 0, start) + 1
    column = start - begins + 1
    end_column = max(column, min(end, ends) - begins + 1)
    return SyntaxProblem(message, line, column, recommendation, end_column, key)


def _names(keys: list[KeyPart]) -> list[str]:
    return [name for name, _, _ in keys]


def _explain_stop(message: str, offset: int, text: str) -> SyntaxProblem:
    stop = _Stop(text, offset)
    if message.startswith(("Unescaped", "Invalid hex value", "Escaped character")):
        return _bad_escape(stop)
    if message.startswith(("Cannot", "Duplicate")):
        return _defined_twice(stop, message)
    if _is_odd(stop.character):
        return _odd_character(stop)
    if "character '\\n'" in message or message.startswith(("Unterminated", "Expected \"'")):
        return _unclosed_string(stop)
    for beginning, explanation in _EXPLANATIONS.items():
        if message.startswith(beginning):
            return explanation(stop)
    return stop.problem(offset, offset + 1, f"This is not valid TOML: {message}.", "")


# Characters and strings --------------------------------------------------------------------------


def _is_odd(character: str) -> bool:
    """Whether a character cannot be seen, and is none that TOML allows there."""
    category = unicodedata.category(character) if character else ""
    return category in ("Cc", "Cf", "Zl", "Zp", "Zs") and character not in " \t\n"


def _odd_character(stop: _Stop) -> SyntaxProblem:
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


def _bad_escape(stop: _Stop) -> SyntaxProblem:
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


def _unclosed_string(stop: _Stop) -> SyntaxProblem:
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


# Values ------------------------------------------------------------------------------------------

_NULLS = {"none", "null", "nil", "~", "undefined", "void"}
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on"), "true"),
    **dict.fromkeys(("false", "no", "off"), "false"),
}
_SPECIAL_FLOATS = {"nan": "nan", "inf": "inf", "infinity": "inf"}
_CURLY_QUOTES = "“”„‟‘’‚‛«»`´"  # noqa: RUF001
_LONGEST_SHOWN = 60
_SECRETIVE = re.compile("key|token|secret|passw|passphrase|credential|auth|bearer", re.IGNORECASE)

_READABLE = re.compile(
    r"""true|false|"[^"\\]*"|'[^']*'|[+-]?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|\[.*\]|\{.*\}"""
)
_OPERATION = re.compile(
    r"[(+-]*[\d._]+(?:[eE][+-]?\d+)?\)*(?:\s*(?:\*\*?|//?|[+%^])\s*|\s+-\s+)[\d.(].*"
)
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY_LINE = re.compile(rf"[ \t]*{_PART}(?:[ \t]*\.[ \t]*{_PART})*[ \t]*=")
_HEADER_LINE = re.compile(r"\[{1,2}[ \t]*[\w\"'-][\w .\"'-]*\]{1,2}[ \t]*(?:#.*)?")


def _bad_value(stop: _Stop) -> SyntaxProblem:
    return _value_problem(stop, stop.offset)


def _value_problem(stop: _Stop, start: int) -> SyntaxProblem:
    """What is wrong with what stands where a value should."""
    opened = _unclosed_before(stop, start)
    if opened is not None:
        return _unclosed(stop, opened)
    rest = stop.line_from(start)
    if not rest or rest[0] in "#,]}":
        return _no_value(stop, start)
    if rest[0] == "=":
        return stop.problem(
            start, start + 1, "Two `=` follow each other.", "Delete one of the two."
        )
    word = _word(stop, start)
    end = start + len(word)

    def problem(message: str, recommendation: str) -> SyntaxProblem:
        return stop.problem(start, end, message, recommendation)

    lower = word.lower()
    if word == "null" and stop.path()[-2:] == ("harness", "id"):
        # The one place where prime-rl's own configs have this text.
        return problem("The name `null` is not in quotes.", f"Write {stop.assign(_quoted(word))}.")
    if lower in _NULLS:
        return problem(
            f"TOML has no null, and `{word}` without quotes is no value.",
            "Delete it, or put quotes around it if it is text."  # in a list it would stay text
            if stop.in_array
            else f'Write `{stop.key} = "None"` with the quotes, which prime-rl reads as null.',
        )
    if lower in _BOOLEANS:
        return problem(
            f"`{word}` is no value: TOML knows `true` and `false`, in lower case.",
            f"Write {stop.assign(_BOOLEANS[lower])}.",
        )
    if lower.lstrip("+-") in _SPECIAL_FLOATS:
        value = ("-" if word.startswith("-") else "") + _SPECIAL_FLOATS[lower.lstrip("+-")]
        return problem(
            f"`{word}` is no value: TOML knows `nan`, `inf` and `-inf`, in lower case.",
            f"Write {stop.assign(value)}.",
        )
    if word[0] in _CURLY_QUOTES:
        return problem(
            f"`{word[0]}` is not a quote that TOML knows.",
            _with_value(stop, _quoted(word.strip(_CURLY_QUOTES)), "Write straight quotes"),
        )
    if word[0] == "(":
        return problem("A list in round brackets is no value.", "Write the list in `[` and `]`.")
    if string := re.fullmatch(r"([bfruBFRU]{1,2})([\"']).*\2", word):
        prefix = string[1]
        return problem(
            f"The `{prefix}` before the quote has no meaning in TOML.",
            f"Delete the `{prefix}`; a text in single quotes is taken as it is.",
        )
    if _OPERATION.fullmatch(word):
        return problem(
            "TOML does not calculate.", "Write the result of the calculation as one number."
        )
    if re.match(r"[+-]?\.?\d", word):
        return _number_problem(stop, start, word)
    return problem(
        f"The text {_shown(word)}is not in quotes.",
        _with_value(stop, _quoted(word.strip("\"'")), "Put quotes around it"),
    )


def _number_problem(stop: _Stop, start: int, word: str) -> SyntaxProblem:
    def problem(message: str, recommendation: str) -> SyntaxProblem:
        return stop.problem(start, start + len(word), message, recommendation)

    def use(value: str) -> str:
        return f"Write {stop.assign(value)}."

    plain = word.replace("_", "")
    if re.match(r"\d{4}-\d{1,2}-\d{1,2}", word):
        return problem(
            f"`{word}` is not a date or time that exists.",
            "Write it like `2026-08-21` or `2026-08-21T09:30:00Z`, or put quotes around it if it "
            "is text.",
        )
    if re.fullmatch(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", word):
        return problem(
            "A number cannot have commas.",
            f"Write {stop.assign(word.replace(',', '_'))}: underscores may stand between digits.",
        )
    if match := re.fullmatch(r"([+-]?)(\.\d+(?:[eE][+-]?\d+)?)", plain):
        return problem("A number needs a digit before the point.", use(f"{match[1]}0{match[2]}"))
    if match := re.fullmatch(r"([+-]?\d+\.)((?:[eE][+-]?\d+)?)", plain):
        return problem("A number needs a digit behind the point.", use(f"{match[1]}0{match[2]}"))
    if match := re.fullmatch(r"([+-]?)0+(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)", plain):
        return problem(
            "A number cannot begin with a 0 before other digits.",
            f"{use(match[1] + match[2])[:-1]}, or put quotes around it if it is text.",
        )
    if "_" in word and re.fullmatch(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", plain):
        return problem("An underscore in a number needs a digit on both sides.", use(plain))
    if re.fullmatch(r"[+-]?\d*\.?\d*(?:[eE][+-]?\d*)?\s*[A-Za-z%]*", plain):
        return problem(
            f"{_shown(word)}is neither a number nor text in quotes.",
            f"{use(_quoted(word))[:-1]} if it is text, or the bare number without a unit.",
        )
    return problem(
        f"The text {_shown(word)}is not in quotes.",
        _with_value(stop, _quoted(word.strip("\"'")), "Put quotes around it"),
    )


def _no_value(stop: _Stop, start: int) -> SyntaxProblem:
    character = stop.text[start : start + 1]
    if stop.in_array:
        if character == ",":
            return stop.problem(
                start,
                start + 1,
                "An element of the array is missing before this comma.",
                "Delete the comma, or write the element.",
            )
        return _container_problem(stop)
    sign = stop.text.rfind("=", 0, start)
    after = re.compile(r"[ \t]*(?:#[^\n]*)?\s*\n([^\n]*)").match(stop.text, start)
    next_line = after[1] if after else ""
    if (
        next_line.lstrip()[:1] in ("[", "{", '"', "'")
        and not _KEY_LINE.match(next_line)
        and not _HEADER_LINE.fullmatch(next_line)  # which stands at the margin
        and not stop.stack
    ):
        return stop.problem(
            sign,
            sign + 1,
            f"The value of `{stop.key}` does not begin on the line of its `=`.",
            f"Move the beginning of the value up, behind `{stop.key} =`.",
        )
    return stop.problem(
        sign,
        sign + 1,
        f"`{stop.key}` has no value.",
        f"Write a value behind `{stop.key} =`, or delete the key to leave it at its default.",
    )


def _word(stop: _Stop, start: int) -> str:
    """What was meant as one value: up to a comma or bracket inside brackets, else to a comment."""
    rest = stop.line_from(start)
    if stop.stack:
        match = re.match(r"[^,\]}#]*", rest)
        return (match[0] if match else rest).rstrip() or rest[:1]
    return re.split(r"\s+#", rest)[0].rstrip().rstrip(",;") or rest[:1]


def _quoted(text: str) -> str:
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    if "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _shown(word: str) -> str:
    """The word for a message, unless it is too long for one: what is cut could not be masked."""
    return f"`{word}` " if len(word) <= _LONGEST_SHOWN else "behind the `=` "


def _with_value(stop: _Stop, value: str, instruction: str) -> str:
    if len(value) > _LONGEST_SHOWN:
        return f"{instruction}."
    return f"{instruction}: {stop.assign(value)}."


def _as_value(word: str) -> str:
    """How to write in TOML what somebody wrote in another language."""
    if _READABLE.fullmatch(word):
        return word
    if word.lower() in _NULLS:
        return _quoted("None")
    return _BOOLEANS.get(word.lower()) or _quoted(word.strip("\"'"))


def _cure(key: str, word: str) -> str:
    """The value to write for a key that has none yet, ``...`` where it should not be shown.

    What stands behind an ``=`` is masked by whoever shows it; here there is no ``=`` to go by.
    """
    value = word if word[:1] in ("[", "{", "") else _as_value(word)
    shown = value and len(value) <= _LONGEST_SHOWN and not _SECRETIVE.search(key)
    return value if shown else "..."


def _bad_date(stop: _Stop) -> SyntaxProblem:
    return _number_problem(stop, stop.offset, _word(stop, stop.offset))


# Brackets ----------------------------------------------------------------------------------------


def _unclosed_before(stop: _Stop, start: int) -> Frame | None:
    """The array or inline table that was left open, if the next key or header got into it."""
    if not stop.stack:
        return None
    for index, frame in enumerate(stop.stack[1:]):
        line = stop.line_from(frame.opened)
        at_margin = frame.opened == 0 or stop.text[frame.opened - 1] == "\n"
        if at_margin and _HEADER_LINE.fullmatch(line):
            return stop.stack[index]
    if start == len(stop.text):
        return stop.stack[-1]
    at_margin = stop.begins_line(start)
    line = stop.line_from(start)
    if at_margin and stop.in_array and _KEY_LINE.match(line):
        return stop.stack[-1]
    if at_margin and stop.text[start - 1 : start] == "\n" and _HEADER_LINE.fullmatch(line):
        return stop.stack[-1]
    return None


def _unclosed(stop: _Stop, frame: Frame) -> SyntaxProblem:
    kind, last = ("array", "element") if frame.closes == "]" else ("inline table", "value")
    opens = stop.text[frame.opened]
    key = stop.text[stop.scanner.keys[0][1] : stop.scanner.keys[-1][2]]
    return stop.problem(
        frame.opened,
        frame.opened + 1,
        f"The {kind} that opens here, in `{key}`, has no closing `{frame.closes}`.",
        f"Write `{frame.closes}` after its last {last}, or delete the `{opens}`.",
        frame,
    )


def _container_problem(stop: _Stop) -> SyntaxProblem:
    """What is wrong where an array or inline table should go on with a comma or end."""
    frame, text, offset = stop.stack[-1], stop.text, stop.offset
    opened = _unclosed_before(stop, offset)
    if opened is not None:
        return _unclosed(stop, opened)
    character = stop.character
    if character in ("\n", "#"):
        return _several_lines(stop, frame)
    if frame.closes == "}" and stop.begins_line(offset) and not _closes_later(stop):
        return _unclosed(stop, frame)
    if character in ")]}":
        opens = text[frame.opened]
        return stop.problem(
            offset,
            offset + 1,
            f"`{character}` cannot close what `{opens}` on line "
            f"{stop.line_number(frame.opened)} opened.",
            f"Write `{frame.closes}` instead.",
        )
    if (early := _value_runs_on(stop)) is not None:
        return early
    if character in "=:" and frame.closes == "]":
        return stop.problem(
            offset,
            offset + 1,
            f"An array has no keys, so `{character}` cannot follow an element.",
            'Write keys and values in braces: `{ "key" = "value" }`.',
        )
    if character == ";":
        return stop.problem(offset, offset + 1, "`;` separates nothing.", "Write `,` instead.")
    end = stop.scanner.end
    return stop.problem(
        end - 1,
        end,
        "A comma is missing behind this.",
        "Write `,` between it and what comes next.",
    )


def _closes_later(stop: _Stop) -> bool:
    """Whether a closing brace comes before the next header."""
    ahead = re.compile(r"\}|\n[ \t]*\[").search(stop.text, stop.offset)
    return ahead is not None and ahead[0] == "}"


def _several_lines(stop: _Stop, frame: Frame) -> SyntaxProblem:
    """An inline table whose line ends before it does."""
    if not _closes_later(stop):
        return _unclosed(stop, frame)
    path = format_key(stop.path(frame))
    return stop.problem(
        frame.opened,
        frame.opened + 1,
        "The inline table that opens here goes over several lines, which not every reader allows.",
        f"Write it on one line without a comment, or as a table with the header `[{path}]`.",
        frame,
    )


# What follows a value, and what begins a line ----------------------------------------------------

_COMMENT_SIGNS = ("//", "/*", "--", ";", "%", "REM ", "<!--")
_CONFLICT = re.compile(r"(?:<{7}|={7}|>{7}|\|{7})(?: |$)")


def _value_runs_on(stop: _Stop) -> SyntaxProblem | None:
    """A value that ended earlier than its writer meant it to."""
    text, scanner, offset = stop.text, stop.scanner, stop.offset
    start = scanner.value
    if start < 0 or scanner.end != len(text[:offset].rstrip(" \t")):
        return None
    adjacent = scanner.end == offset
    last = text[scanner.end - 1]
    if text[start] in "\"'":
        if adjacent and (stop.character.isalnum() or stop.character in "\"'_"):
            other = "double" if last == "'" else "single"
            escape = ' or write each quote inside it as `\\"`' if last == '"' else ""
            return stop.problem(
                offset - 1,
                offset,
                "The text ends at this quote, and more follows it.",
                f"Put the whole text in {other} quotes{escape}.",
            )
        return None
    if last in "]}" or stop.character in "=:)]};":
        return None
    word = _word(stop, start)
    has_commas = re.match(r"[+-]?\d{1,3}(?:,\d{3})+(?![\d,])", stop.line_from(start))
    if stop.character == ",":
        return _value_problem(stop, start) if has_commas else None
    if adjacent or _OPERATION.fullmatch(word) or re.fullmatch(r"[\d._]+\s+[A-Za-z%]+", word):
        return _value_problem(stop, start)
    return None


def _after_statement(stop: _Stop) -> SyntaxProblem:
    text, offset, character = stop.text, stop.offset, stop.character
    rest = stop.line_from(offset)
    end = offset + len(rest.rstrip())
    if rest.startswith(("//", "/*")) or (rest.startswith("--") and offset > stop.scanner.end):
        return _comment_sign(stop, rest[:2])
    if stop.scanner.in_header:
        header = text[stop.scanner.statement : stop.scanner.end]
        if character == "]":
            return stop.problem(
                offset, offset + 1, "The header has one `]` too many.", f"Write `{header}`."
            )
        return stop.problem(
            offset,
            end,
            f"More follows the header `{header}` on its line.",
            "Begin a new line behind the header.",
        )
    if (early := _value_runs_on(stop)) is not None:
        return early
    if character in ",;":
        if not rest[1:].strip() or rest[1:].lstrip().startswith("#"):
            return stop.problem(
                offset,
                offset + 1,
                f"A line does not end with `{character}` in TOML.",
                f"Delete the `{character}`.",
            )
        if character == "," and not _KEY_LINE.match(rest[1:]):
            return stop.problem(
                offset,
                end,
                f"`{stop.key}` has several values, which only an array can hold.",
                f"Put them in brackets: `{stop.key} = [...]`.",
            )
    if character in ")]}":
        return stop.problem(
            offset,
            offset + 1,
            f"No bracket is open that `{character}` could close.",
            f"Delete the `{character}`, or write the bracket that opens.",
        )
    if _KEY_LINE.match(rest.lstrip(",; \t")):
        return stop.problem(
            offset,
            end,
            f"A second key follows the value of `{stop.key}` on the same line.",
            "Begin a new line for each key.",
        )
    return stop.problem(
        offset,
        end,
        f"More follows the value of `{stop.key}` on its line.",
        "Put one value on a line; a comment begins with `#`.",
    )


def _comment_sign(stop: _Stop, sign: str) -> SyntaxProblem:
    return stop.problem(
        stop.offset,
        stop.offset + len(sign),
        f"`{sign.strip()}` does not begin a comment in TOML.",
        "Write `#` instead.",
    )


def _bad_statement(stop: _Stop) -> SyntaxProblem:
    """A line begins with what neither a key nor a header begins with."""
    offset, character = stop.offset, stop.character
    rest = stop.line_from(offset)

    def problem(length: int, message: str, recommendation: str) -> SyntaxProblem:
        return _at(stop.text, offset, offset + length, message, recommendation)

    if _CONFLICT.match(rest):
        return problem(
            7,
            "This line is left over from a merge conflict.",
            "Choose one of the two versions and delete the lines with `<<<<<<<`, `=======` and "
            "`>>>>>>>`.",
        )
    if character == "{" and not stop.text[:offset].strip():
        return problem(
            1,
            "This looks like JSON, not TOML.",
            "Write one `key = value` on each line, without braces around them.",
        )
    for sign in _COMMENT_SIGNS:
        if rest.startswith(sign):
            return _comment_sign(stop, sign)
    if character == "@":
        return problem(
            1,
            "`@` names another config on the command line, not in a file.",
            "Give the other file on the command line: `@ one.toml @ two.toml`.",
        )
    if character == "=":
        return problem(1, "No key stands before this `=`.", "Write the key, or delete the line.")
    if character in ")]}":
        return problem(
            1,
            f"No bracket is open that `{character}` could close.",
            f"Delete the `{character}`, or the one that closed the bracket too early.",
        )
    if character == ".":
        return problem(1, "A name is missing before this dot.", "Delete the dot, or write a name.")
    if "=" in rest and character not in ",":
        return _key_problem(stop, offset)
    return problem(
        1,
        f"A line cannot begin with `{character}`.",
        "Write `key = value`, a `[table]`, or a comment with `#`.",
    )


# Keys and headers --------------------------------------------------------------------------------


def _key_problem(stop: _Stop, start: int) -> SyntaxProblem:
    """A key with characters that need quotes."""
    name = re.split(r"[=\n]", stop.text[start:], maxsplit=1)[0].strip()
    spaces = re.fullmatch(r"[\w-]+(?:[ \t]+[\w-]+)+", name, re.ASCII)
    joined = "_".join(name.split())
    advice = f"Write `{joined} = ...`, or put" if spaces else "Put"
    return _at(
        stop.text,
        start,
        start + len(name),
        f"The key {_shown(name)}has other characters than letters A to Z, digits, `_` and `-`.",
        f"{advice} quotes around it: `{_quoted(name.strip(_CURLY_QUOTES))} = ...`.",
    )


def _no_equals(stop: _Stop) -> SyntaxProblem:
    """A key is not followed by ``=``."""
    offset, character, key = stop.offset, stop.character, stop.key
    start, end = stop.keys[0][1], stop.keys[-1][2]
    rest = stop.line_from(offset)
    word = _word(stop, offset) if rest else ""

    def about_line(message: str, recommendation: str) -> SyntaxProblem:
        return _at(stop.text, start, end, message, recommendation)

    if key == "---":
        return about_line("This looks like YAML, not TOML.", "Delete this line.")
    if key == "-":
        return about_line(
            "A list with `-` is YAML, not TOML.",
            "Write the list as an array: `key = [...]`.",
        )
    if key == "--":
        return about_line("`--` does not begin a comment in TOML.", "Write `#` instead.")
    if key.startswith("--"):
        name = key.lstrip("-").replace("-", "_")
        value = _cure(name, word) if word else "true"
        return about_line(
            "Arguments of the command line are written differently in a file.",
            f"Write `{name} = {value}`.",
        )
    if character == ":" and not word.startswith(":="):
        return stop.problem(
            offset,
            offset + 1,
            f"`:` does not give `{key}` a value in TOML.",
            f"Write `{key} = {_cure(key, word[1:].strip())}`.",
        )
    if not word or character in "#,}":
        return stop.problem(
            start,
            end,
            f"`{key}` stands alone, without `=` and a value.",
            f"Write `{key} = ...`, put it in quotes if it is text, or `#` before it if it is a "
            "comment.",
        )
    if operator := re.match(r"(?::|\+|-|\*|/|\||&|\?)=", word):
        return stop.problem(
            offset,
            offset + 2,
            f"`{operator[0]}` does not give a key a value in TOML.",
            f"Write `{key} = ...`.",
        )
    before_equals, equals, _ = rest.partition("=")
    is_key = offset == end or re.fullmatch(r"[\w \t-]+", before_equals)
    if equals and is_key and "'" not in before_equals and '"' not in before_equals:
        return _key_problem(stop, start)
    return stop.problem(
        offset if offset > end else start,
        offset + len(word),
        f"`{key}` is not followed by `=`.",
        f"Write `{key} = {_cure(key, word)}`.",
    )


def _bad_name(stop: _Stop) -> SyntaxProblem:
    """A part of a key or header, or the next key of an inline table, does not begin."""
    offset, character, frame = stop.offset, stop.character, stop.frame
    dotted = stop.text[:offset].rstrip(" \t").endswith(".")
    if not dotted and frame is not None:
        if character == "":
            return _unclosed(stop, frame)
        if character in "\n#":
            return _several_lines(stop, frame)
        if character in "},":
            comma = stop.text.rfind(",", 0, offset) if character == "}" else offset
            return stop.problem(
                comma,
                comma + 1,
                "A comma in an inline table must be followed by another key.",
                "Delete the comma.",
            )
    if character == "." and not dotted:
        return stop.problem(
            offset,
            offset + 1,
            "A name is missing before this dot.",
            "Delete the dot, or write a name.",
        )
    if dotted and (character in ".=]" or not character.strip()):
        dot = stop.text.rfind(".", 0, offset)
        return stop.problem(
            dot, dot + 1, "A name is missing after this dot.", "Delete the dot, or write a name."
        )
    if stop.scanner.in_header:
        return _bad_header(stop)
    return _key_problem(stop, stop.keys[0][1] if dotted and stop.keys else offset)


def _bad_header(stop: _Stop) -> SyntaxProblem:
    """A header that does not end where it should, or has no name."""
    start = stop.scanner.statement
    line = stop.line_from(start)
    brackets = 2 if line.startswith("[[") else 1
    opening, closing = "[" * brackets, "]" * brackets
    name, found, _ = line[brackets:].partition("]")
    name = name.strip()
    rest = stop.line_from(stop.offset)
    end = start + len(line.rstrip())
    if not name and found:
        return _at(
            stop.text,
            start,
            end,
            f"The header `{opening}{closing}` has no name.",
            "Write the name of the table between the brackets.",
        )
    if not found or not rest or rest[0] in "#]":
        name = stop.key or re.split(r"\s*#", name)[0]
        return stop.problem(
            start,
            end,
            f"The header that opens here with `{opening}` is not closed with `{closing}`.",
            f"Write `{opening}{name}{closing}`.",
        )
    if rest[0] in ",={":
        return _at(
            stop.text,
            start,
            end,
            "A line cannot begin with an array, only with a header such as `[model]`.",
            "Write the key of the array before it: `key = [...]`.",
        )
    return _at(
        stop.text,
        start,
        end,
        "The name in this header has other characters than letters A to Z, digits, `_` and `-`.",
        f"Put quotes around that part of the name, such as `{opening}{_quoted(name)}{closing}`.",
    )


def _defined_twice(stop: _Stop, message: str) -> SyntaxProblem:
    """A key or table that is there already, or a table in the place of a value."""
    scanner, frame = stop.scanner, stop.frame
    whole = stop.path()
    path = list(whole[: len(whole) - len(stop.keys)])
    table = scanner.root if scanner.in_header else scanner.table
    if frame is not None:
        table = frame.node
    begins = stop.keys[0][1]
    found: Node | None = None
    part = stop.keys[-1]
    for part in stop.keys:
        child = (table.children or {}).get(part[0])
        if child is None or child.key is None or child.key[0] >= begins:
            break
        found = table = child
        path.append(part[0])
        has_header = child.header is not child.key
        if child.value is not None or (message.startswith("Cannot redefine") and has_header):
            break
        if scanner.in_header and child.last is not None and part is not stop.keys[-1]:
            path.append(len(child.children or ()) - 1)
            found = table = child.last
    if found is None or found.key is None:
        part = stop.keys[-1]
        return _at(
            stop.text, part[1], part[2], f"`{stop.key}` is already defined.", "Delete one of them."
        )
    name = format_key(tuple(path))
    first = stop.line_number(found.key[0])
    words = _second_header if scanner.in_header else _second_key
    is_last = part is stop.keys[-1]
    sentence, recommendation = words(stop, found, name, first, is_last)
    return _at(stop.text, part[1], part[2], sentence, recommendation, name)


def _second_header(
    stop: _Stop, found: Node, name: str, first: int, is_last: bool
) -> tuple[str, str]:
    is_element = stop.text.startswith("[[", stop.scanner.statement)
    if found.value is not None:
        kind = {"[": "an array", "{": "a table in braces"}.get(
            stop.text[found.value[0]], "a plain value"
        )
        return (
            f"`{name}` is {kind} since line {first}, so no header can add to it.",
            f"Write it in one place: what is below this header into line {first}, or the other "
            "way round.",
        )
    if not is_last:
        return f"`{name}` is already defined on line {first}.", "Delete one of the two."
    if found.last is not None:
        return (
            f"`{name}` is an array of tables since line {first}.",
            f"Write `[[{stop.key}]]` for another element of it.",
        )
    if is_element:
        return (
            f"`{name}` is a single table since line {first}, so it cannot have elements.",
            f"Write `[[{stop.key}]]` on line {first} too, or give this table another name.",
        )
    if found.header is found.key:
        return (
            f"`{name}` already has keys, on line {first}, so it cannot have a header.",
            f"Write the keys below this header with `{name}.` before them, next to line {first}.",
        )
    return (
        f"The table `{name}` is defined twice, first on line {first}.",
        f"Move the keys below this header to the table on line {first}, and delete this header.",
    )


def _second_key(stop: _Stop, found: Node, name: str, first: int, is_last: bool) -> tuple[str, str]:
    if found.value is None:
        if not is_last:
            return (
                f"`{name}` has its own header on line {first}, so its keys belong below that.",
                f"Move this line below the header on line {first}, without the name of the table.",
            )
        return (
            f"`{name}` is a table since line {first}, so it cannot have a value too.",
            "Delete this key, or set the one inside the table that is meant.",
        )
    if is_last:
        return (
            f"`{name}` is set twice, first on line {first}.",
            f"Delete this one, or the one on line {first}."
            if first != stop.line_number(stop.keys[0][1])
            else "Delete one of the two.",
        )
    if stop.text[found.value[0]] == "{":
        return (
            f"`{name}` is complete on line {first}, where it is written in braces.",
            f"Write this key inside the braces on line {first}.",
        )
    return (
        f"`{name}` has a plain value since line {first}, so there can be nothing inside it.",
        f"Delete this key, or the value on line {first}.",
    )


_EXPLANATIONS: dict[str, Callable[[_Stop], SyntaxProblem]] = {
    "Invalid value": _bad_value,
    "Invalid date": _bad_date,
    "Invalid statement": _bad_statement,
    "Invalid initial character": _bad_name,
    "Expected newline": _after_statement,
    "Expected '='": _no_equals,
    "Expected ']": _bad_header,
    "Unclosed": _container_problem,
}
