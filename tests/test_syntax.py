"""What is said about a text that is not TOML, and where it points."""

from __future__ import annotations

import gzip
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_prime_train.config.syntax import SyntaxProblem, explain


def problem_of(content: str | bytes) -> SyntaxProblem:
    """Read a text as a check does, and explain what that raised."""
    try:
        tomllib.loads(content if isinstance(content, str) else content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return explain(error, content)
    raise AssertionError(f"this is valid: {content!r}")


def marked(problem: SyntaxProblem, text: str) -> str:
    """The part of the text that is pointed at."""
    line = text.replace("\r\n", "\n").split("\n")[problem.line - 1]
    return line[problem.column - 1 : problem.end_column - 1]


# Exact examples ----------------------------------------------------------------------------------

# Text; line, column and marked part; key; words of the message; words of the recommendation.
EXAMPLES: list[tuple[str, tuple[int, int, str], str, str, str]] = [
    # Values of other languages.
    ("a = 1\nb = None", (2, 5, "None"), "b", "TOML has no null", '`b = "None"` with the quotes'),
    ("a = null # c", (1, 5, "null"), "a", "`null` without quotes", '`a = "None"`'),
    ("[m]\na = ~", (2, 5, "~"), "m.a", "TOML has no null", '`a = "None"`'),
    ("a = {b = nil}", (1, 10, "nil"), "a.b", "TOML has no null", '`b = "None"`'),
    ("a = [1, None]", (1, 9, "None"), "a.1", "TOML has no null", "Delete it"),
    (
        "env.harness.id = null",
        (1, 18, "null"),
        "env.harness.id",
        "in quotes",
        '`env.harness.id = "null"`',
    ),
    ("a.b = True", (1, 7, "True"), "a.b", "in lower case", "`a.b = true`"),
    ("a = FALSE", (1, 5, "FALSE"), "a", "in lower case", "`a = false`"),
    ("a = off # c", (1, 5, "off"), "a", "`true` and `false`", "`a = false`"),
    ("a = Infinity", (1, 5, "Infinity"), "a", "`inf`", "`a = inf`"),
    ("a = -NaN", (1, 5, "-NaN"), "a", "`nan`", "`a = -nan`"),
    ("a = (1, 2)", (1, 5, "(1, 2)"), "a", "round brackets", "`[` and `]`"),
    ('a = r"x"', (1, 5, 'r"x"'), "a", "The `r` before", "Delete the `r`"),
    # Text without quotes.
    ("a = reverse-text", (1, 5, "reverse-text"), "a", "not in quotes", '`a = "reverse-text"`'),
    ("a = my run # c", (1, 5, "my run"), "a", "`my run` is not in quotes", '`a = "my run"`'),
    ("a = inference", (1, 5, "inference"), "a", "not in quotes", '`a = "inference"`'),
    ("a = true-ish", (1, 5, "true-ish"), "a", "not in quotes", '`a = "true-ish"`'),
    ("a = ~/x", (1, 5, "~/x"), "a", "not in quotes", '`a = "~/x"`'),
    ("a = C:\\x", (1, 5, "C:\\x"), "a", "not in quotes", "`a = 'C:\\x'`"),
    ("a = 127.0.0.1", (1, 5, "127.0.0.1"), "a", "not in quotes", '`a = "127.0.0.1"`'),
    ('a = x"', (1, 5, 'x"'), "a", "not in quotes", '`a = "x"`'),
    ("a = “x”", (1, 5, "“x”"), "a", "`“` is not a quote", '`a = "x"`'),
    ("a = [b, c]", (1, 6, "b"), "a.0", "not in quotes", '`"b"`'),
    ("a = {b = c, d = 1}", (1, 10, "c"), "a.b", "not in quotes", '`b = "c"`'),
    # Numbers.
    ("a = .5", (1, 5, ".5"), "a", "digit before the point", "`a = 0.5`"),
    ("a = -5.", (1, 5, "-5."), "a", "digit behind the point", "`a = -5.0`"),
    ("a = 007", (1, 5, "007"), "a", "cannot begin with a 0", "`a = 7`"),
    ("a = 1,000,000", (1, 5, "1,000,000"), "a", "cannot have commas", "`a = 1_000_000`"),
    ("a = 1__0", (1, 5, "1__0"), "a", "underscore", "`a = 10`"),
    ("a = 10GB", (1, 5, "10GB"), "a", "neither a number nor text", '`a = "10GB"` if it is text'),
    ("a = 80 % # c", (1, 5, "80 %"), "a", "neither a number nor text", "without a unit"),
    ("a = [8 * 1024]", (1, 6, "8 * 1024"), "a.0", "does not calculate", "one number"),
    ("a = 2**10", (1, 5, "2**10"), "a", "does not calculate", "one number"),
    ("a = 2026-02-30", (1, 5, "2026-02-30"), "a", "not a date", "put quotes"),
    ("a = 2026-13-01", (1, 5, "2026-13-01"), "a", "not a date", "`2026-08-21`"),
    ("b = 1\na = " + "1" * 5000, (2, 5, "1" * 5000), "a", "more than 4300 digits", "below"),
    # Nothing where a value should be.
    ("a =", (1, 3, "="), "a", "`a` has no value", "`a =`"),
    ("a = # c\nb = 1", (1, 3, "="), "a", "`a` has no value", "delete the key"),
    ("a =\n[b]", (1, 3, "="), "a", "`a` has no value", "delete the key"),
    ('a =\n  ["x"]', (1, 3, "="), "a", "does not begin on the line", "behind `a =`"),
    ("a = = 1", (1, 5, "="), "a", "Two `=`", "Delete one"),
    ("a = {b = }", (1, 8, "="), "a.b", "`b` has no value", "`b =`"),
    ("a = [1,,2]", (1, 8, ","), "a.1", "missing before this comma", "Delete the comma"),
    # Strings.
    ('a = "x\nb = 1', (1, 5, '"x'), "a", "no closing quote", '`"` where the text ends'),
    ("a = 'x\nb = 'y'", (1, 5, "'x"), "a", "no closing quote", "`'` where the text ends"),
    ('a = "C:\\"\nb = 1', (1, 5, '"C:\\"'), "a", "no closing quote", '`\\"` is a quote inside'),
    ('a = 1\n"b = 1', (2, 1, '"b = 1'), "", "no closing quote", '`"` where'),
    ('a = {b = 1, "c = 1}', (1, 13, '"c = 1}'), "a", "no closing quote", '`"` where'),
    ('a = """x\nb = 1', (1, 5, '"""'), "a", "never closed", '`"""` where the text ends'),
    ("a = '''x\nb = ''", (1, 5, "'''"), "a", "never closed", "`'''` where the text ends"),
    ('a = "he said "hi""', (1, 14, '"'), "a", "ends at this quote", "in single quotes"),
    ("a = 'it's'", (1, 8, "'"), "a", "ends at this quote", "in double quotes"),
    ('a = "C:\\data"', (1, 8, "\\d"), "a", "`\\d` means nothing", "single quotes"),
    ('a = "\\u12"', (1, 6, "\\u12"), "a", "`\\u12` means nothing", "`\\\\`"),
    ('a = "\\ud800"', (1, 6, "\\ud800"), "a", "means nothing", "`\\\\`"),
    ('a = """\nx \\ y"""', (2, 3, "\\"), "a", "means nothing", "`\\\\`"),
    # Brackets.
    ("a = [1, 2\nb = 3", (1, 5, "["), "a", "in `a`, has no closing `]`", "after its last element"),
    ("a = [1, 2,\nb = 3", (1, 5, "["), "a", "has no closing `]`", "Write `]`"),
    ("a = [1,\n[b]\nc = 1", (1, 5, "["), "a", "has no closing `]`", "Write `]`"),
    ("a = [1\n[[b]]\nc = 1", (1, 5, "["), "a", "has no closing `]`", "Write `]`"),
    ("[m]\na = [[1], [2", (2, 11, "["), "m.a.1", "has no closing `]`", "Write `]`"),
    ("a = {b = 1", (1, 5, "{"), "a", "inline table that opens here", "Write `}`"),
    ("a = {b = 1\nc = 2", (1, 5, "{"), "a", "has no closing `}`", "Write `}`"),
    ("a = [1}", (1, 7, "}"), "a.0", "cannot close what `[` on line 1", "`]` instead"),
    ("a = [1 2]", (1, 6, "1"), "a.0", "comma is missing", "`,`"),
    ('a = [\n"x"\n"y"]', (2, 3, '"'), "a.0", "comma is missing", "`,`"),
    ("a = {b = 1 c = 2}", (1, 10, "1"), "a.b", "comma is missing", "`,`"),
    ('a = ["b" = 1]', (1, 10, "="), "a.0", "no keys", "braces"),
    ('a = {"b": 1}', (1, 9, ":"), "a.b", "does not give", '`"b" = 1`'),
    ("a = {b}", (1, 6, "b"), "a.b", "stands alone", "`b = ...`"),
    ("a = 1]", (1, 6, "]"), "a", "No bracket is open", "Delete the `]`"),
    ("a = [\n1]\n]", (3, 1, "]"), "", "No bracket is open", "too early"),
    ("a = " + "[" * 5000, (1, 5, "["), "a", "nested 5000 deep", "fewer levels"),
    # What follows.
    ("a = 1 b = 2", (1, 7, "b = 2"), "a", "second key", "new line"),
    ("a = 1,", (1, 6, ","), "a", "does not end with `,`", "Delete the `,`"),
    ("a = 1; # c", (1, 6, ";"), "a", "does not end with `;`", "Delete the `;`"),
    ("a = 1, 2", (1, 6, ", 2"), "a", "several values", "`a = [...]`"),
    ('a = "x" // c', (1, 9, "//"), "a", "does not begin a comment", "`#`"),
    ("a = 1 -- c", (1, 7, "--"), "a", "does not begin a comment", "`#`"),
    ("[a] b = 1", (1, 5, "b = 1"), "a", "More follows the header `[a]`", "new line"),
    # Headers.
    ("[a\nb = 1", (1, 1, "[a"), "a", "is not closed with `]`", "`[a]`"),
    ("[a.b # c", (1, 1, "[a.b # c"), "a.b", "is not closed", "`[a.b]`"),
    ("[[a]\nb = 1", (1, 1, "[[a]"), "a", "is not closed with `]]`", "`[[a]]`"),
    ("[a]]", (1, 4, "]"), "a", "one `]` too many", "`[a]`"),
    ("[]", (1, 1, "[]"), "", "has no name", "between the brackets"),
    ("[a.]", (1, 3, "."), "a", "missing after this dot", "Delete the dot"),
    ("[.a]", (1, 2, "."), "", "missing before this dot", "Delete the dot"),
    ("[my model]", (1, 1, "[my model]"), "", "other characters", '`["my model"]`'),
    ("[1, 2]", (1, 1, "[1, 2]"), "", "cannot begin with an array", "`key = [...]`"),
    # Keys.
    ("a..b = 1", (1, 2, "."), "a", "missing after this dot", "Delete the dot"),
    ("größe = 1", (1, 1, "größe"), "", "other characters", '`"größe" = ...`'),
    ("ñ = 1", (1, 1, "ñ"), "", "other characters", '`"ñ" = ...`'),
    ("max steps = 5", (1, 1, "max steps"), "", "other characters", "`max_steps = ...`"),
    ('a "x"', (1, 3, '"x"'), "a", "not followed by `=`", '`a = "x"`'),
    ("a", (1, 1, "a"), "a", "stands alone", "`a = ...`"),
    ("a: x", (1, 2, ":"), "a", "`:` does not give `a` a value", '`a = "x"`'),
    ("a: None", (1, 2, ":"), "a", "`:` does not give", '`a = "None"`'),
    ("a += 1", (1, 3, "+="), "a", "`+=` does not give", "`a = ...`"),
    ("--max-steps 5", (1, 1, "--max-steps"), "", "command line", "`max_steps = 5`"),
    ("--flag", (1, 1, "--flag"), "", "command line", "`flag = true`"),
    ("- a", (1, 1, "-"), "", "YAML", "`key = [...]`"),
    # Lines that are no TOML at all.
    ("= 1", (1, 1, "="), "", "No key stands before", "Write the key"),
    ('{"a": 1}', (1, 1, "{"), "", "looks like JSON", "`key = value`"),
    ("<<<<<<< ours\na = 1", (1, 1, "<<<<<<<"), "", "merge conflict", "Choose one"),
    ("a = 1\n=======\na = 2", (2, 1, "======="), "", "merge conflict", "Choose one"),
    ("// c", (1, 1, "//"), "", "does not begin a comment", "`#`"),
    ("@ base.toml", (1, 1, "@"), "", "on the command line", "`@ one.toml @ two.toml`"),
    # Definitions that contradict each other.
    ("a = 1\na = 2", (2, 1, "a"), "a", "`a` is set twice, first on line 1", "on line 1"),
    ("[t]\na = [\n1]\na = [\n2]", (4, 1, "a"), "t.a", "`t.a` is set twice, first on line 2", "2"),
    ("a = {b = 1, b = 2}", (1, 13, "b"), "a.b", "`a.b` is set twice", "Delete one of the two"),
    ("[[t]]\na = 1\n[[t]]\na = 1\na = 2", (5, 1, "a"), "t.1.a", "first on line 4", "line 4"),
    ("a = 1\na.b = 2", (2, 1, "a"), "a", "plain value since line 1", "value on line 1"),
    ("a.b = 1\na = 2", (2, 1, "a"), "a", "a table since line 1", "inside the table"),
    ("a = {}\na.b = 1", (2, 1, "a"), "a", "in braces", "inside the braces on line 1"),
    ("[a.b]\n[a]\nb.c = 1", (3, 1, "b"), "a.b", "own header on line 1", "below the header"),
    ("[a]\n[b]\n[ a ]", (3, 3, "a"), "a", "defined twice, first on line 1", "on line 1"),
    ("[[a]]\n[a.b]\n[a.b]", (3, 4, "b"), "a.0.b", "defined twice, first on line 2", "line 2"),
    ("[a]\n[[a]]", (2, 3, "a"), "a", "a single table since line 1", "`[[a]]` on line 1"),
    ("[[a]]\n[a]", (2, 2, "a"), "a", "an array of tables since line 1", "`[[a]]`"),
    ("a = 1\n[a.b]", (2, 2, "a"), "a", "a plain value since line 1", "in one place"),
    ("a = {}\n[a]", (2, 2, "a"), "a", "a table in braces since line 1", "in one place"),
    ("a = [1]\n[[a]]", (2, 3, "a"), "a", "an array since line 1", "in one place"),
    ("a.b = 1\n[a]", (2, 2, "a"), "a", "already has keys, on line 1", "with `a.` before"),
    # Characters that cannot be seen.
    ("\ufeffa = 1", (1, 1, "\ufeff"), "", "byte order mark", "without BOM"),
    ("a = 1\u00a0", (1, 6, "\u00a0"), "a", "U+00A0 (no-break space)", "plain space"),
    ("a\u00a0= 1", (1, 2, "\u00a0"), "a", "U+00A0 (no-break space)", "plain space"),
    ("b = 1\n\u200ba = 1", (2, 1, "\u200b"), "b", "U+200B (zero width space)", "Delete it"),
    ('a = "x\0y"', (1, 7, "\0"), "a", "U+0000 (NUL)", "`\\u0000`"),
    ("a = 1 # ü\x01", (1, 10, "\x01"), "a", "U+0001", "Delete it"),
    ("a = 1\rb = 2", (1, 6, "\r"), "a", "carriage return", "LF"),
]


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(
    ("text", "place", "key", "message", "recommendation"),
    EXAMPLES,
    ids=[re.sub(r"[^ -~]", "?", text[:30]) for text, *_ in EXAMPLES],
)
def test_exact_examples(
    text: str,
    place: tuple[int, int, str],
    key: str,
    message: str,
    recommendation: str,
    newline: str,
) -> None:
    text = text.replace("\n", newline)
    problem = problem_of(text)
    assert (problem.line, problem.column, marked(problem, text)) == place, problem
    assert problem.key == key
    assert message in problem.message
    assert recommendation in problem.recommendation
    assert explain_bytes(text) == problem


def explain_bytes(text: str) -> SyntaxProblem:
    return problem_of(text.encode("utf-8"))


def test_inline_tables_over_several_lines() -> None:
    text = "[m]\na = {\n  b = 1,\n  c = \n}"
    problem = problem_of(text)
    if sys.version_info < (3, 15):
        assert (problem.line, problem.column, problem.key) == (2, 5, "m.a")
        assert "`[m.a]`" in problem.recommendation
    else:
        assert (problem.line, problem.column, problem.key) == (4, 5, "m.a.c")


# The cure cures ----------------------------------------------------------------------------------

CURES: list[tuple[str, dict[str, Any]]] = [
    ("a = None", {"a": "None"}),
    ("a.b = null # c", {"a": {"b": "None"}}),
    ("a = True", {"a": True}),
    ("a = No", {"a": False}),
    ("a = -Infinity", {"a": float("-inf")}),
    ("a = Qwen/Qwen3-0.6B", {"a": "Qwen/Qwen3-0.6B"}),
    ("a = it's", {"a": "it's"}),
    ('a = say "x"', {"a": 'say "x'}),
    ("a = C:\\new", {"a": "C:\\new"}),
    ('a = C:\\new "it\'s" so', {"a": 'C:\\new "it\'s" so'}),
    ("a = “x y”", {"a": "x y"}),
    ("a = .5", {"a": 0.5}),
    ("a = +.5e3", {"a": 500.0}),
    ("a = 1.e5", {"a": 1e5}),
    ("a = -012", {"a": -12}),
    ("a = 1,234,567", {"a": 1234567}),
    ("a = 1_", {"a": 1}),
    ("a = 10GB", {"a": "10GB"}),
    ("a: yes", {"a": True}),
    ("a: [1, 2]", {"a": [1, 2]}),
    ("a: it's", {"a": "it's"}),
    ("a 5", {"a": 5}),
    ("a 'x'", {"a": "x"}),
    ("--model.max-len 5", {"model": {"max_len": 5}}),
    ("[a.b", {"a": {"b": {}}}),
    ("[[a]", {"a": [{}]}),
    ("[a]]", {"a": {}}),
    ("[a/b]", {"a/b": {}}),
]


@pytest.mark.parametrize(("text", "data"), CURES, ids=[text for text, _ in CURES])
def test_what_is_recommended_can_be_read(text: str, data: dict[str, Any]) -> None:
    problem = problem_of(text)
    lines = re.findall(r"`((?:[^`=]+=|\[).+?)`", problem.recommendation)
    assert lines, problem
    assert tomllib.loads(lines[0]) == data


@pytest.mark.parametrize("text", ["API_KEY: abc-123", 'auth_token "abc-123"', "--password abc-123"])
def test_a_secret_without_an_equals_sign_is_not_repeated(text: str) -> None:
    problem = problem_of(text)
    assert "abc" not in problem.message + problem.recommendation
    assert "= ...`" in problem.recommendation


# One mistake in a config -------------------------------------------------------------------------

CONFIG = """\
# A config with one mistake in it.
max_steps = 20
seq_len = 2_048

[model]
name = "org/name" # "quoted"
lora.rank = 8

[[orchestrator.source]]
name = 'a'
ratios = [0.5, 1]
limits = { low = 1, high = 2 }

[[orchestrator.source]]
name = "b"
prompt = \"\"\"
Two lines, a = [
and "quotes".\"\"\"
tags = [
  "x", # one
  "y",
]

[orchestrator.source.env]
id = "c"
when = 2026-08-21 09:30:00
off = false
"""
LINES = CONFIG.splitlines()
PAIRS = [
    number for number, line in enumerate(LINES, 1) if re.match(r"[\w.]+ = (?!\"\"\"|\[$)", line)
]
TEXTS = [number for number in PAIRS if re.search(r"= [\"']", LINES[number - 1])]
HEADERS = [number for number, line in enumerate(LINES, 1) if line.startswith("[")]


def with_line(number: int, line: str) -> str:
    return "\n".join([*LINES[: number - 1], line, *LINES[number:], ""])


def test_the_config_without_a_mistake() -> None:
    assert len(tomllib.loads(CONFIG)["orchestrator"]["source"]) == 2
    assert (len(PAIRS), len(TEXTS), len(HEADERS)) == (11, 4, 4)


def spoil(line: str, mistake: str) -> str:
    """A line of the config with a mistake."""
    key, equals, rest = line.partition(" = ")
    value, _, comment = rest.partition(" #")
    match mistake:
        case "no value":
            return f"{key} ="
        case "no equals":
            return f"{key} {value}"
        case "colon":
            return f"{key}: {value}"
        case "double equals":
            return f"{key} == {value}"
        case "null":
            return f"{key} = null"
        case "unquoted":
            return f"{key} = {value[1:-1]}"
        case "no end quote":
            return f"{key} = {value[:-1]}"
        case "comma":
            return f"{key} = {value}, # {comment}"
        case "bracket":
            return f"{key} = {value}]"
        case "no end bracket":
            return f"{key} = [{value}"
        case "no end brace":
            return f"{key} = {{x = {value}"
        case "unclosed header":
            return line[:-1]
        case "odd key":
            return f"größe.{key}{equals}{rest}"
        case "odd space":
            return f"{key}\u00a0= {value}"
    raise AssertionError(mistake)


@pytest.mark.parametrize(
    ("mistake", "lines"),
    [
        ("no value", PAIRS),
        ("no equals", PAIRS),
        ("colon", PAIRS),
        ("double equals", PAIRS),
        ("null", PAIRS),
        ("unquoted", TEXTS),
        ("no end quote", TEXTS),
        ("comma", PAIRS),
        ("bracket", PAIRS),
        ("no end bracket", PAIRS),
        ("no end brace", PAIRS),
        ("unclosed header", HEADERS),
        ("odd key", PAIRS),
        ("odd space", PAIRS),
    ],
)
def test_a_mistake_is_found_on_its_line(mistake: str, lines: list[int]) -> None:
    for number in lines:
        text = with_line(number, spoil(LINES[number - 1], mistake))
        problem = problem_of(text)
        assert problem.line == number, (text, problem)
        assert problem.recommendation


@pytest.mark.parametrize("number", PAIRS)
def test_a_second_definition_is_found_where_it_stands(number: int) -> None:
    line = LINES[number - 1]
    text = "\n".join([*LINES[:number], line, *LINES[number:], ""])
    problem = problem_of(text)
    last_part = line.partition(" =")[0].rfind(".") + 1
    assert (problem.line, problem.column) == (number + 1, last_part + 1)
    assert f"line {number}" in problem.message


# Published configs with a mistake ----------------------------------------------------------------

WORDS = {
    "text_none_bare": ("no null", "no value", "in quotes"),
    "text_unquoted": ("not in quotes", "no null"),
    "text_unclosed": ("is not closed",),
    "text_bom": ("byte order mark",),
    "text_dup_key": ("is set twice",),
    "text_dup_table": ("is defined twice",),
}


def test_every_broken_config_of_the_mutants(shared: Path) -> None:
    seen = set()
    with (shared / "prime-rl" / "mutants_visible.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            mutant = json.loads(line)
            kind, text = mutant["kind"], mutant["toml"]
            if kind not in WORDS or mutant["valid"]:
                continue
            seen.add(kind)
            problem = problem_of(text)
            assert any(words in problem.message for words in WORDS[kind]), problem
            assert problem.recommendation
            source = text.split("\n")[problem.line - 1]
            if kind == "text_unclosed":
                assert source.startswith("[")
                assert not source.endswith("]")
            elif kind.startswith("text_dup"):
                first = re.search(r"first on line (\d+)", problem.message)
                assert first is not None
                assert int(first[1]) < problem.line
                assert text.split("\n")[int(first[1]) - 1].split("=")[0] == source.split("=")[0]
            elif kind != "text_bom":
                assert source.endswith(f"= {marked(problem, text)}")
    assert seen == set(WORDS)


# Content that is no text -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "line", "column", "message"),
    [
        (b"a = 1\r\n\xc3\xa9 = 'caf\xe9'", 2, 9, "0xE9 is not valid in UTF-8, perhaps a `é`"),
        (b"# \xff", 1, 3, "0xFF is not valid"),
        ("a = 'ü'".encode("utf-16"), 1, 1, "UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff", 1, 1, "binary"),
        (gzip.compress(CONFIG.encode(), mtime=0), 1, 1, "binary"),
        (b"\0" * 100, 1, 1, "binary"),
        (bytes(range(256)) * 50, 1, 1, "binary"),
        (b"a = 1\nb = '\0'", 2, 6, "U+0000 (NUL)"),
        (b"\xef\xbb\xbfa = 1", 1, 1, "byte order mark"),
    ],
)
def test_bytes(data: bytes, line: int, column: int, message: str) -> None:
    problem = problem_of(data)
    assert (problem.line, problem.column) == (line, column)
    assert message in problem.message
    assert problem.message.count(".") == 1
    assert problem.recommendation


def test_a_decoding_error_without_its_bytes() -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        b"a = 1\n\xe9".decode("utf-8")
    assert explain(caught.value, "")[1:3] == (2, 1)


# Other Pythons, and anything else ----------------------------------------------------------------


class NewerError(ValueError):
    """How Python 3.14 says where it stopped."""

    def __init__(self, msg: str, lineno: int, colno: int) -> None:
        super().__init__(f"{msg} (somewhere)")
        self.msg, self.lineno, self.colno = msg, lineno, colno


def test_errors_of_newer_pythons() -> None:
    text = "a = 1\r\nb = None"
    assert explain(NewerError("Invalid value", 2, 5), text) == problem_of(text)
    text = "a = 1\nb ="
    assert explain(NewerError("Invalid value", 2, 4), text) == problem_of(text)


@pytest.mark.parametrize(
    "error", [ValueError("Something new"), NewerError("Something new", 1, 1), KeyError("a")]
)
def test_an_error_that_nobody_knows(error: Exception) -> None:
    problem = explain(error, "a = 1")
    assert "not valid TOML" in problem.message
    assert (problem.line, problem.column) == (1, 1)


def test_a_key_with_too_many_parts() -> None:
    problem = explain(
        RecursionError("TOML key has too many parts"), "b = 1\n" + "a." * 3000 + "a=1"
    )
    assert (problem.line, problem.column) == (2, 1)
    assert "more parts" in problem.message


PIECES = st.sampled_from(
    [*LINES, *(text for text, *_ in EXAMPLES if len(text) < 100), *"[]{}\"'=,.\\#:\n\r\t é\0-1a"]
)


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(PIECES, min_size=1, max_size=6), separator=st.sampled_from(["", " ", "\n"]))
def test_whatever_is_written(pieces: list[str], separator: str) -> None:
    text = separator.join(pieces)
    try:
        tomllib.loads(text)
    except ValueError as error:
        problem = explain(error, text)
        lines = text.replace("\r\n", "\n").split("\n")
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= problem.end_column <= len(lines[problem.line - 1]) + 1
        assert problem.message.endswith(".")
        assert problem.recommendation.endswith(".")
        stopped = re.search(r"at line (\d+)", str(error))
        assert problem.line <= (int(stopped[1]) if stopped else len(lines))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60))
def test_whatever_is_in_a_file(data: bytes) -> None:
    try:
        tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        problem = explain(error, data)
        assert problem.line <= data.count(b"\n") + 1
        assert problem.column >= 1
