"""Where everything in a TOML text stands, in whatever layout the text is written."""

from __future__ import annotations

import datetime as dt
import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_prime_train.config.positions import Positions, Span, scan
from pytest_prime_train.findings import KeyPath

# Reading the text of a span ----------------------------------------------------------------------


def offsets(text: str, span: Span) -> tuple[int, int]:
    """Start and end of a span, worked out line by line."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return (
        starts[span.line - 1] + span.column - 1,
        starts[span.end_line - 1] + span.end_column - 1,
    )


def cut(text: str, span: Span | None) -> str | None:
    """The text of a span."""
    if span is None:
        return None
    start, end = offsets(text, span)
    return text[start:end]


def walk(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every path of a document with its value, but the document itself."""
    if path:
        yield path, value
    if isinstance(value, dict | list):
        for name, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from walk(child, (*path, name))


def same(one: Any, other: Any) -> bool:
    """Equal with types, so that 1, 1.0 and true differ; also where nan is."""
    return repr(one) == repr(other)


def replaced(value: Any, path: KeyPath, new: Any) -> Any:
    """A copy of the data with another value at one place."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def renamed(value: Any, path: KeyPath, new: str) -> Any:
    """A copy of the data with another name for one key."""
    copy = value.copy()
    if len(path) == 1:
        copy[new] = copy.pop(path[0])
    else:
        copy[path[0]] = renamed(value[path[0]], path[1:], new)
    return copy


def check_path(text: str, positions: Positions, path: KeyPath, value: Any) -> None:
    """The spans of one path show its name, its value and its header."""
    written = cut(text, positions.value(path))
    key = cut(text, positions.key(path))
    header = cut(text, positions.header(path))
    names = [part for part in path if isinstance(part, str)]
    assert key is not None, path
    if written is not None:
        assert same(tomllib.loads(f"x = {written}")["x"], value), path
    else:
        # Only headers and dotted keys make something without writing it as a value.
        assert isinstance(value, dict) or all(isinstance(child, dict) for child in value), path
    if isinstance(path[-1], int) and written is not None:
        assert key == written, path
    else:
        assert list(tomllib.loads(f"{key} = 0")) == names[-1:], path
    if isinstance(value, dict):
        assert header is not None, path
        if header.startswith("["):
            opened: Any = tomllib.loads(header)
            for name in names:
                assert list(opened) == [name], path
                opened = opened[name][0] if isinstance(opened[name], list) else opened[name]
        else:
            assert header == key, path
        assert positions.locate((*path, "not there", 0)) == positions.header(path)
    elif written is not None:
        assert header is None, path
        assert positions.locate((*path, "not there")) == positions.key(path)
    assert positions.locate(path) == positions.key(path)
    assert positions.locate(path, "value") == (positions.value(path) or positions.key(path))


# Writing data in a random layout -----------------------------------------------------------------


class Layout:
    """Writes data as TOML 1.0, choosing every freedom of the syntax at random."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.newline = random.choice(["\n", "\r\n"])

    def maybe(self, chance: float) -> bool:
        return self.random.random() < chance

    def document(self, data: dict[str, Any]) -> str:
        return self.section((), data)

    def section(
        self, names: tuple[str, ...], table: dict[str, Any], *, is_element: bool = False
    ) -> str:
        """A table with its header, and all that is inside it."""
        lines: list[str] = []
        inner: list[str] = []
        self.fill(table, names, (), lines, inner)
        self.random.shuffle(lines)
        self.random.shuffle(inner)
        body, inside = "".join(lines), "".join(inner)
        if not names:
            return body + inside
        brackets = ("[[", "]]") if is_element else ("[", "]")
        header = f"{self.blank()}{brackets[0]}{self.key(names)}{brackets[1]}{self.end()}"
        if is_element:
            return header + body + inside
        if not body and inside and self.maybe(0.5):
            return inside
        return inside + header + body if self.maybe(0.2) else header + body + inside

    def fill(
        self,
        table: dict[str, Any],
        names: tuple[str, ...],
        prefix: tuple[str, ...],
        lines: list[str],
        inner: list[str],
    ) -> None:
        """Write what is in a table, as lines of its section or as sections of their own."""
        for name, value in table.items():
            key = (*prefix, name)
            if isinstance(value, dict) and value and self.maybe(0.4):
                self.fill(value, names, key, lines, inner)
            elif isinstance(value, dict) and self.maybe(0.6):
                inner.append(self.section((*names, *key), value))
            elif is_tables(value) and self.maybe(0.6):
                elements = [self.section((*names, *key), each, is_element=True) for each in value]
                inner.append("".join(elements))
            else:
                lines.append(self.blank() + self.pair(key, value) + self.end())

    def pair(self, key: tuple[str, ...], value: Any) -> str:
        return f"{self.key(key)}={self.blank()}{self.value(value)}"

    def key(self, names: tuple[str, ...]) -> str:
        return ".".join(self.blank() + self.name(name) + self.blank() for name in names)

    def name(self, name: str) -> str:
        if re.fullmatch("[A-Za-z0-9_-]+", name) and self.maybe(0.8):
            return name
        return self.random.choice([self.basic, self.literal])(name)

    def value(self, value: Any) -> str:
        match value:
            case bool():
                return "true" if value else "false"
            case int():
                forms = [str(value), f"{value:_}", f"{value:+}"]
                forms += [hex(value), oct(value), bin(value)] if value >= 0 else []
                return self.random.choice(forms)
            case float():
                return repr(value)
            case str():
                forms_of_text = [self.basic, self.literal, self.long_basic, self.long_literal]
                return self.random.choice(forms_of_text)(value)
            case dt.datetime():
                return value.isoformat(sep=self.random.choice(["T", "t", " "]))
            case dt.date() | dt.time():
                return value.isoformat()
            case dict():
                pairs = ",".join(self.blank() + pair + self.blank() for pair in self.pairs(value))
                return f"{{{pairs or self.blank()}}}"
        elements = ",".join(self.gap() + self.value(each) + self.gap() for each in value)
        comma = "," + self.gap() if elements and self.maybe(0.3) else ""
        return f"[{elements or self.gap()}{comma}]"

    def pairs(self, table: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[str]:
        for name, value in table.items():
            if isinstance(value, dict) and value and self.maybe(0.4):
                yield from self.pairs(value, (*prefix, name))
            else:
                yield self.pair((*prefix, name), value)

    def basic(self, text: str) -> str:
        return f'"{"".join(map(self.escaped, text))}"'

    def escaped(self, character: str) -> str:
        short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
        if character in short:
            return short[character]
        if (character < " " and character != "\t") or character == "\x7f" or self.maybe(0.05):
            code = ord(character)
            return f"\\u{code:04x}" if code <= 0xFFFF and self.maybe(0.7) else f"\\U{code:08X}"
        return character

    def literal(self, text: str) -> str:
        if "'" in text or re.search(r"[\x00-\x08\n-\x1f\x7f]", text):
            return self.basic(text)
        return f"'{text}'"

    def long_literal(self, text: str) -> str:
        if "'''" in text or re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
            return self.long_basic(text)
        first = self.newline if text.startswith("\n") or self.maybe(0.3) else ""
        return "'''" + first + text.replace("\n", self.newline) + "'''"

    def long_basic(self, text: str) -> str:
        written = self.newline if text.startswith("\n") or self.maybe(0.3) else ""
        for character in text:
            if character not in " \t\n" and self.maybe(0.1):
                # A backslash at the end of a line takes all white space before what comes next.
                written += f"\\{self.blank()}{self.newline}{self.blank()}"
            if character == "\n":
                written += self.newline if self.maybe(0.7) else "\\n"
            elif character == '"' and not written.endswith('""'):
                written += '"'
            else:
                written += self.escaped(character)
        return f'"""{written}"""'

    def blank(self) -> str:
        return self.random.choice(["", "", " ", "\t "])

    def comment(self) -> str:
        return self.random.choice(["# plain", "# a = \"x\" [no.table] ''' é", "#]}", "#"])

    def end(self) -> str:
        """The end of a line, with a comment or an empty line at times."""
        comment = self.comment() if self.maybe(0.2) else ""
        empty = self.blank() + self.newline if self.maybe(0.2) else ""
        return self.blank() + comment + self.newline + empty

    def gap(self) -> str:
        """What may stand between the elements of an array."""
        return self.end() if self.maybe(0.2) else self.blank()


def is_tables(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(each, dict) for each in value)


CHARACTERS = st.one_of(
    st.sampled_from("ab_-.#=[]{},'\"\\ \t\n\r\x00\x7fé名😀\u2028\u0085"),
    st.characters(exclude_categories=["Cs"]),
)
KEYS = st.one_of(
    st.sampled_from(["a", "b", "model", "seq_len", "x-1", "1"]), st.text(CHARACTERS, max_size=4)
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(CHARACTERS, max_size=8),
    st.text(st.sampled_from("\"'\n\\ a"), max_size=6),
    st.datetimes(timezones=st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=-8))])),
    st.dates(),
    st.times(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
        st.lists(st.dictionaries(KEYS, inner, max_size=2), min_size=1, max_size=3),
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)
NEW = "a name that is not there"


@settings(max_examples=150, deadline=None)
@given(data=DOCUMENTS, random=st.randoms(use_true_random=False))
def test_every_layout(data: dict[str, Any], random: Random) -> None:
    text = Layout(random).document(data)
    parsed = tomllib.loads(text)
    assert parsed == data, "the layout must say what was meant"
    positions = scan(text)
    for path, value in walk(parsed):
        check_path(text, positions, path, value)
        span = positions.value(path)
        if span is None:
            continue
        # Changing the text of the span changes this place and no other.
        start, end = offsets(text, span)
        changed = text[:start] + f"'{NEW}'" + text[end:]
        assert tomllib.loads(changed) == replaced(data, path, NEW)
        key = positions.key(path)
        if isinstance(path[-1], str) and key is not None:
            start, end = offsets(text, key)
            changed = text[:start] + f"'{NEW}'" + text[end:]
            assert tomllib.loads(changed) == renamed(data, path, NEW)


def test_every_published_config(shared: Path) -> None:
    files = sorted((shared / "prime-rl" / "configs").rglob("*.toml"))
    assert len({file.relative_to(shared / "prime-rl" / "configs").parts[0] for file in files}) == 5
    for file in files:
        text = file.read_text(encoding="utf-8")
        positions = scan(text)
        for path, value in walk(tomllib.loads(text)):
            check_path(text, positions, path, value)


# Exact places ------------------------------------------------------------------------------------

EXAMPLE = '''\
# Größe
a.b.c = 1
 "quoted key" . 'literal' = """"quoted""""
when = 1979-05-27 07:32:00 # a date
"\\u00fc" = 'ü' # é
[ x . "y.z" ]
list = [1, [2, "]"], # ] not here
  {k = 'v', m.n = [ ] },
]
long = """
one \\
  two \\""" """
[t.u]
v = {}
[t]
u2.w = 1
[t.u2.more]
[[es]]
n = 1
[[es.sub]]
[es.sub.deep]
v = \'\'\'it\'\'s\'\'\'\'\'
[[es]]
n = 2
last = "no line end"'''

KEYS_AT: dict[KeyPath, tuple[int, int, str]] = {
    ("a",): (2, 1, "a"),
    ("a", "b"): (2, 3, "b"),
    ("a", "b", "c"): (2, 5, "c"),
    ("quoted key",): (3, 2, '"quoted key"'),
    ("quoted key", "literal"): (3, 17, "'literal'"),
    ("when",): (4, 1, "when"),
    ("ü",): (5, 1, '"\\u00fc"'),
    ("x",): (6, 3, "x"),
    ("x", "y.z"): (6, 7, '"y.z"'),
    ("x", "y.z", "list", 0): (7, 9, "1"),
    ("x", "y.z", "list", 1, 1): (7, 16, '"]"'),
    ("x", "y.z", "list", 2): (8, 3, "{k = 'v', m.n = [ ] }"),
    ("x", "y.z", "list", 2, "k"): (8, 4, "k"),
    ("x", "y.z", "list", 2, "m"): (8, 13, "m"),
    ("x", "y.z", "list", 2, "m", "n"): (8, 15, "n"),
    ("t",): (15, 2, "t"),
    ("t", "u"): (13, 4, "u"),
    ("t", "u2"): (16, 1, "u2"),
    ("t", "u2", "w"): (16, 4, "w"),
    ("t", "u2", "more"): (17, 7, "more"),
    ("es",): (18, 3, "es"),
    ("es", 0): (18, 3, "es"),
    ("es", 0, "n"): (19, 1, "n"),
    ("es", 0, "sub"): (20, 6, "sub"),
    ("es", 0, "sub", 0): (20, 6, "sub"),
    ("es", 0, "sub", 0, "deep"): (21, 9, "deep"),
    ("es", 1): (23, 3, "es"),
    ("es", 1, "n"): (24, 1, "n"),
    ("es", 1, "last"): (25, 1, "last"),
}
VALUES_AT: dict[KeyPath, tuple[int, int, str | None]] = {
    ("a",): (0, 0, None),
    ("a", "b"): (0, 0, None),
    ("a", "b", "c"): (2, 9, "1"),
    ("quoted key", "literal"): (3, 29, '""""quoted""""'),
    ("when",): (4, 8, "1979-05-27 07:32:00"),
    ("ü",): (5, 12, "'ü'"),
    ("x", "y.z"): (0, 0, None),
    ("x", "y.z", "list"): (
        7,
        8,
        "[1, [2, \"]\"], # ] not here\n  {k = 'v', m.n = [ ] },\n]",
    ),
    ("x", "y.z", "list", 1): (7, 12, '[2, "]"]'),
    ("x", "y.z", "list", 2, "m"): (0, 0, None),
    ("x", "y.z", "list", 2, "m", "n"): (8, 19, "[ ]"),
    ("x", "y.z", "long"): (10, 8, '"""\none \\\n  two \\""" """'),
    ("t", "u", "v"): (14, 5, "{}"),
    ("es",): (0, 0, None),
    ("es", 0): (0, 0, None),
    ("es", 0, "sub", 0, "deep", "v"): (22, 5, "'''it''s'''''"),
    ("es", 1, "last"): (25, 8, '"no line end"'),
}
HEADERS_AT: dict[KeyPath, tuple[int, int, str | None]] = {
    ("a",): (2, 1, "a"),
    ("a", "b"): (2, 3, "b"),
    ("a", "b", "c"): (0, 0, None),
    ("x",): (6, 3, "x"),
    ("x", "y.z"): (6, 1, '[ x . "y.z" ]'),
    ("x", "y.z", "list"): (0, 0, None),
    ("x", "y.z", "list", 2): (8, 3, "{k = 'v', m.n = [ ] }"),
    ("t",): (15, 1, "[t]"),
    ("t", "u"): (13, 1, "[t.u]"),
    ("t", "u", "v"): (14, 1, "v"),
    ("t", "u2"): (16, 1, "u2"),
    ("es",): (18, 1, "[[es]]"),
    ("es", 0): (18, 1, "[[es]]"),
    ("es", 0, "sub", 0): (20, 1, "[[es.sub]]"),
    ("es", 0, "sub", 0, "deep"): (21, 1, "[es.sub.deep]"),
    ("es", 1): (23, 1, "[[es]]"),
}


def place(text: str, span: Span | None) -> tuple[int, int, str | None]:
    return (0, 0, None) if span is None else (span.line, span.column, cut(text, span))


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_exact_places(newline: str) -> None:
    text = EXAMPLE.replace("\n", newline)
    tomllib.loads(text)
    positions = scan(text)
    for path, (line, column, key) in KEYS_AT.items():
        assert place(text, positions.key(path)) == (line, column, key), path
    for path, (line, column, written) in VALUES_AT.items():
        expected = written and written.replace("\n", newline)
        assert place(text, positions.value(path)) == (line, column, expected), path
    for path, (line, column, header) in HEADERS_AT.items():
        assert place(text, positions.header(path)) == (line, column, header), path


def test_a_span_ends_before_the_line_end() -> None:
    positions = scan("[a]\r\nb = [\r\n 1 ]\r\n")
    assert positions.header(("a",)) == Span(1, 1, 1, 4)
    assert positions.value(("a", "b")) == Span(2, 5, 3, 5)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("a", "b", "c"), (2, 5, "c")),
        (("a", "b", "d"), (2, 3, "b")),
        (("a", "d", "e", 5), (2, 1, "a")),
        (("a", "b", "c", "below a number"), (2, 5, "c")),
        (("x", "y.z", "new"), (6, 1, '[ x . "y.z" ]')),
        (("x", "y.z", "list", 7), (7, 1, "list")),
        (("x", "y.z", "list", 2, "new", "er"), (8, 3, "{k = 'v', m.n = [ ] }")),
        (("t", "new"), (15, 1, "[t]")),
        (("es", 1, "new"), (23, 1, "[[es]]")),
        (("es", 9, "new"), (18, 1, "[[es]]")),
        (("es", "new"), (18, 1, "[[es]]")),
        (("new",), (1, 1, "#")),
        (("new", "er"), (1, 1, "#")),
        ((), (1, 1, "#")),
    ],
)
def test_what_is_not_there_is_shown_where_it_belongs(
    path: KeyPath, expected: tuple[int, int, str]
) -> None:
    positions = scan(EXAMPLE)
    assert place(EXAMPLE, positions.locate(path)) == expected
    if path != ("a", "b", "c"):
        assert positions.locate(path, "value") == positions.locate(path)
        assert positions.key(path) is None
        assert positions.value(path) is None
        assert positions.header(path) is None


@pytest.mark.parametrize("text", ["", "\n", "\r\n", "\n\n# only a comment"])
def test_a_text_without_keys(text: str) -> None:
    assert scan(text).locate(("a", 0, "b")) == Span(1, 1, 1, 1)


def test_columns_count_characters() -> None:
    text = '"😀é" = "\u2028名" # \x85\nb = ["é", "x"]'
    positions = scan(text)
    assert positions.key(("😀é",)) == Span(1, 1, 1, 5)
    assert positions.value(("😀é",)) == Span(1, 8, 1, 12)
    assert positions.value(("b", 1)) == Span(2, 11, 2, 14)


def test_line_breaks_in_inline_tables_where_python_reads_them() -> None:
    text = "a = { # one\n  b = 1, # two\n  c.d = [2],\n}\n"
    positions = scan(text)
    assert positions.key(("a", "b")) == Span(2, 3, 2, 4)
    assert positions.value(("a", "c", "d", 0)) == Span(3, 10, 3, 11)
    assert positions.value(("a",)) == Span(1, 5, 4, 2)


# Size --------------------------------------------------------------------------------------------

LARGE = {
    "sections": "".join(f'[t{i}]\na.b = [1, 2]\nc = "x"\n' for i in range(8_000)),
    "elements": "[[t]]\na = 1\n" * 20_000,
    "one array": "a = [" + "1, " * 100_000 + "]",
    "one inline table": "a = {" + ",".join(f"k{i}=1" for i in range(30_000)) + "}",
    "one string": 'a = """' + '"" \\" ' * 50_000 + '"""',
    "one literal": "a = '''" + "'' " * 100_000 + "'''",
    "one key": "a" + ".a" * 100_000 + " = 1",
    "one header": "[a" + " . a" * 100_000 + "]",
    "comments": "# x\n" * 80_000,
    "an array of comments": "a = [" + "#\n" * 150_000 + "]",
    "blank lines": " \r\n" * 100_000,
    "arrays in arrays": "a = " + "[" * 50_000 + "]" * 50_000,
    "tables in tables": "a = " + "{a = " * 30_000 + "1" + "}" * 30_000,
    "a string without end": 'a = """' + '"" ' * 100_000,
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_time_grows_with_the_text_and_not_faster(text: str) -> None:
    started = time.perf_counter()
    positions = scan(text)
    for part in ("key", "value"):
        positions.locate(("a",) * 60_000, part)
        positions.locate(("t", 19_999, "a"), part)
    # Takes well below a second; what is quadratic takes minutes.
    assert time.perf_counter() - started < 10


def test_nesting_as_deep_as_tomllib_reads() -> None:
    depth = 300
    text = "a = " + "[" * depth + "{b = 1}" + "]" * depth
    tomllib.loads(text)
    found = scan(text).key(("a", *(0,) * depth, "b"))
    assert found == Span(1, 6 + depth, 1, 7 + depth)
