"""Options of prime-rl's command line: ``--max-steps 5``, ``--no-ckpt``, ``--trainer.optim.lr=1``.

How an option is read depends on what the program has at its path, by the names with dashes; the
rounds and their order are those of prime-rl's own loader.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from pytest_prime_train.config.layers import COMMAND_LINE, ArgumentLayer
from pytest_prime_train.findings import KeyPath, Location, Problem, Severity, format_key
from pytest_prime_train.schema.bundle import Schema
from pytest_prime_train.schema.nodes import Node

if TYPE_CHECKING:
    from pytest_prime_train.config.compose import Complaint, Token, Tree

Kind: TypeAlias = Literal["optional", "group", "bool", "list", "map", "scalar", "unknown"]


class Option(NamedTuple):
    """What a program has at the path of an option.

    Attributes:
        kind: ``optional`` block, ``group`` of keys, or the way its value is read.
        keys: The key that it sets.
        below: Whether it is a key below an optional block.
    """

    kind: Kind
    keys: tuple[str, ...]
    below: bool = False


_TRUE = ("true", "True", "1")
_FALSE = ("false", "False", "0")


class Options:
    """Reads the options of one line.

    Attributes:
        complaints: What prime-rl refuses or drops.
    """

    def __init__(self, schema: Schema, root: str | None, line: str) -> None:
        self._schema = schema
        self._root = root
        self._line = line
        self.complaints: list[Complaint] = []

    def read(self, tokens: list[Token]) -> Tree:
        """What the options set, with the place of each."""
        from pytest_prime_train.config.compose import Tree

        overrides, plain = Tree(), Tree()
        tokens = self._read_optional(tokens, overrides)
        tokens = self._read_json(tokens, overrides)
        for token in self._read_plain(tokens, plain):
            hint = "Leave it out, or write it behind the option that it belongs to."
            if token.text.startswith("@"):
                hint = f"Put a blank between: @ {token.text[1:]}."
            elif token.text.endswith((".toml", ".json", ".yaml", ".yml")):
                hint = f"Write @ before every file: @ {token.text}."
            self._complain((), token, f"prime-rl does not take the argument {token.text!r}", hint)
        overrides.merge(plain.data, plain.marks)
        return overrides

    def look_up(self, path: str) -> Option:
        """What the program has at the path of an option, such as ``trainer.optim.lr``."""
        parts = path.split(".")
        keys = tuple(part.replace("-", "_") for part in parts)
        if self._root is None:
            return Option("unknown", keys)
        node: Node = ("table", self._schema.roots[self._root])
        for number, (part, key) in enumerate(zip(parts, keys, strict=True)):
            table = self._table(node)
            fields, _, aliases, _ = self._schema.tables[table] if table else ({}, None, {}, ())
            known = aliases.get(key, key)
            if "_" in part or known not in fields:
                return Option("unknown", keys)
            node = fields[known][0]
            if _is_optional(node) and key == known:
                is_last = number == len(parts) - 1
                return Option("optional", keys, below=not is_last)
        return Option(self._kind(node), keys)

    def _table(self, node: Node) -> str | None:
        """The class whose keys are options of their own."""
        if node[0] == "table":
            return str(node[1])
        if node[0] in ("env", "harness", "taskset") and self._schema.plugins:
            plugins = self._schema.plugins
            if node[0] == "taskset":
                return str(plugins["strict_taskset"])
            return str(plugins[node[0]][""])
        return None

    def _kind(self, node: Node) -> Kind:
        if self._table(node) is not None:
            return "group"
        inner = node[1] if node[0] == "null" else node
        kinds: dict[str, Kind] = {"bool": "bool", "list": "list", "map": "map"}
        return kinds.get(inner[0], "scalar")

    # The three rounds ----------------------------------------------------------------------------

    def _read_optional(self, tokens: list[Token], tree: Tree) -> list[Token]:
        """``--ckpt``, ``--ckpt None``, ``--no-ckpt``, ``--ckpt.interval 5``, ``--no-ckpt.x``."""
        rest: list[Token] = []
        number = 0
        while number < len(tokens):
            token = tokens[number]
            following = tokens[number + 1] if number + 1 < len(tokens) else None
            number += 1
            path = token.text[2:]
            if not token.text.startswith("--"):
                rest.append(token)
                continue
            if path.startswith("no-"):
                option = self.look_up(path[3:])
                if option.kind == "optional":
                    self._merge(tree, option.keys, False if option.below else "None", token)
                    continue
            option = self.look_up(path)
            if option.kind != "optional":
                rest.append(token)
                continue
            starts = following.text[:1] if following is not None else ""
            if option.below:
                if following is None or following.text.startswith("--") or starts == "@":
                    self._merge(tree, option.keys, True, token)
                else:
                    number += 1
                    value: Any = following.text
                    if starts in ("{", "["):
                        value = self._parse(option.keys, following)
                    if value is not _UNREADABLE:
                        self._merge(tree, option.keys, value, token, following)
                self._tell_equals(option, token)
            elif following is not None and following.text == "None":
                number += 1
                self._merge(tree, option.keys, "None", token, following)
            elif following is None or starts in ("-", "@"):
                self._merge(tree, option.keys, {}, token)
            else:
                rest.append(token)
        return rest

    def _read_json(self, tokens: list[Token], tree: Tree) -> list[Token]:
        """JSON values of arrays and free tables."""
        rest: list[Token] = []
        number = 0
        while number < len(tokens):
            token = tokens[number]
            following = tokens[number + 1] if number + 1 < len(tokens) else None
            number += 1
            if token.text.startswith("--") and following and following.text[:1] in ("{", "["):
                option = self.look_up(token.text[2:])
                if option.kind in ("list", "map"):
                    number += 1
                    value = self._parse(option.keys, following)
                    if value is not _UNREADABLE:
                        self._merge(tree, option.keys, value, token, following)
                    continue
            rest.append(token)
        return rest

    def _read_plain(self, tokens: list[Token], tree: Tree) -> list[Token]:
        """Everything else; the tokens that prime-rl does not take are left."""
        rest: list[Token] = []
        number = 0
        while number < len(tokens):
            token = tokens[number]
            following = tokens[number + 1] if number + 1 < len(tokens) else None
            number += 1
            if not token.text.startswith("--"):
                rest.append(token)
                continue
            path, equals, after = token.text[2:].partition("=")
            flag = token._replace(text=token.text[: 2 + len(path)])
            attached = token._replace(text=after, start=flag.span[1] + 1) if equals else None
            option = self.look_up(path)
            if option.kind == "optional":
                rest.append(token)
                continue
            if path.startswith("no-"):
                negated = self.look_up(path[3:])
                if negated.kind == "bool":
                    self._set(tree, negated.keys, False, flag)
                    continue
            if option.kind == "group":
                self._complain(
                    option.keys,
                    flag,
                    f"--{path} is a group of keys, which prime-rl does not take as an option",
                    f"Write --{path}.<key> VALUE, or --{path} @ FILE.",
                )
                if attached is None and following and not following.text.startswith("--"):
                    number += 1  # prime-rl stops here; what follows is not worth a second complaint
                continue
            if attached is not None:
                value: Any = after
                if option.kind == "bool" and after in (*_TRUE, *_FALSE):
                    value = after in _TRUE
                self._set(tree, option.keys, value, flag, attached)
            elif option.kind == "bool":
                if following is not None and following.text in (*_TRUE, *_FALSE):
                    number += 1
                    self._set(tree, option.keys, following.text in _TRUE, flag, following)
                else:
                    self._set(tree, option.keys, True, flag)
            elif option.kind == "list":
                values = []
                while number < len(tokens) and not tokens[number].text.startswith("--"):
                    values.append(tokens[number])
                    number += 1
                self._set_list(tree, option.keys, values, flag)
            elif option.kind == "unknown":
                if following is None or following.text.startswith("--"):
                    self._set(tree, option.keys, True, flag)
                else:
                    number += 1
                    self._set(tree, option.keys, following.text, flag, following)
            elif following is None:
                self._complain(
                    option.keys,
                    flag,
                    f"--{path} stands without a value",
                    f"Write --{path} VALUE.",
                )
            else:
                number += 1
                self._set(tree, option.keys, following.text, flag, following)
        return rest

    # What they set -------------------------------------------------------------------------------

    def _merge(
        self,
        tree: Tree,
        keys: tuple[str, ...],
        value: Any,
        flag: Token,
        at: Token | None = None,
    ) -> None:
        """Merge a value into what options before it set."""
        from pytest_prime_train.config.compose import Tree

        single = Tree()
        layer = ArgumentLayer(self._line, value, flag.span, at.span if at else None)
        single.set(keys, value, layer)
        tree.merge(single.data, single.marks)

    def _set(
        self,
        tree: Tree,
        keys: tuple[str, ...],
        value: Any,
        flag: Token,
        at: Token | None = None,
    ) -> None:
        """Set a value in place of what options before it set."""
        layer = ArgumentLayer(self._line, value, flag.span, at.span if at else None)
        if not tree.set(keys, value, layer):
            self._complain(
                keys,
                flag,
                f"prime-rl drops {flag.text}, because an option before it sets a key above it",
                "Leave one of the two out.",
                "warning",
            )

    def _set_list(
        self, tree: Tree, keys: tuple[str, ...], values: list[Token], flag: Token
    ) -> None:
        span = _span_of(values) if values else None
        layer = ArgumentLayer(self._line, None, flag.span, span)
        tree.set(keys, [value.text for value in values], layer)

    def _parse(self, keys: KeyPath, token: Token) -> Any:
        try:
            return json.loads(token.text)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "") or "it is nested too deep or has too long a number"
            self._complain(
                keys,
                token,
                f"the value of {format_key(keys)} begins like JSON and is none: "
                f"{reason[:1].lower()}{reason[1:]}",
                "Write it as JSON, with double quotes inside and single quotes around it.",
            )
            return _UNREADABLE

    def _tell_equals(self, option: Option, token: Token) -> None:
        """Below an optional block the loader does not split at the equals sign."""
        if "=" not in token.text:
            return
        name, _, value = token.text.partition("=")
        self._complain(
            option.keys,
            token,
            f"prime-rl does not split {name}= at the equals sign, because the key belongs to an "
            "optional block; it takes all of it for the name of a key",
            f"Write {name} {value}, with a blank.",
            "warning",
        )

    def _complain(
        self,
        keys: KeyPath,
        token: Token,
        message: str,
        recommendation: str,
        severity: Severity | None = None,
    ) -> None:
        from pytest_prime_train.config.compose import Complaint

        start, end = token.span
        self.complaints.append(
            Complaint(
                Problem(keys, message, recommendation, id="command-line", severity=severity),
                Location(COMMAND_LINE, 1, start + 1, 1, end + 1),
            )
        )


_UNREADABLE = object()


def _span_of(tokens: list[Token]) -> tuple[int, int]:
    return tokens[0].start, tokens[-1].span[1]


def _is_optional(node: Node) -> bool:
    """Whether a block may be left out, or is one of several; its keys are then read first."""
    if node[0] == "tagged":
        return True
    # A union that may be absent is a plain value to prime-rl's loader.
    return node[0] == "null" and node[1][0] in ("table", "switch", "env", "harness", "taskset")
