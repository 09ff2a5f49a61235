"""A schema of one's own, for a fork or a private build of prime-rl: taken from its classes, kept
in a folder, judged by.

Taking it runs the checkout's code, in a process of its own and only when asked for by name; a
folder holds data and runs nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from pytest_prime_train.schema.bundle import ROOTS, Schema, schema_of
from pytest_prime_train.schema.nodes import Node
from pytest_prime_train.schema.versions import NEWEST

FILE = "schema.json"
"""Name of the file that a schema folder holds."""
FORMAT = 1
_SECONDS = 600

# Where the classes have been since v0.6.0, and before.
_SOURCES = ("packages/prime-rl-configs/src", "src")
_CHILD = """
import importlib, json, sys
from importlib.metadata import PackageNotFoundError, version

target, *sources = sys.argv[1:]
sys.path[:0] = sources
from pydantic.json_schema import GenerateJsonSchema

class Generator(GenerateJsonSchema):
    def default_schema(self, schema):
        found = super().default_schema(schema)
        factory = schema.get("default_factory")
        if factory is None or schema.get("default_factory_takes_data"):
            return found
        try:
            default = self.encode_default(factory())
        except Exception:
            return found
        return {**found, "default": default, "x-default-factory": True}

roots, failed, versions = {}, {}, {}
for root, name in {
    "rl": "RLConfig", "sft": "SFTConfig", "trainer": "TrainerConfig",
    "inference": "InferenceConfig", "orchestrator": "OrchestratorConfig",
    "evals": "EvalsConfig", "env_server": "EnvServerConfig",
}.items():
    try:
        found = getattr(importlib.import_module("prime_rl.configs." + root), name)
        roots[root] = found.model_json_schema(schema_generator=Generator)
        roots[root]["x-prime-rl"] = {"class": name}
    except Exception as error:
        failed[root] = f"{type(error).__name__}: {error}".partition("\\n")[0]
for package in ("verifiers", "renderers", "pydantic"):
    try:
        versions[package] = version(package)
    except PackageNotFoundError:
        versions[package] = ""
with open(target, "w", encoding="utf-8") as stream:
    json.dump({"roots": roots, "failed": failed, "versions": versions}, stream)
"""


class CheckoutError(Exception):
    """A checkout, an interpreter or a schema folder that cannot be used, in one sentence."""


class Taken(NamedTuple):
    """What a checkout's classes said.

    Attributes:
        schemas: Root -> JSON Schema.
        failed: Root -> why its class could not be had.
        about: Commit of the checkout, and versions of what it was run with.
    """

    schemas: dict[str, dict[str, Any]]
    failed: dict[str, str]
    about: dict[str, str]


def interpreter_of(checkout: Path) -> str:
    """The Python of the checkout's own environment, else the one that runs this."""
    own = checkout / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def take(checkout: Path, python: str) -> Taken:
    """Run the checkout's config classes in a process of their own and ask them for their schemas.

    Args:
        checkout: A checkout of prime-rl or a fork.
        python: Interpreter that has what the classes import.

    Raises:
        CheckoutError: It is no checkout of prime-rl, or none of its classes could be had.
    """
    sources = [str((checkout / name).resolve()) for name in _SOURCES if (checkout / name).is_dir()]
    if not any(os.path.isdir(os.path.join(source, "prime_rl", "configs")) for source in sources):
        raise CheckoutError(f"{checkout} is no checkout of prime-rl: it has no prime_rl/configs")
    # A bare name is looked up on the path of programs; the child works in a folder of its own.
    program = os.path.abspath(python) if os.sep in python else python
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "schemas.json")
        try:
            done = subprocess.run(
                [program, "-c", _CHILD, target, *sources],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_SECONDS,
                check=False,
            )
            found = json.loads(Path(target).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            if error.filename == program:
                raise CheckoutError(f"there is no interpreter {python}") from error
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise CheckoutError(f"{python} could not run the classes: {lines[-1]}") from error
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise CheckoutError(f"{python} could not run the classes: {error}") from error
    if not found["roots"]:
        reason = next(iter(found["failed"].values()), "there are none")
        raise CheckoutError(
            f"{python} could not import the config classes of {checkout} ({reason}); "
            "give the one that has prime-rl installed: --python PATH"
        )
    about = {"commit": _commit_of(checkout), "date": "", **found["versions"]}
    return Taken(found["roots"], found["failed"], about)


def _commit_of(checkout: Path) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip()


def write(taken: Taken, folder: Path) -> None:
    """Compile schemas and write them into a folder.

    Raises:
        CheckoutError: A class says something that cannot be compiled, or the folder cannot be
            written.
    """
    from pytest_prime_train.schema.compile import Compiler, drop_own_defaults, refine, renamed
    from pytest_prime_train.schema.compile import shorten as shorter

    pool: dict[str, Any] = dict(_packages())
    roots: dict[str, str] = {}
    for root, schema in taken.schemas.items():
        compiler = Compiler(pool, NEWEST, root, f"{root}:", plugins=("env", "harness", "taskset"))
        try:
            compiler.definitions(schema)
            roots[root] = compiler.table(schema["x-prime-rl"]["class"], schema)
        except (KeyError, ValueError) as error:
            raise CheckoutError(f"the class of {root} cannot be described: {error}") from error
    names = shorter(refine(pool))
    drop_own_defaults(pool)
    tables = {names[name]: renamed(table, names) for name, table in sorted(pool.items())}
    plugins = schema_of(NEWEST).plugins
    document = {
        "format": FORMAT,
        "taken_from": taken.about,
        "roots": {root: names[name] for root, name in roots.items()},
        "plugins": {
            kind: names[_BUNDLED + value]
            if isinstance(value, str)
            else {key: names[_BUNDLED + name] for key, name in value.items()}
            for kind, value in plugins.items()
        },
        "tables": {name: _written(table) for name, table in tables.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=1, sort_keys=True)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckoutError(f"{folder}: {(error.strerror or str(error)).lower()}") from error


_BUNDLED = "bundled:"


def _packages() -> Iterator[tuple[str, Any]]:
    """The bundled tables of environment packages, which a checkout of prime-rl does not have."""
    from pytest_prime_train.schema.compile import renamed

    schema = schema_of(NEWEST)
    pending: list[str] = []
    for value in schema.plugins.values():
        pending += [value] if isinstance(value, str) else value.values()
    names = {name: _BUNDLED + name for name in schema.tables}
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending += _names_in(schema.tables[name])
            fields, extra, aliases, required = renamed(schema.tables[name], names)
            yield _BUNDLED + name, (dict(fields), extra, aliases, required)


def _names_in(value: Any) -> Iterator[str]:
    """The tables that a table or node leads to."""
    if isinstance(value, dict):
        for part in value.values():
            yield from _names_in(part) if isinstance(part, tuple) else ()
    elif isinstance(value, tuple):
        if value[:1] in (("table",), ("switch",)):
            yield value[1]
        elif value[:1] == ("tagged",):
            yield from (name for _, name in value[2])
        elif value[:1] != ("enum",):
            for part in value:
                yield from _names_in(part)


def _written(table: Any) -> list[Any]:
    """A table as JSON has it; a default of ``...`` is left out."""
    fields, extra, aliases, required = table
    kept = {key: [node] if default is ... else [node, default] for key, (node, default) in
            fields.items()}  # fmt: skip
    return [kept, extra, aliases, required]


def load(folder: str) -> Schema:
    """The schema in a folder.

    Raises:
        CheckoutError: There is none, or it is damaged or of another version of this package.
    """
    path = os.path.join(folder, FILE)
    again = "make it anew with prime-train schema --from-checkout"
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except OSError as error:
        raise CheckoutError(f"{path}: {(error.strerror or str(error)).lower()}; {again}") from error
    except ValueError as error:
        raise CheckoutError(f"{path} is no schema; {again}") from error
    if type(document) is not dict or document.get("format") != FORMAT:
        raise CheckoutError(f"{path} is no schema that this version reads; {again}")
    try:
        tables = {name: _read(table) for name, table in document["tables"].items()}
        roots = {root: document["roots"][root] for root in ROOTS if root in document["roots"]}
        module: Any = SimpleNamespace(
            # Its rules, which no class tells, are those of the newest bundled version.
            VERSION=NEWEST,
            TABLES=tables,
            ROOTS=roots,
            PLUGINS=document["plugins"],
            TAKEN_FROM=document["taken_from"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckoutError(f"{path} is damaged; {again}") from error
    return Schema(module)


def _read(table: Any) -> Any:
    fields, extra, aliases, required = table
    read = {
        key: (_node(field[0]), field[1] if len(field) > 1 else ...) for key, field in fields.items()
    }
    return read, _node(extra), aliases, tuple(required)


def _node(value: Any) -> Node | Any:
    return tuple(_node(part) for part in value) if type(value) is list else value
