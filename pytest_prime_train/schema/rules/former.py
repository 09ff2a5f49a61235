"""Which keys an older version of prime-rl has, so that no rule is asked of keys it does not know.

Loaded only for older versions.
"""

from __future__ import annotations

from functools import cache

from pytest_prime_train.schema.bundle import Schema, schema_of
from pytest_prime_train.schema.nodes import Node

# Where the part that a rule is about lies in an rl config, and in those of single programs.
_PLACES: dict[str, dict[str, str]] = {
    "trainer": {"rl": "trainer", "trainer": "", "sft": ""},
    "orchestrator": {"rl": "orchestrator", "orchestrator": ""},
    "inference": {"rl": "inference", "sft": "inference", "inference": ""},
    "eval": {"rl": "orchestrator.eval", "orchestrator": "eval", "sft": "eval", "evals": "eval"},
    "train": {"rl": "orchestrator.train", "orchestrator": "train"},
    "algo": {"rl": "orchestrator.algo", "orchestrator": "algo"},
    "frozen": {"rl": "orchestrator.algo.teacher", "orchestrator": "algo.teacher"},
    "source": {"rl": "orchestrator.train.source", "orchestrator": "train.source"},
}


@cache
def knows(root: str, version: str, part: str, key: str) -> bool:
    """Whether a version has a key of a part, wherever the program has that part.

    Args:
        root: Program that reads the config.
        version: A bundled version.
        part: Name in ``scopes.SCOPES``.
        key: Dotted, relative to the part; a key of which a part may be one of several tables is
            known where one of them has it.
    """
    schema = schema_of(version)
    first, _, rest = part.partition(".")
    place = _PLACES.get(first, {}).get(root, first if first in ("deployment", "data") else "")
    path = ".".join(name for name in (place, rest, key) if name)
    if root not in schema.roots:
        return False
    return _has(schema, ("table", schema.roots[root]), path.split("."))


def _has(schema: Schema, node: Node, path: list[str]) -> bool:
    if not path:
        return True
    kind = node[0]
    if kind == "null" or kind == "list":
        return _has(schema, node[1], path)
    if kind in ("table", "switch"):
        field = schema.tables[node[1]][0].get(path[0])
        return field is not None and _has(schema, field[0], path[1:])
    if kind == "tagged":
        if path == [node[1]]:
            return True
        return any(_has(schema, ("table", table), path) for _, table in node[2])
    if kind == "either":
        return any(_has(schema, part, path) for part in node[1:])
    return kind in ("env", "taskset", "harness", "map")
