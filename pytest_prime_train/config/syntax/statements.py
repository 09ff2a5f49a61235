"""Lines that begin with no key and no header, and what is left behind the end of one."""

from __future__ import annotations

import re

from pytest_prime_train.config.syntax.stop import Stop, SyntaxProblem, problem_at
from pytest_prime_train.config.syntax.unclosed import left_open, several_lines
from pytest_prime_train.config.syntax.values import cure, value_runs_on
from pytest_prime_train.config.syntax.words import (
    COMMENT_SIGNS,
    CONFLICT,
    CURLY_QUOTES,
    KEY_LINE,
    quoted,
    shown,
    word_at,
)


def after_statement(stop: Stop) -> SyntaxProblem:
    """What is wrong with what stands behind a statement that has ended."""
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
    if (early := value_runs_on(stop)) is not None:
        return early
    if character in ",;":
        if not rest[1:].strip() or rest[1:].lstrip().startswith("#"):
            return stop.problem(
                offset,
                offset + 1,
                f"A line does not end with `{character}` in TOML.",
                f"Delete the `{character}`.",
            )
        if character == "," and not KEY_LINE.match(rest[1:]):
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
    if KEY_LINE.match(rest.lstrip(",; \t")):
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


def _comment_sign(stop: Stop, sign: str) -> SyntaxProblem:
    return stop.problem(
        stop.offset,
        stop.offset + len(sign),
        f"`{sign.strip()}` does not begin a comment in TOML.",
        "Write `#` instead.",
    )


def bad_statement(stop: Stop) -> SyntaxProblem:
    """A line begins with what neither a key nor a header begins with."""
    offset, character = stop.offset, stop.character
    rest = stop.line_from(offset)

    def problem(length: int, message: str, recommendation: str) -> SyntaxProblem:
        return problem_at(stop.text, offset, offset + length, message, recommendation)

    if CONFLICT.match(rest):
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
    for sign in COMMENT_SIGNS:
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


def _key_problem(stop: Stop, start: int) -> SyntaxProblem:
    """A key with characters that need quotes."""
    name = re.split(r"[=\n]", stop.text[start:], maxsplit=1)[0].strip()
    spaces = re.fullmatch(r"[\w-]+(?:[ \t]+[\w-]+)+", name, re.ASCII)
    joined = "_".join(name.split())
    advice = f"Write `{joined} = ...`, or put" if spaces else "Put"
    return problem_at(
        stop.text,
        start,
        start + len(name),
        f"The key {shown(name)}has other characters than letters A to Z, digits, `_` and `-`.",
        f"{advice} quotes around it: `{quoted(name.strip(CURLY_QUOTES))} = ...`.",
    )


def no_equals(stop: Stop) -> SyntaxProblem:
    """A key is not followed by ``=``."""
    offset, character, key = stop.offset, stop.character, stop.key
    start, end = stop.keys[0][1], stop.keys[-1][2]
    rest = stop.line_from(offset)
    word = word_at(stop, offset) if rest else ""

    def about_line(message: str, recommendation: str) -> SyntaxProblem:
        return problem_at(stop.text, start, end, message, recommendation)

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
        value = cure(name, word) if word else "true"
        return about_line(
            "Arguments of the command line are written differently in a file.",
            f"Write `{name} = {value}`.",
        )
    if character == ":" and not word.startswith(":="):
        return stop.problem(
            offset,
            offset + 1,
            f"`:` does not give `{key}` a value in TOML.",
            f"Write `{key} = {cure(key, word[1:].strip())}`.",
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
        f"Write `{key} = {cure(key, word)}`.",
    )


def bad_name(stop: Stop) -> SyntaxProblem:
    """A part of a key or header, or the next key of an inline table, does not begin."""
    offset, character, frame = stop.offset, stop.character, stop.frame
    dotted = stop.text[:offset].rstrip(" \t").endswith(".")
    if not dotted and frame is not None:
        if character == "":
            return left_open(stop, frame)
        if character in "\n#":
            return several_lines(stop, frame)
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
        return bad_header(stop)
    return _key_problem(stop, stop.keys[0][1] if dotted and stop.keys else offset)


def bad_header(stop: Stop) -> SyntaxProblem:
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
        return problem_at(
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
        return problem_at(
            stop.text,
            start,
            end,
            "A line cannot begin with an array, only with a header such as `[model]`.",
            "Write the key of the array before it: `key = [...]`.",
        )
    return problem_at(
        stop.text,
        start,
        end,
        "The name in this header has other characters than letters A to Z, digits, `_` and `-`.",
        f"Put quotes around that part of the name, such as `{opening}{quoted(name)}{closing}`.",
    )
