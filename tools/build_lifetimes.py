"""Make ``pytest_prime_train/schema/data/lifetimes.py``: which version of prime-rl has which key.

    python tools/build_lifetimes.py [SHARED] [--check]

``SHARED`` is the folder of facts beside the checkout (``../shared``, or ``PRIME_SHARED``). Keys
that versions read under short or former names are added to the facts, because a file that has
them is of that version all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
TARGET = REPOSITORY / "pytest_prime_train" / "schema" / "data" / "lifetimes.py"
HEADER = '''"""When prime-rl's keys came and went.

Made by tools/build_lifetimes.py; do not edit. Read by schema/lifetimes.py.

KEYS: root -> table -> its keys, each followed by the versions that have it, one bit per version
in hexadecimal, the oldest being the lowest. ``[]`` stands for an element of an array, ``*`` for a
key of the user's choice.
"""

# fmt: off
# ruff: noqa
'''
# Short and former names that are no keys of a class: version -> (name, the key it stands for).
_TRAIN = (("env", "train.env"), ("sampling", "train.sampling"))
_STUDENT = (("model", "student.model"), ("model", "student"), ("client", "student.client"))
SHORT: dict[str, tuple[tuple[str, str], ...]] = {
    "v0.6.0": (*_TRAIN, *_STUDENT, ("student", "student.model")),
    "v0.7.0": _TRAIN,
}

Masks = dict[str, dict[str, int]]


def lifetimes(rows: list[dict[str, Any]], tags: list[str]) -> Masks:
    """Root -> key -> versions that have it, as bits."""
    found: Masks = {}
    for row in rows:
        first, last = tags.index(row["first_tag"]), tags.index(row["last_tag"])
        absent = row.get("absent_in", ())
        mask = sum(1 << i for i in range(first, last + 1) if tags[i] not in absent)
        found.setdefault(row["root"], {})[row["key"]] = mask
    return found


def add_aliases(masks: Masks, tags: list[str]) -> None:
    """Add the second names that the bundled schemas know."""
    sys.path.insert(0, str(REPOSITORY))
    from pytest_prime_train.schema.bundle import schema_of

    for version in tags:
        schema = schema_of(version)
        bit = 1 << tags.index(version)
        for root, table in schema.roots.items():
            for prefix, name in _tables(schema, ("table", table), ()):
                for alias in schema.tables[name][2]:
                    path = ".".join((*prefix, alias)).replace(".[]", "[]")
                    masks[root][path] = masks[root].get(path, 0) | bit


def _tables(schema: Any, node: Any, path: tuple[str, ...]) -> Any:
    kind = node[0]
    if kind == "null":
        yield from _tables(schema, node[1], path)
    elif kind == "list":
        yield from _tables(schema, node[1], (*path, "[]"))
    elif kind in ("table", "switch"):
        if len(path) < 12:
            yield path, node[1]
            for key, (inner, _) in schema.tables[node[1]][0].items():
                yield from _tables(schema, inner, (*path, key))
    elif kind == "tagged":
        for _, name in node[2]:
            yield from _tables(schema, ("table", name), path)
    elif kind == "either":
        for part in node[1:]:
            yield from _tables(schema, part, path)


def add_short_names(masks: Masks, tags: list[str]) -> None:
    """Add keys that a version takes in another place than its classes have them."""
    for version, names in SHORT.items():
        bit = 1 << tags.index(version)
        for root, prefix in (("rl", "orchestrator."), ("orchestrator", "")):
            known = masks[root]
            for short, full in names:
                for key, mask in list(known.items()):
                    rest = key.removeprefix(prefix + full)
                    if mask & bit and key.startswith(prefix + full) and rest[:1] in ("", ".", "["):
                        name = prefix + short + rest
                        known[name] = known.get(name, 0) | bit
    # The number of workers of an environment, which became its pool.
    bit = 1 << tags.index("v0.7.0")
    for root, prefix in (("rl", "orchestrator."), ("orchestrator", "")):
        for part in ("train.env[]", "eval.env[]", "env[]"):
            masks[root][f"{prefix}{part}.num_workers"] = (
                masks[root].get(f"{prefix}{part}.num_workers", 0) | bit
            )
    masks["env_server"]["env.num_workers"] = masks["env_server"].get("env.num_workers", 0) | bit


def render(shared: Path) -> str:
    """The text of the module."""
    facts = json.loads((shared / "key_lifetimes.json").read_text())
    tags = list(facts["tags"])
    masks = lifetimes(facts["rows"], tags)
    add_aliases(masks, tags)
    add_short_names(masks, tags)
    lines = [HEADER, "KEYS: dict[str, dict[str, str]] = {\n"]
    for root in sorted(masks):
        tables: dict[str, list[str]] = {}
        for key, mask in sorted(masks[root].items()):
            parent, _, name = key.rpartition(".")
            tables.setdefault(parent, []).append(f"{name} {mask:x}")
        lines.append(f"{root!r}: {{\n")
        lines += [f"  {parent!r}: {' '.join(keys)!r},\n" for parent, keys in sorted(tables.items())]
        lines.append("},\n")
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
