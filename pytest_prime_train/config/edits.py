"""Writing a changed document into the text that it came from.

Only lines whose keys changed, moved or went are written anew: all other text is copied from where
it stands, with its comments, order, blank lines, quotes, numbers and line endings. A comment on a
key moves with the key, and stays where the key is gone.

What comes out has to be read again and compared with the document by the caller: TOML has rules
about tables that are given twice, and a text that breaks one must not be written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_prime_train.config.literals import key_literal, literal
from pytest_prime_train.config.statements import Statement, comments_in, cut, value_of
from pytest_prime_train.config.tree import Node
from pytest_prime_train.findings import KeyPath


def write(text: str, tree: Node, notes: Mapping[KeyPath, list[str]] | None = None) -> str:
    """Write a document into its text.

    Args:
        text: The text that the document was read from.
        tree: The document, whose parts know where in the text they come from.
        notes: Comment lines, without their ``#``, to write above the key that was written at a
            path, or that it was in; for a part that was written nowhere, at its new path.
    """
    return _Writer(text, tree, notes or {}).run()


class _Section:
    """A header with the lines below it, as they will be written.

    Attributes:
        path: The table that it opens; ``None`` where its header is gone.
        head: The text of the header, with the comments above it.
        pieces: What comes below, each with whether it defines a key.
        is_new: Whether it was not in the text.
    """

    __slots__ = ("head", "is_new", "path", "pieces")

    def __init__(self, path: KeyPath | None, head: str, *, is_new: bool = False) -> None:
        self.path = path
        self.head = head
        self.pieces: list[tuple[str, bool]] = []
        self.is_new = is_new

    def add_item(self, text: str) -> None:
        """Put a key behind the last one."""
        place = len(self.pieces)
        while place > 0 and not self.pieces[place - 1][1]:
            place -= 1
        self.pieces.insert(place, (text, True))


class _Item:
    """A key that has no place yet.

    Attributes:
        path: Where it belongs.
        node: What it says.
        statement: What it was written with, or ``None``.
        above: Comment lines that go with it.
        trailing: The comment behind it.
        near: The section that it was in, or that it comes out of; ``None`` for none.
    """

    __slots__ = ("above", "near", "node", "path", "statement", "trailing")

    def __init__(self, path: KeyPath, node: Node, near: _Section | None) -> None:
        self.path = path
        self.node = node
        self.near = near
        self.statement: Statement | None = None
        self.above = ""
        self.trailing = ""


class _Writer:
    def __init__(self, text: str, tree: Node, notes: Mapping[KeyPath, list[str]]) -> None:
        self.text = text
        self.tree = tree
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.statements, self.positions = cut(text)
        self.notes: dict[KeyPath, list[str]] = {}
        for path, lines in notes.items():
            self.notes.setdefault(self._noted(path), []).extend(lines)
        # Where every part of the document that was written somewhere stands now.
        self.now: dict[KeyPath, tuple[KeyPath, Node]] = {}
        # Parts that are written within a value.
        self.inner: set[int] = set()
        self._look(tree, (), False)
        self.explicit: dict[KeyPath, _Section] = {}
        self.dotted: set[KeyPath] = set()
        self.sections: list[_Section] = []
        self.homes: list[tuple[_Section, Statement]] = []
        self.loose: list[_Item] = []
        self.order: dict[int, int] = {}
        self.done: set[int] = set()

    def run(self) -> str:
        """The text."""
        self._divide()
        self._place_all()
        self._place_loose()
        return self._join()

    def _noted(self, path: KeyPath) -> KeyPath:
        """The statement to write a note above: of the key, of a value that it is in, or else the
        first one in the table.
        """
        headers = {one.path for one in self.statements if one.is_header}
        written = [one.path for one in self.statements]
        if path in written:
            return path
        above = [path[:length] for length in range(len(path) - 1, 0, -1)]
        around = next((one for one in above if one in written and one not in headers), None)
        inside = next((one for one in written if one[: len(path)] == path), None)
        table = next((one for one in above if one in headers), path)
        return around or inside or table

    # ------------------------------------------------------------------ what is where

    def _look(self, node: Node, path: KeyPath, within: bool) -> None:
        if node.source is not None:
            self.now[node.source] = (path, node)
        if within:
            self.inner.add(id(node))
        inside = within or self._is_value(node)
        if type(node.children) is dict:
            for key, child in node.children.items():
                self._look(child, (*path, key), inside)
        elif type(node.children) is list:
            for number, child in enumerate(node.children):
                self._look(child, (*path, number), inside)

    def _is_value(self, node: Node) -> bool:
        """Whether a table or array is written as a value, and not by headers."""
        if node.children is None:
            return True
        if node.source is None:
            return type(node.children) is list
        return bool(node.source) and value_of(self.positions, node.source) is not None

    def _rest(self, source: KeyPath) -> list[tuple[KeyPath, Node]]:
        """What is left of a value, where it stands now: the value, or else parts of it."""
        found = self.now.get(source)
        left: list[tuple[KeyPath, Node]] = []
        if found is not None:
            if id(found[1]) in self.inner:
                return left
            left.append(found)
        span = value_of(self.positions, source)
        if span is None or self.text[span[0]] not in "[{":
            return left
        length = len(source)
        for path, (place, node) in self.now.items():
            if len(path) > length and path[:length] == source and id(node) not in self.inner:
                # What is in the value still is told by it, and what is in another part as well.
                if not node.table and node.is_table and node.source is not None and len(left) > 1:
                    continue
                left.append((place, node))
        return left

    # ------------------------------------------------------------------ sections

    def _divide(self) -> None:
        """Make the sections that the text has, with headers for the tables of today."""
        section = _Section((), "")
        self.sections.append(section)
        self.explicit[()] = section
        before = 0
        for number, statement in enumerate(self.statements):
            gap = self.text[before : statement.above]
            if gap:
                section.pieces.append((gap, False))
            before = statement.below
            if not statement.is_header:
                self.homes.append((section, statement))
                section.pieces.append(("", True))  # Filled in when its place is known.
                continue
            section = self._section_of(number, statement)
            self.sections.append(section)
        if before < len(self.text):
            section.pieces.append((self.text[before:], False))

    def _section_of(self, number: int, statement: Statement) -> _Section:
        found = self.now.get(statement.path)
        path: KeyPath | None = None
        if found is not None and found[1].is_table and id(found[1]) not in self.inner:
            path = found[0]
        elif found is None and type(statement.path[-1]) is str:
            path = self._heir(number)
        whole = self.text[statement.above : statement.below]
        if path is None or path in self.explicit:
            return _Section(None, self._comments_of(statement, whole, statement.path))
        head = self._with_notes(statement.path, self._renamed(statement, path))
        section = _Section(path, head)
        self.explicit[path] = section
        if found is not None:
            self.done.add(id(found[1]))
        return section

    def _heir(self, number: int) -> KeyPath | None:
        """The table that all keys of a section have moved to whose own table is gone."""
        parents: set[KeyPath] = set()
        old = self.statements[number].path
        for statement in self.statements[number + 1 :]:
            if statement.is_header:
                break
            for path, node in self._rest(statement.path):
                if id(node) not in self.inner:
                    parents.add(path[:-1])
        if len(parents) != 1:
            return None
        heir = parents.pop()
        holder = self._at(heir)
        if not heir or heir in self.explicit or holder is None or not holder.is_table:
            return None
        if holder.source is not None and id(holder) not in self.inner:
            return None  # It has a header of its own somewhere.
        if any(type(part) is int for part in heir):
            # It has to stay below the header of the element that it is in.
            element = _element(old)
            moved = self.now.get(element) if element else None
            if moved is None or moved[0] != _element(heir):
                return None
        return heir

    def _at(self, path: KeyPath) -> Node | None:
        node = self.tree
        for part in path:
            child: Node | None
            if type(part) is int:
                child = node.items[part] if part < len(node.items) else None
            else:
                child = node.table.get(str(part))
            if child is None:
                return None
            node = child
        return node

    def _renamed(self, statement: Statement, path: KeyPath) -> str:
        """A header, with the comments above and behind it, for a table of another name."""
        names = [part for part in path if type(part) is str]
        old = [name for name, _, _ in statement.keys]
        whole = self.text[statement.above : statement.below]
        if not whole.endswith("\n"):
            whole += self.newline
        if names == old:
            return whole
        first, last = statement.keys[0][1], statement.keys[-1][2]
        key = self._key(names, statement)
        offset = statement.above
        return whole[: first - offset] + key + whole[last - offset :]

    def _key(self, names: list[Any], statement: Statement | None) -> str:
        """A dotted key, its parts quoted as in the statement that it comes from."""
        raw = {}
        if statement is not None:
            raw = {name: self.text[start:end] for name, start, end in statement.keys}
        return ".".join(raw.get(name) or key_literal(str(name)) for name in names)

    # ------------------------------------------------------------------ keys

    def _place_all(self) -> None:
        """Write what can stay where it is, and collect what cannot."""
        self.order = {id(section): number for number, section in enumerate(self.sections)}
        indexes: dict[int, int] = {}
        plans: list[tuple[_Section, int, Statement, list[tuple[KeyPath, Node]]]] = []
        for section, statement in self.homes:
            index = indexes.get(id(section), 0)
            while section.pieces[index] != ("", True):
                index += 1
            indexes[id(section)] = index + 1
            left = self._rest(statement.path)
            plans.append((section, index, statement, left))
            for path, node in left:
                self.done.add(id(node))
                if section.path is not None and self._stays(section.path, path):
                    self._remember(section.path, path)
        for section, index, statement, left in plans:
            self._write_statement(section, index, statement, left)

    def _stays(self, home: KeyPath, path: KeyPath) -> bool:
        """Whether a key can stand below the header of a table around it."""
        if path[: len(home)] != home or any(type(part) is int for part in path[len(home) :]):
            return False
        # A table has a header or is made of dotted keys, and headers of what is in such a table
        # come after its keys.
        if any(path[:length] in self.explicit for length in range(len(home) + 1, len(path))):
            return False
        outer = path[: len(home) + 1]
        place = self.order[id(self.explicit[home])]
        return len(path) == len(outer) or all(
            self.order.get(id(section), 0) > place
            for other, section in self.explicit.items()
            if other[: len(outer)] == outer
        )

    def _remember(self, home: KeyPath, path: KeyPath) -> None:
        if len(path) > len(home) + 1:
            self.dotted.add(path[: len(home) + 1])

    def _write_statement(
        self,
        section: _Section,
        index: int,
        statement: Statement,
        left: list[tuple[KeyPath, Node]],
    ) -> None:
        whole = self.text[statement.above : statement.below]
        staying = [
            pair for pair in left if section.path is not None and self._stays(section.path, pair[0])
        ]
        moving = [pair for pair in left if pair not in staying]
        if not staying:
            self._leave(section, index, statement, moving, whole)
            return
        assert section.path is not None
        lines = self.text[statement.above : statement.line]
        behind = self.text[statement.end : statement.below]
        for number, (path, node) in enumerate(staying):
            names = list(path[len(section.path) :])
            line = self._line(statement, names, path, node)
            last = number == len(staying) - 1
            lines += line + (behind if last else self.newline)
        if not lines.endswith("\n"):
            lines += self.newline
        lines = self._hoisted(whole, lines, moving, statement)
        section.pieces[index] = (self._with_notes(statement.path, lines), True)
        for path, node in moving:
            self._loosen(section, path, node, statement)

    def _line(self, statement: Statement, names: list[Any], path: KeyPath, node: Node) -> str:
        """A key and its value, with as much of the old text as still holds."""
        indent = self.text[statement.line : statement.start]
        first, last = statement.keys[0][1], statement.keys[-1][2]
        old = [name for name, _, _ in statement.keys]
        key = self.text[first:last] if names == old else self._key(names, statement)
        span = value_of(self.positions, statement.path)
        between = self.text[last : span[0]] if span is not None else " = "
        return indent + key + between + self._value(node, path)

    def _leave(
        self,
        section: _Section,
        index: int,
        statement: Statement,
        moving: list[tuple[KeyPath, Node]],
        whole: str,
    ) -> None:
        """Take a statement out; its comments go with what moves, or stay."""
        orphaned = ""
        if moving and section.path is None and section.head:
            # What was said of the table goes where the first of its keys goes.
            orphaned, section.head = section.head, ""
        if moving and self._owns_comment(statement):
            for number, (path, node) in enumerate(moving):
                item = self._loosen(section, path, node, statement)
                if number == 0:
                    item.above = self.text[statement.above : statement.line]
                if number == len(moving) - 1:
                    item.trailing = self._trailing(statement)
            kept = self._hoisted(whole, "", moving, statement, travelled=True)
        else:
            for number, (path, node) in enumerate(moving):
                item = self._loosen(section, path, node, statement)
                if number == len(moving) - 1:
                    item.trailing = self._trailing(statement)
            above = self.text[statement.above : statement.line]
            kept = above + self._hoisted(
                whole[len(above) :], "", moving, statement, travelled=bool(moving)
            )
        if orphaned:
            first = self.loose[-len(moving)]
            first.above = orphaned + first.above
        notes = self._with_notes(statement.path, "") if not moving else ""
        section.pieces[index] = (notes + kept, False)

    def _owns_comment(self, statement: Statement) -> bool:
        """Whether the comment above a key is about that key alone."""
        if statement.above == statement.line:
            return True
        following = self.text[statement.below :].split("\n", 1)[0].strip()
        return not following or following[0] in "#["

    def _trailing(self, statement: Statement) -> str:
        return self.text[statement.end : statement.below].strip()

    def _hoisted(
        self,
        whole: str,
        lines: str,
        moving: list[tuple[KeyPath, Node]],
        statement: Statement,
        *,
        travelled: bool = False,
    ) -> str:
        """The lines of a statement with the comments above that would be lost otherwise."""
        old = comments_in(whole)
        if not old:
            return lines
        there = comments_in(lines)
        if travelled:
            there += comments_in(self.text[statement.end : statement.below])
            if self._owns_comment(statement):
                there += comments_in(self.text[statement.above : statement.line])
        for path, node in moving:
            there += comments_in(self._value(node, path))
        taken = self.now.get(statement.path)
        if taken is not None and id(taken[1]) in self.inner:
            there += comments_in(self._value(taken[1], taken[0]))
        indent = self.text[statement.line : statement.start]
        lost = ""
        for comment in old:
            if comment in there:
                there.remove(comment)
            else:
                lost += f"{indent}{comment}{self.newline}"
        return lost + lines

    def _comments_of(self, statement: Statement, whole: str, path: KeyPath) -> str:
        """The comments of a header that is gone."""
        above = self.text[statement.above : statement.line]
        behind = "".join(comment + self.newline for comment in comments_in(whole[len(above) :]))
        return self._with_notes(path, above + behind)

    def _loosen(self, section: _Section, path: KeyPath, node: Node, statement: Statement) -> _Item:
        item = _Item(path, node, section)
        item.statement = statement
        self.loose.append(item)
        return item

    # ------------------------------------------------------------------ what moves or is new

    def _place_loose(self) -> None:
        homes = {statement.path: section for section, statement in self.homes}
        for path, node in self._unwritten(self.tree, ()):
            item = _Item(path, node, homes.get(node.near) if node.near is not None else None)
            self.loose.append(item)
        for item in self.loose:
            self._place(item)

    def _unwritten(self, node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, Node]]:
        """Parts that no statement has written yet."""
        if id(node) in self.done and (self._is_value(node) or node.children is None):
            return
        if node.children is None or (self._is_value(node) and path):
            if id(node) not in self.inner:
                yield path, node
            return
        if type(node.children) is dict:
            if not node.children and path and path not in self.explicit:
                yield path, node
            for key, child in node.children.items():
                yield from self._unwritten(child, (*path, key))
        elif type(node.children) is list:
            for number, child in enumerate(node.children):
                yield from self._unwritten(child, (*path, number))

    def _place(self, item: _Item) -> None:
        parent = item.path[:-1]
        home = parent
        while home not in self.explicit:
            home = home[:-1]
        section = self.explicit[home]
        is_table = item.node.is_table and not self._is_value(item.node)
        if (
            is_table
            and not item.node.table
            and not any(other[: len(item.path)] == item.path for other in self.dotted)
            and not _in_dotted(item.path, home, self.dotted)
        ):
            new = self._open(item.path, item)
            self._note_new(item, new)
            return
        if home != parent:
            outer = item.path[: len(home) + 1]
            in_element = bool(home) and type(home[-1]) is int and item.statement is None
            if outer not in self.dotted and not (in_element and self._stays(home, item.path)):
                section = self._open(parent, item)
                home = parent
            else:
                self.dotted.add(outer)
        names = list(item.path[len(home) :])
        value = "{}" if is_table else self._value(item.node, item.path)
        line = f"{self._key(names, item.statement)} = {value}"
        if item.trailing:
            line += f"  {item.trailing}"
        above = item.above
        if item.statement is None:
            above = self._with_notes(item.path, above)
        else:
            above = self._with_notes(item.statement.path, above)
        section.add_item(f"{above}{line}{self.newline}")

    def _note_new(self, item: _Item, section: _Section) -> None:
        above = self._with_notes(item.path, item.above)
        if item.trailing:
            above += item.trailing + self.newline
        section.head = above + section.head

    def _open(self, path: KeyPath, item: _Item) -> _Section:
        """A new section for a table, behind its nearest relatives."""
        names = [str(part) for part in path if type(part) is str]
        head = f"[{self._key(names, item.statement)}]{self.newline}"
        section = _Section(path, head, is_new=True)
        self.explicit[path] = section
        self.sections.insert(self._behind(path, item), section)
        return section

    def _behind(self, path: KeyPath, item: _Item) -> int:
        best, depth = 0, 0
        for number, section in enumerate(self.sections):
            if section.path is None:
                continue
            if section.path[: len(path)] == path and number:
                return number  # A table stands before those that are in it.
            common = 0
            for one, other in zip(section.path, path, strict=False):
                if one != other:
                    break
                common += 1
            if common >= depth and common > 0:
                best, depth = number, common
        if not depth and item.near is not None:
            best = self.sections.index(item.near)
        elif not depth:
            best = len(self.sections) - 1
        # Sections without a header belong to the one before them.
        while best + 1 < len(self.sections) and self.sections[best + 1].path is None:
            best += 1
        return best + 1

    # ------------------------------------------------------------------ values

    def _value(self, node: Node, path: KeyPath) -> str:
        """A value, as it was written where it is the same."""
        span = value_of(self.positions, node.source) if node.source else None
        if node.children is None:
            if span is not None and not node.changed:
                return self.text[span[0] : span[1]]
            quote = "'" if span is not None and self.text[span[0]] == "'" else '"'
            return literal(node.value, quote)
        if span is not None and self._is_same(node):
            return self.text[span[0] : span[1]]
        if type(node.children) is list:
            return self._array(node, node.children, span, path)
        pairs = [
            f"{key_literal(key)} = {self._value(child, (*path, key))}"
            for key, child in node.table.items()
        ]
        if not pairs:
            return "{}"
        tight = span is not None and self.text[span[0] + 1 : span[0] + 2] not in (" ", "\t")
        inside = ", ".join(pairs)
        return f"{{{inside}}}" if tight else f"{{ {inside} }}"

    def _array(
        self, node: Node, items: list[Node], span: tuple[int, int] | None, path: KeyPath
    ) -> str:
        spans = [value_of(self.positions, item.source) if item.source else None for item in items]
        source = node.source or ()
        in_order = span is not None and all(
            place is not None and item.source == (*source, number)
            for number, (item, place) in enumerate(zip(items, spans, strict=True))
        )
        if not in_order or span is None:
            values = [self._value(item, (*path, number)) for number, item in enumerate(items)]
            return "[" + ", ".join(values) + "]"
        result = self.text[span[0] : span[1]]
        for number in range(len(items) - 1, -1, -1):
            place = spans[number]
            assert place is not None
            value = self._value(items[number], (*path, number))
            result = result[: place[0] - span[0]] + value + result[place[1] - span[0] :]
        return result

    def _is_same(self, node: Node) -> bool:
        """Whether nothing in a value has changed."""
        if node.source is None:
            return False
        if node.children is None:
            return not node.changed
        inside: dict[Any, Node] = dict(node.table) or dict(enumerate(node.items))
        return self._written(node.source) == set(inside) and all(
            child.source == (*node.source, key) and self._is_same(child)
            for key, child in inside.items()
        )

    def _written(self, source: KeyPath) -> set[Any]:
        node = self.positions
        for part in source:
            children = node.children or {}
            if part not in children:
                return set()
            node = children[part]
        return set(node.children or ())

    # ------------------------------------------------------------------ the whole

    def _with_notes(self, path: KeyPath, text: str) -> str:
        lines = self.notes.pop(path, [])
        return "".join(f"# {line}{self.newline}" for line in lines) + text

    def _join(self) -> str:
        parts: list[str] = []
        for section in self.sections:
            body = self._body(section)
            if section.path is None and not section.head and not body.strip():
                continue  # All of it is gone, and with it the blank lines behind it.
            if section.is_new:
                self._separate(parts)
                parts += [section.head, body, self.newline]
            else:
                parts += [section.head, body]
        result = "".join(parts)
        if self.sections[-1].is_new or not self.text.endswith("\n"):
            result = result.rstrip("\r\n") + (self.newline if self.text.endswith("\n") else "")
        if self.sections and not parts:
            return ""
        return result

    def _body(self, section: _Section) -> str:
        result = ""
        blank = self.newline * 2
        for number, (text, _) in enumerate(section.pieces):
            if (
                text
                and number
                and not section.pieces[number - 1][0]
                and (self._is_filled(section, number) if not result else result.endswith(blank))
                and text.startswith(self.newline)
            ):
                text = text[len(self.newline) :]  # Of two blank lines around what is gone, one.
            result += text
        return result

    def _is_filled(self, section: _Section, number: int) -> bool:
        """Whether something comes below a header behind a piece; else the blank line that parts it
        from the next header is still needed."""
        return section.path is None or any(text for text, _ in section.pieces[number + 1 :])

    def _separate(self, parts: list[str]) -> None:
        """Put a blank line before what comes next."""
        text = "".join(parts[-3:])
        if not text:
            return
        if not text.endswith("\n"):
            parts.append(self.newline)
        if not text.endswith(("\n\n", "\n\r\n")):
            parts.append(self.newline)


def _element(path: KeyPath) -> KeyPath:
    """The innermost element of an array that a path goes through; empty where it has none."""
    for length in range(len(path), 0, -1):
        if type(path[length - 1]) is int:
            return path[:length]
    return ()


def _in_dotted(path: KeyPath, home: KeyPath, dotted: set[KeyPath]) -> bool:
    return path[: len(home) + 1] in dotted
