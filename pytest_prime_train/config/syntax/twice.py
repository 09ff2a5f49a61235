"""Keys and tables that are defined twice."""

from __future__ import annotations

from pytest_prime_train.config.positions import Node
from pytest_prime_train.config.syntax.stop import Stop, SyntaxProblem, problem_at
from pytest_prime_train.findings import format_key


def defined_twice(stop: Stop, message: str) -> SyntaxProblem:
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
        return problem_at(
            stop.text, part[1], part[2], f"`{stop.key}` is already defined.", "Delete one of them."
        )
    name = format_key(tuple(path))
    first = stop.line_number(found.key[0])
    words = _second_header if scanner.in_header else _second_key
    is_last = part is stop.keys[-1]
    sentence, recommendation = words(stop, found, name, first, is_last)
    return problem_at(stop.text, part[1], part[2], sentence, recommendation, name)


def _second_header(
    stop: Stop, found: Node, name: str, first: int, is_last: bool
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


def _second_key(stop: Stop, found: Node, name: str, first: int, is_last: bool) -> tuple[str, str]:
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
