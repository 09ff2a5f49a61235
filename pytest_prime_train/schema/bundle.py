"""The bundled schemas, loaded one version at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_prime_train.schema.nodes import Table
from pytest_prime_train.schema.versions import VERSIONS

if TYPE_CHECKING:
    from types import ModuleType

ROOTS = ("rl", "sft", "trainer", "inference", "orchestrator", "evals", "env_server", "synthesize")
"""Programs of prime-rl that read a config, in the order in which a doubt is settled."""

_loaded: dict[str, Schema] = {}


class Schema:
    """What one version of prime-rl reads.

    Attributes:
        version: Such as ``main-2026-08-21``.
        tables: Classes of prime-rl by name; format in ``schema/nodes.py``.
        roots: Root -> name of its table.
        plugins: Tables of environment packages, by kind and id; empty where none are bundled.
        taken_from: The commit and date of prime-rl, and the versions of verifiers and renderers,
            that the schema was taken from.
    """

    __slots__ = ("plugins", "roots", "tables", "taken_from", "version")

    def __init__(self, module: ModuleType) -> None:
        self.version: str = module.VERSION
        self.tables: dict[str, Table] = module.TABLES
        self.roots: dict[str, str] = module.ROOTS
        self.plugins: dict[str, Any] = module.PLUGINS
        self.taken_from: dict[str, str] = module.TAKEN_FROM


def schema_of(version: str) -> Schema:
    """The schema of a bundled version, named as in ``VERSIONS``."""
    schema = _loaded.get(version)
    if schema is None:
        assert version in VERSIONS
        name = version.replace("-", "_").replace(".", "_")
        package = __import__(f"pytest_prime_train.schema.data.{name}", fromlist=("TABLES",))
        schema = _loaded[version] = Schema(package)
    return schema
