"""Make ``pytest_prime_train/migrations/data.py``: facts that changes need and that are many.

    python tools/build_changes.py [SHARED] [--check]

``SHARED`` is the folder of facts beside the checkout (``../shared``, or ``PRIME_SHARED``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from pytest_prime_train.schema.bundle import Schema, schema_of
from pytest_prime_train.schema.nodes import Node
from pytest_prime_train.schema.versions import VERSIONS

REPOSITORY = Path(__file__).resolve().parent.parent
TARGET = REPOSITORY / "pytest_prime_train" / "migrations" / "data.py"
NEWEST = "main-2026-08-21"
HEADER = '''"""Facts that changes of prime-rl's configs need.

Made by tools/build_changes.py; do not edit.

TASKSETS: id of a taskset -> its fields, each with the keys of its place in the taskset and the
types of JSON that it takes. SEEN: id of another taskset -> fields that prime-rl's own configs set.
WITHOUT_SUFFIX: tasksets that prime-rl's own configs name, which used to have ids with the suffix
-v1. DEFAULTS: version -> root -> keys whose default is another one since then, with the one before
and the one since; a table that is off by default has ``None``, one that is on ``"on"``.
"""

# fmt: off
# ruff: noqa
'''


def tasksets(folder: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """The fields of every taskset that is known, those of its task included."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for id, entry in json.loads((folder / "taskset.json").read_text()).items():
        schema = entry["schema"]
        definitions = schema.get("$defs", {})
        fields: dict[str, tuple[str, str]] = {}
        for name, node in schema["properties"].items():
            if name == "task":
                task = definitions.get(str(node.get("$ref", "")).rpartition("/")[2], {})
                for inner, inner_node in task.get("properties", {}).items():
                    fields.setdefault(inner, (f"task.{inner}", types(inner_node)))
            if name != "id":
                fields[name] = (name, types(node))
        found[id.replace("_", "-")] = dict(sorted(fields.items()))
    return found


def types(node: dict[str, Any]) -> str:
    """The types of JSON that a node takes, separated by blanks."""
    if "anyOf" in node:
        return " ".join(sorted({types(part) for part in node["anyOf"]}))
    if "$ref" in node:
        return "object"
    return str(node.get("type", "any"))


def seen(folder: Path) -> dict[str, list[str]]:
    """The tasksets that prime-rl's own configs name, and the fields of them that they set."""
    found: dict[str, set[str]] = {}

    def look(value: Any) -> None:
        if isinstance(value, dict):
            taskset = value.get("taskset")
            if isinstance(taskset, dict) and isinstance(taskset.get("id"), str):
                name = taskset["id"].rpartition("/")[2].replace("_", "-")
                found.setdefault(name, set()).update(taskset.keys() - {"id"})
            for item in value.values():
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)

    for path in sorted(folder.rglob("*.toml")):
        look(tomllib.loads(path.read_text()))
    return {id: sorted(fields) for id, fields in sorted(found.items())}


Defaults = dict[str, Any]


def defaults(version: str) -> dict[str, Defaults]:
    """Root -> key -> its default, for every key whose default is no table or array of tables."""
    schema = schema_of(version)
    found: dict[str, Defaults] = {}
    for root, table in schema.roots.items():
        found[root] = {}
        _defaults_of(schema, ("table", table), "", found[root], frozenset(), None)
    return found


def _defaults_of(
    schema: Schema, node: Node, path: str, found: Defaults, seen: frozenset[str], default: Any
) -> None:
    kind = node[0]
    if kind == "null":
        inner = node[1]
        is_block = inner[0] in ("table", "switch", "tagged")
        found[path] = (None if default is None else "on") if is_block else default
        if inner[0] in ("table", "switch", "tagged", "list", "map", "either"):
            _defaults_of(schema, inner, path, found, seen, default)
    elif kind in ("table", "switch"):
        if node[1] in seen:
            return
        for key, (inner, value) in schema.tables[node[1]][0].items():
            place = f"{path}.{key}" if path else key
            if inner[0] not in ("table", "switch", "tagged", "null"):
                found[place] = value
            _defaults_of(schema, inner, place, found, seen | {node[1]}, value)
    elif kind == "tagged":
        if isinstance(default, dict) or node[3] is not None:
            tag = default.get(node[1], node[3]) if isinstance(default, dict) else node[3]
            found[f"{path}.{node[1]}"] = tag
        for _, name in node[2]:
            variant: Defaults = {}
            _defaults_of(schema, ("table", name), path, variant, seen, None)
            variant.pop(f"{path}.{node[1]}", None)
            for key, value in variant.items():
                found.setdefault(key, value)
    elif kind == "list":
        _defaults_of(schema, node[1], f"{path}[]", found, seen, None)


def changed_defaults() -> dict[str, dict[str, tuple[tuple[str, Any, Any], ...]]]:
    """Version -> root -> keys whose default is another one since that version."""
    found: dict[str, dict[str, tuple[tuple[str, Any, Any], ...]]] = {}
    before = defaults(VERSIONS[0])
    for version in VERSIONS[1:]:
        after = defaults(version)
        for root in sorted(before.keys() & after.keys()):
            rows = tuple(
                (key, before[root][key], after[root][key])
                for key in sorted(before[root].keys() & after[root].keys())
                if before[root][key] != after[root][key]
                and not key.endswith("base_url")
                and _is_plain(before[root][key])
                and _is_plain(after[root][key])
            )
            if rows:
                found.setdefault(version, {})[root] = rows
        before = after
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return value is not ... and not isinstance(value, dict)


def render(shared: Path) -> str:
    """The text of the module."""
    plugins = shared / "schemas" / NEWEST / "plugins"
    known = tasksets(plugins)
    used = seen(shared / "configs" / NEWEST)
    names = sorted({*used, *known})
    lines = [HEADER, "TASKSETS: dict[str, dict[str, tuple[str, str]]] = {\n"]
    lines += [f"  {id!r}: {fields!r},\n" for id, fields in sorted(known.items())]
    lines.append("}\n")
    lines.append("SEEN: dict[str, tuple[str, ...]] = {\n")
    lines += [
        f"  {id!r}: {tuple(fields)!r},\n"
        for id, fields in used.items()
        if fields and id not in known
    ]
    lines.append("}\n")
    lines.append("WITHOUT_SUFFIX: frozenset[str] = frozenset((\n")
    lines += [f"  {name!r},\n" for name in names]
    lines.append("))\n")
    lines.append("DEFAULTS: dict[str, dict[str, tuple[tuple[str, object, object], ...]]] = {\n")
    for version, roots in changed_defaults().items():
        lines.append(f"  {version!r}: {{\n")
        for root, rows in roots.items():
            lines.append(f"    {root!r}: (\n")
            lines += [f"      {row!r},\n" for row in rows]
            lines.append("    ),\n")
        lines.append("  },\n")
    lines.append("}\n")
    return "".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    default = os.environ.get("PRIME_SHARED", str(REPOSITORY.parent / "shared"))
    parser.add_argument("shared", nargs="?", default=default, type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where it would")
    arguments = parser.parse_args()
    text = render(arguments.shared / "prime-rl")
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    if not arguments.check:
        TARGET.write_text(text)
    print(f"{'stale' if arguments.check else 'written'}: {TARGET.relative_to(REPOSITORY)}")
    return 1 if arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
