"""Values that are none, and what follows a value where it should have ended or gone on."""

from __future__ import annotations

import re

from pytest_prime_train.config.syntax.stop import Stop, SyntaxProblem
from pytest_prime_train.config.syntax.unclosed import (
    closes_later,
    left_open,
    several_lines,
    unclosed_before,
)
from pytest_prime_train.config.syntax.words import (
    CURLY_QUOTES,
    HEADER_LINE,
    KEY_LINE,
    LONGEST_SHOWN,
    OPERATION,
    READABLE,
    SECRETIVE,
    quoted,
    shown,
    word_at,
)

_NULLS = {"none", "null", "nil", "~", "undefined", "void"}
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on"), "true"),
    **dict.fromkeys(("false", "no", "off"), "false"),
}
_SPECIAL_FLOATS = {"nan": "nan", "inf": "inf", "infinity": "inf"}


def bad_value(stop: Stop) -> SyntaxProblem:
    """What is wrong with the value at which the parser stopped."""
    return _value_problem(stop, stop.offset)


def _value_problem(stop: Stop, start: int) -> SyntaxProblem:
    """What is wrong with what stands where a value should."""
    opened = unclosed_before(stop, start)
    if opened is not None:
        return left_open(stop, opened)
    rest = stop.line_from(start)
    if not rest or rest[0] in "#,]}":
        return _no_value(stop, start)
    if rest[0] == "=":
        return stop.problem(
            start, start + 1, "Two `=` follow each other.", "Delete one of the two."
        )
    word = word_at(stop, start)
    end = start + len(word)

    def problem(message: str, recommendation: str) -> SyntaxProblem:
        return stop.problem(start, end, message, recommendation)

    lower = word.lower()
    if word == "null" and stop.path()[-2:] == ("harness", "id"):
        # The one place where prime-rl's own configs have this text.
        return problem("The name `null` is not in quotes.", f"Write {stop.assign(quoted(word))}.")
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
    if word[0] in CURLY_QUOTES:
        return problem(
            f"`{word[0]}` is not a quote that TOML knows.",
            _with_value(stop, quoted(word.strip(CURLY_QUOTES)), "Write straight quotes"),
        )
    if word[0] == "(":
        return problem("A list in round brackets is no value.", "Write the list in `[` and `]`.")
    if string := re.fullmatch(r"([bfruBFRU]{1,2})([\"']).*\2", word):
        prefix = string[1]
        return problem(
            f"The `{prefix}` before the quote has no meaning in TOML.",
            f"Delete the `{prefix}`; a text in single quotes is taken as it is.",
        )
    if OPERATION.fullmatch(word):
        return problem(
            "TOML does not calculate.", "Write the result of the calculation as one number."
        )
    if re.match(r"[+-]?\.?\d", word):
        return _number_problem(stop, start, word)
    return problem(
        f"The text {shown(word)}is not in quotes.",
        _with_value(stop, quoted(word.strip("\"'")), "Put quotes around it"),
    )


def _number_problem(stop: Stop, start: int, word: str) -> SyntaxProblem:
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
            f"{shown(word)}is neither a number nor text in quotes.",
            f"{use(quoted(word))[:-1]} if it is text, or the bare number without a unit.",
        )
    return problem(
        f"The text {shown(word)}is not in quotes.",
        _with_value(stop, quoted(word.strip("\"'")), "Put quotes around it"),
    )


def _no_value(stop: Stop, start: int) -> SyntaxProblem:
    character = stop.text[start : start + 1]
    if stop.in_array:
        if character == ",":
            return stop.problem(
                start,
                start + 1,
                "An element of the array is missing before this comma.",
                "Delete the comma, or write the element.",
            )
        return container_problem(stop)
    sign = stop.text.rfind("=", 0, start)
    after = re.compile(r"[ \t]*(?:#[^\n]*)?\s*\n([^\n]*)").match(stop.text, start)
    next_line = after[1] if after else ""
    if (
        next_line.lstrip()[:1] in ("[", "{", '"', "'")
        and not KEY_LINE.match(next_line)
        and not HEADER_LINE.fullmatch(next_line)  # which stands at the margin
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


def _with_value(stop: Stop, value: str, instruction: str) -> str:
    if len(value) > LONGEST_SHOWN:
        return f"{instruction}."
    return f"{instruction}: {stop.assign(value)}."


def _as_value(word: str) -> str:
    """How to write in TOML what somebody wrote in another language."""
    if READABLE.fullmatch(word):
        return word
    if word.lower() in _NULLS:
        return quoted("None")
    return _BOOLEANS.get(word.lower()) or quoted(word.strip("\"'"))


def cure(key: str, word: str) -> str:
    """The value to write for a key that has none yet, ``...`` where it should not be shown.

    What stands behind an ``=`` is masked by whoever shows it; here there is no ``=`` to go by.
    """
    value = word if word[:1] in ("[", "{", "") else _as_value(word)
    shown = value and len(value) <= LONGEST_SHOWN and not SECRETIVE.search(key)
    return value if shown else "..."


def bad_date(stop: Stop) -> SyntaxProblem:
    """What is wrong with a date or a time."""
    return _number_problem(stop, stop.offset, word_at(stop, stop.offset))


def container_problem(stop: Stop) -> SyntaxProblem:
    """What is wrong where an array or inline table should go on with a comma or end."""
    frame, text, offset = stop.stack[-1], stop.text, stop.offset
    opened = unclosed_before(stop, offset)
    if opened is not None:
        return left_open(stop, opened)
    character = stop.character
    if character in ("\n", "#"):
        return several_lines(stop, frame)
    if frame.closes == "}" and stop.begins_line(offset) and not closes_later(stop):
        return left_open(stop, frame)
    if character in ")]}":
        opens = text[frame.opened]
        return stop.problem(
            offset,
            offset + 1,
            f"`{character}` cannot close what `{opens}` on line "
            f"{stop.line_number(frame.opened)} opened.",
            f"Write `{frame.closes}` instead.",
        )
    if (early := value_runs_on(stop)) is not None:
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


def value_runs_on(stop: Stop) -> SyntaxProblem | None:
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
    word = word_at(stop, start)
    has_commas = re.match(r"[+-]?\d{1,3}(?:,\d{3})+(?![\d,])", stop.line_from(start))
    if stop.character == ",":
        return _value_problem(stop, start) if has_commas else None
    if adjacent or OPERATION.fullmatch(word) or re.fullmatch(r"[\d._]+\s+[A-Za-z%]+", word):
        return _value_problem(stop, start)
    return None
