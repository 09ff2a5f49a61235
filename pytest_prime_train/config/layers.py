"""The documents that a config is composed of: TOML, JSON and YAML files, and arguments.

Each is a layer with its data and the places of its keys. Loaded only where configs are composed.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from pytest_prime_train.config.document import Document, Unreadable, read, read_bytes
from pytest_prime_train.findings import KeyPath, Location

if TYPE_CHECKING:
    from collections.abc import Iterator

Part: TypeAlias = Literal["key", "value"]

COMMAND_LINE = "<command line>"
"""Path of findings about arguments; they stand in line 1, joined by single blanks."""

SUFFIXES = (".toml", ".json", ".yaml", ".yml")
"""Files that prime-rl composes; it tells the format by the suffix alone."""


class NotUsable(Exception):
    """A file that cannot be read here, with the reason and the cure in one sentence."""


class Broken(NamedTuple):
    """Why a file is not what its suffix says.

    Attributes:
        message: What is wrong, in one sentence.
        line: Line of the mistake, from 1.
        column: Its column in characters, from 1.
        recommendation: What to write instead; empty where nobody can know.
    """

    message: str
    line: int = 1
    column: int = 1
    recommendation: str = ""


class FileLayer:
    """One file of a composition.

    Attributes:
        path: As the user gave it.
        text: Its text, for code frames.
        data: What it holds, usually a table.
        broken: Why it could not be parsed, or ``None``.
        odd_keys: Keys that are not text, which YAML allows; in ``data`` they are text.
    """

    is_file = True

    def __init__(self, path: str, text: str, data: Any, broken: Broken | None = None) -> None:
        self.path = path
        self.text = text
        self.data = data
        self.broken = broken
        self.odd_keys: list[KeyPath] = []

    def locate(self, path: KeyPath, part: Part = "key") -> Location:
        """The place of a key or value; for one that is not there, of what is nearest to it."""
        return Location(self.path)


class TomlLayer(FileLayer):
    """A TOML file."""

    def __init__(self, document: Document) -> None:
        broken = None
        if document.error is not None:
            from pytest_prime_train.config.syntax import explain

            problem = explain(document.error, document.text)
            broken = Broken(problem.message, problem.line, problem.column, problem.recommendation)
        super().__init__(document.path, document.text, document.data, broken)
        self._document = document

    def locate(self, path: KeyPath, part: Part = "key") -> Location:
        """The place of a key or value; for one that is not there, of the table it belongs in."""
        if self.broken is not None:
            return Location(self.path)
        return self._document.locate(path, part)


class MarkedLayer(FileLayer):
    """A JSON or YAML file."""

    def __init__(self, path: str, text: str, data: Any, marks: dict[KeyPath, Marks]) -> None:
        super().__init__(path, text, data)
        self.marks = marks

    def locate(self, path: KeyPath, part: Part = "key") -> Location:
        """The place of a key or value; for one that is not there, of the nearest one above it."""
        for length in range(len(path), 0, -1):
            found = self.marks.get(path[:length])
            if found is not None:
                start, end = found[part == "value" and length == len(path)]
                return Location(self.path, *self._place(start), *self._place(end))
        return Location(self.path)

    def _place(self, offset: int) -> tuple[int, int]:
        line_start = self.text.rfind("\n", 0, offset) + 1
        return self.text.count("\n", 0, offset) + 1, offset - line_start + 1


Marks: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
"""Offsets of a key and of its value, each with its end; an element of an array has no key and
its value twice."""


class ArgumentLayer:
    """One option of a command line with its value.

    Attributes:
        text: All arguments, joined by single blanks.
        data: What the option sets.
        flag: Offsets of the option.
        value: Offsets of the value; those of the option where it has none.
    """

    path = COMMAND_LINE
    is_file = False

    def __init__(
        self, text: str, data: Any, flag: tuple[int, int], value: tuple[int, int] | None = None
    ) -> None:
        self.text = text
        self.data = data
        self.flag = flag
        self.value = value or flag

    def locate(self, path: KeyPath, part: Part = "key") -> Location:
        """The place of the option or of its value."""
        start, end = self.value if part == "value" else self.flag
        return Location(self.path, 1, start + 1, 1, end + 1)


Layer: TypeAlias = FileLayer | ArgumentLayer


def load(path: str) -> FileLayer:
    """Read a file as prime-rl does, by its suffix.

    Raises:
        Unreadable: It cannot be opened or read, or is no file.
        NotUsable: Its suffix is none that prime-rl reads, or what reads it is not installed.
    """
    if path.endswith(".toml"):
        return TomlLayer(read(path))
    if path.endswith(".json"):
        return _json(path, read_bytes(path))
    if path.endswith((".yaml", ".yml")):
        return _yaml(path, read_bytes(path))
    suffix = os.path.splitext(path)[1]
    ends = f"ends in {suffix!r}" if suffix else "has no suffix"
    raise NotUsable(
        f"{path} {ends}, and prime-rl reads only files that end in {', '.join(SUFFIXES)}"
    )


def _json(path: str, content: bytes) -> FileLayer:
    import json

    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        shown = content.decode(errors="replace")
        return FileLayer(path, shown, {}, Broken(f"This is not valid JSON: {error.reason}."))
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"This is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}."
        return FileLayer(path, text, {}, Broken(message, error.lineno, error.colno))
    except RecursionError:
        message = "The brackets of this JSON are nested deeper than can be read."
        return FileLayer(path, text, {}, Broken(message))
    except ValueError as error:  # A number with more digits than Python reads.
        return FileLayer(path, text, {}, Broken(f"This JSON cannot be read: {error}."))
    return MarkedLayer(path, text, data, _json_marks(text))


_JSON_TOKEN = re.compile(
    r'[\s,:]*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<mark>[{}\[\]])|(?P<word>[^\s,:{}\[\]]+))'
)


def _json_marks(text: str) -> dict[KeyPath, Marks]:
    """The places of everything in a text that is valid JSON."""
    import json

    marks: dict[KeyPath, Marks] = {}
    # Of every open bracket: its path, whether it is an object, and the key or number in it.
    open_: list[list[Any]] = []
    begun: list[int] = []

    def finish(path: KeyPath, key: tuple[int, int] | None, value: tuple[int, int]) -> None:
        marks[path] = (key or value, value)

    for match in _JSON_TOKEN.finditer(text):
        start, end = match.span(match.lastgroup or 0)
        mark = match["mark"]
        inner = open_[-1] if open_ else None
        if mark in ("}", "]"):
            open_.pop()
            opened = begun.pop()
            if open_:
                path, is_object, name, key = open_[-1]
                finish((*path, name), key, (opened, end))
                open_[-1][2] = None if is_object else name + 1
            continue
        if inner is not None and inner[1] and inner[2] is None:
            # strict=False as the text may hold what json.loads took.
            inner[2] = json.loads(match["string"], strict=False) if match["string"] else ""
            inner[3] = (start, end)
            continue
        if mark is None:
            if inner is not None:
                finish((*inner[0], inner[2]), inner[3], (start, end))
                inner[2] = None if inner[1] else inner[2] + 1
            continue
        path = (*inner[0], inner[2]) if inner is not None else ()
        begun.append(start)
        open_.append([path, mark == "{", None if mark == "{" else 0, None])
    return marks


def _yaml(path: str, content: bytes) -> FileLayer:
    try:
        # Not a dependency; the tools of most people have it.
        yaml: Any = import_module("yaml")
    except ImportError:
        raise NotUsable(
            f"{path} is a YAML file, and PyYAML, which reads those, is not installed here: "
            "pip install pyyaml, or write the file as TOML"
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # YAML may be UTF-16 as well, and tells so by its first characters.
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError as error:
            shown = content.decode(errors="replace")
            return FileLayer(path, shown, {}, Broken(f"This is not valid YAML: {error.reason}."))
    try:
        # Safe: it makes no Python objects, whatever tags the file has.
        data = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        message = f"This is not valid YAML: {reason}."
        if mark is None:
            return FileLayer(path, text, {}, Broken(message))
        return FileLayer(path, text, {}, Broken(message, mark.line + 1, mark.column + 1))
    except RecursionError:
        message = "This YAML is nested deeper than can be read."
        return FileLayer(path, text, {}, Broken(message))
    except ValueError as error:  # A date that does not exist.
        return FileLayer(path, text, {}, Broken(f"This YAML cannot be read: {error}."))
    odd: list[KeyPath] = []
    budget = [_MOST_NODES]
    try:
        data = _with_text_keys(data, (), odd, budget)
        layer = MarkedLayer(path, text, data, dict(_yaml_marks(root, (), budget)))
    except (_TooMuch, RecursionError):
        message = "This YAML unfolds through its anchors to more than can be read."
        return FileLayer(path, text, {}, Broken(message))
    layer.odd_keys = odd
    return layer


# Anchors can make a small file large, or endless.
_MOST_NODES = 200_000


class _TooMuch(Exception):
    pass


def _spend(budget: list[int]) -> None:
    budget[0] -= 1
    if budget[0] < 0:
        raise _TooMuch


def _yaml_marks(node: Any, path: KeyPath, budget: list[int]) -> Iterator[tuple[KeyPath, Marks]]:
    _spend(budget)
    if node is None:
        return
    if node.id == "mapping":
        for key, value in node.value:
            if key.id != "scalar":
                continue
            inner = (*path, key.value)
            start, end = key.start_mark.index, key.end_mark.index
            yield inner, ((start, end), (value.start_mark.index, value.end_mark.index))
            yield from _yaml_marks(value, inner, budget)
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            span = (value.start_mark.index, value.end_mark.index)
            yield (*path, number), (span, span)
            yield from _yaml_marks(value, (*path, number), budget)


def _with_text_keys(value: Any, path: KeyPath, odd: list[KeyPath], budget: list[int]) -> Any:
    _spend(budget)
    if type(value) is dict:
        table = {}
        for key, item in value.items():
            name = key if type(key) is str else _scalar(key)
            if type(key) is not str:
                odd.append((*path, name))
            table[name] = _with_text_keys(item, (*path, name), odd, budget)
        return table
    if type(value) is list:
        return [_with_text_keys(item, (*path, n), odd, budget) for n, item in enumerate(value)]
    return value


def _scalar(key: Any) -> str:
    if key is None or type(key) is bool:
        return {None: "null", True: "true", False: "false"}[key]
    return str(key)


__all__ = [
    "COMMAND_LINE", "SUFFIXES", "ArgumentLayer", "Broken", "FileLayer", "Layer", "MarkedLayer",
    "NotUsable", "TomlLayer", "Unreadable", "load",
]  # fmt: skip
