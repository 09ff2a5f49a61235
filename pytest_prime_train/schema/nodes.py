"""The format of ``schema/data/*.py``: which keys prime-rl reads, and of which type.

A *table* is one class of prime-rl: ``(fields, extra, aliases, required)``

- ``fields``: key -> ``(node, default)``; a default of ``...`` for a table means the table's own
  defaults, one of ``{tag: value}`` for a union those of that variant;
- ``extra``: node for keys that are not in ``fields``, or ``None`` where they are refused;
- ``aliases``: second name of a key -> its first name;
- ``required``: keys without a default.

A *node* is a tuple that starts with its kind:

====================================  ========================================================
``("int", ge, gt, le, lt)``           whole number with its bounds; missing ones left out
``("float", ge, gt, le, lt)``         number
``("bool",)``                         truth value
``("str", least, pattern)``           text, of at least so many characters, matching a pattern
``("path",)``                         text that names a file
``("enum", values)``                  one of these texts
``("any",)``                          anything
``("null", node)``                    the node, or nothing (``"None"``)
``("list", node, least, most)``       array
``("tuple", node, …)``                array with one element for each node
``("map", node)``                     table with keys of the user's choice
``("table", name)``                   table of this name
``("switch", name)``                  table of this name, or ``true`` for all its defaults
``("tagged", key, variants, tag)``    the table that the key's value names; ``tag`` if omitted
``("either", node, …)``               the first node that takes the value
``("env",)`` ``("taskset",)``         block of an environment package, told by its id; open where
``("harness",)``                      the package is not one of verifiers' own
====================================  ========================================================
"""

from __future__ import annotations

from typing import Any, TypeAlias

Node: TypeAlias = tuple[Any, ...]
Table: TypeAlias = tuple[dict[str, tuple[Node, Any]], Node | None, dict[str, str], tuple[str, ...]]
