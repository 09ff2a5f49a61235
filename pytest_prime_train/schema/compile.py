"""Turn the JSON Schemas of prime-rl's own classes into tables of nodes (``schema/nodes.py``).

The result describes what pydantic does with a value, not what a JSON Schema validator would: lax
coercion, omitted tags of unions and the string ``"None"`` are the walker's business
(``schema/validate.py``), so a node only says which type a key has. Used where a schema is made,
never where one is judged by.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Node = tuple[Any, ...]
Pool = dict[str, tuple[dict[str, tuple[Any, ...]], Node | None, dict[str, str], tuple[str, ...]]]

# Keys that a class reads under two names (alias -> name), by version and class, which is written
# with its root where the other roots have a class of that name.
_GROUP_SIZE = {"rollouts_per_example": "group_size"}
_MAX_TOKENS = {"max_tokens": "max_completion_tokens"}
_SKIP_EVAL = {"skip_eval_on_restart": "skip_eval_on_resume"}
_TIMEOUT = {"timeout_seconds": "timeout"}
_SINCE_0_6 = {
    "EvalConfig": _GROUP_SIZE,
    "EvalEnvConfig": _GROUP_SIZE,
    "EvalSamplingConfig": _MAX_TOKENS,
    "OrchestratorConfig": _GROUP_SIZE,
    "TrainEnvConfig": _GROUP_SIZE,
    "TrainSamplingConfig": _MAX_TOKENS,
}
ALIASES: dict[str, dict[str, dict[str, str]]] = {
    "v0.2": {"OnlineEvalConfig": _SKIP_EVAL},
    "v0.3.0": {"OnlineEvalConfig": _SKIP_EVAL},
    "v0.4.0": {"OnlineEvalConfig": _SKIP_EVAL},
    "v0.5.0": {"EvalConfig": _SKIP_EVAL},
    "v0.6.0": {
        **_SINCE_0_6,
        "EnvConfig": _TIMEOUT,
        "EvalEnvConfig": {**_GROUP_SIZE, **_TIMEOUT},
        "OrchestratorConfig": {**_GROUP_SIZE, "teacher_model": "teacher"},
        "TrainEnvConfig": {**_GROUP_SIZE, **_TIMEOUT},
    },
    "v0.7.0": _SINCE_0_6,
    "v0.8.0": {},
    "main-2026-08-21": {
        "sft:SingleNodeDeploymentConfig": {"num_eval_gpus": "num_infer_gpus"},
        "sft:MultiNodeDeploymentConfig": {"num_eval_nodes": "num_infer_nodes"},
    },
}
# Keys of sft's deployment that prime-rl drops without a message (rule sft.multi-drop-gpus).
_DROPS_GPUS = ("v0.5.0", "v0.6.0", "v0.7.0", "v0.8.0")
DROPPED = {
    **{(version, "sft", "MultiNodeDeploymentConfig"): ("num_gpus",) for version in _DROPS_GPUS},
    ("main-2026-08-21", "sft", "MultiNodeDeploymentConfig"): ("num_train_gpus", "num_infer_gpus"),
}
# Second spelling of a choice, which prime-rl turns into the first one.
_ATTENTION = ("v0.4.0", "v0.5.0", "v0.6.0", "v0.7.0")


class Compiler:
    """Turns the JSON Schema of one root into tables of nodes.

    Args:
        prefix: Put before the name of every table, so that roots and plugins do not collide.
        plugins: Kinds of blocks of environment packages that are resolved by their id.
    """

    def __init__(
        self, pool: Pool, version: str, root: str, prefix: str, plugins: tuple[str, ...]
    ) -> None:
        self.pool = pool
        self.version = version
        self.root = root
        self.prefix = prefix
        self.plugins = plugins

    def table(self, name: str, schema: Json, *, open_: bool | None = None) -> str:
        """Compile one class into the pool and return its name there."""
        full = self.prefix + name
        required = schema.get("required", ())
        fields: dict[str, tuple[Any, ...]] = {}
        for key, field in schema.get("properties", {}).items():
            fields[key] = self.field(key, field)
        for key in DROPPED.get((self.version, self.root, name), ()):
            fields.setdefault(key, (("any",), None))
        extra = schema.get("additionalProperties", True) if open_ is None else open_
        known = ALIASES[self.version]
        aliases = known.get(name) or known.get(f"{self.root}:{name}") or {}
        # Roots have different classes of the same name.
        aliases = {alias: key for alias, key in aliases.items() if key in fields}
        node: Node | None = None
        if extra is True:
            node = ("any",)
        elif extra:
            node = self.node(extra)
        self.pool[full] = (fields, node, aliases, tuple(required))
        return full

    def field(self, key: str, schema: Json) -> tuple[Any, ...]:
        tag = None
        default = schema.get("default")
        # pydantic fills in an omitted tag from the default of the field, unless the default comes
        # from a factory; a renderer, told by its name, always has to be named.
        if isinstance(default, dict) and not schema.get("x-default-factory"):
            tag = default.get("type")
        # The trainer fills the tag in on the shared block (rule all.default-discriminator).
        if self.root == "rl" and key == "rollout_transport":
            tag = "zmq"
        node = self.node(schema, tag)
        if key == "full_offload" and self.version.startswith("main"):
            node = ("null", ("switch", node[1][1]))
        if key == "attn" and self.version in _ATTENTION and "fa4" in schema.get("enum", ()):
            node = ("enum", (*node[1], "flash_attention_4"))
        return (node, default)

    def node(self, schema: Json, tag: str | None = None) -> Node:
        if "$ref" in schema:
            return self.reference(schema["$ref"].rsplit("/", 1)[1])
        if "oneOf" in schema:
            return self.union(schema, tag)
        if "anyOf" in schema:
            parts = [self.node(part, tag) for part in schema["anyOf"] if part.get("type") != "null"]
            node = parts[0] if len(parts) == 1 else ("either", *parts)
            null = len(parts) < len(schema["anyOf"])
            return ("null", node) if null else node
        if "const" in schema:
            return ("enum", (schema["const"],))
        if "enum" in schema:
            return ("enum", tuple(schema["enum"]))
        kind = schema.get("type")
        if kind == "integer":
            return ("int", *bounds(schema))
        if kind == "number":
            return ("float", *bounds(schema))
        if kind == "boolean":
            return ("bool",)
        if kind == "string":
            if schema.get("format") == "path":
                return ("path",)
            limits = (schema.get("minLength", 0), schema.get("pattern"))
            return ("str", *limits) if any(limits) else ("str",)
        if kind == "array":
            if "prefixItems" in schema:
                return ("tuple", *(self.node(item) for item in schema["prefixItems"]))
            least, most = schema.get("minItems", 0), schema.get("maxItems")
            return ("list", self.node(schema.get("items", {})), least, most)
        if kind == "object" and "properties" not in schema:
            extra = schema.get("additionalProperties", True)
            return ("map", ("any",) if extra is True else self.node(extra))
        if kind is None and not schema.get("properties"):
            return ("any",)
        raise ValueError(f"{self.version} {self.root}: no rule for {json.dumps(schema)[:200]}")

    def union(self, schema: Json, tag: str | None) -> Node:
        key = schema.get("discriminator", {}).get("propertyName")
        if key is None:
            return ("either", *(self.node(part) for part in schema["oneOf"]))
        mapping = schema["discriminator"]["mapping"]
        variants = tuple(
            (value, self.prefix + ref.rsplit("/", 1)[1]) for value, ref in sorted(mapping.items())
        )
        if key != "type":
            tag = None
        return ("tagged", key, variants, tag if tag in mapping else None)

    def reference(self, name: str) -> Node:
        kind = name.removesuffix("Config").lower()
        if name.endswith("Config") and kind in self.plugins:
            return (kind,)
        return ("table", self.prefix + name)

    def definitions(self, schema: Json, open_: tuple[str, ...] = ()) -> None:
        for name, definition in schema.get("$defs", {}).items():
            if "enum" in definition or "properties" not in definition:
                raise ValueError(f"{self.version} {self.root} {name}: not a table")
            self.table(name, definition, open_=True if name in open_ else None)


def bounds(schema: Json) -> tuple[float | None, ...]:
    """(at least, above, at most, below), without the missing ones at the end."""
    names = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    found = [schema.get(name) for name in names]
    while found and found[-1] is None:
        found.pop()
    return tuple(found)


def plugin_kinds(folder: Path) -> tuple[str, ...]:
    """The kinds of blocks that have classes of their own; before v0.8.0 environments have none."""
    kinds = ("env", "harness", "taskset")
    return tuple(kind for kind in kinds if (folder / f"{kind}.json").exists())


def compile_plugins(pool: Pool, version: str, folder: Path, roots: Json) -> Json:
    """Blocks of environment packages: those of verifiers itself are exact, all others open."""
    plugins: Json = {}
    open_parts = ("TasksetConfig", "TaskConfig", "JudgeConfig")
    kinds = plugin_kinds(folder)
    for kind in ("env", "harness", "taskset"):
        plugins[kind] = {}
        if kind not in kinds:
            continue
        for identifier, entry in json.loads((folder / f"{kind}.json").read_text()).items():
            if identifier.startswith("(") or (kind == "taskset" and not entry.get("builtin")):
                continue
            name = identifier.replace("-", "_")
            compiler = Compiler(pool, version, "plugin", f"{kind}:{name}:", plugins=kinds)
            compiler.definitions(entry["schema"], open_=("JudgeConfig",))
            plugins[kind][name] = compiler.table(entry["class"], entry["schema"])
            if name == "single_agent":
                anything = Compiler(pool, version, "plugin", "open:", plugins=kinds)
                anything.definitions(entry["schema"], open_=open_parts)
                plugins["open_env"] = anything.table(entry["class"], entry["schema"], open_=True)
                plugins["open_taskset"] = "open:TasksetConfig"
                plugins["strict_taskset"] = f"{kind}:{name}:TasksetConfig"
    # An id that is not written is "bash", formerly "default" (harness), and "single-agent" (env).
    known = plugins["harness"]
    known[""] = known["bash" if "bash" in known else "default"]
    if plugins["env"]:
        plugins["env"][""] = plugins["env"]["single_agent"]
    else:
        anything = Compiler(pool, version, "plugin", "open:", plugins=kinds)
        for name in open_parts:
            anything.table(name, roots["orchestrator"]["$defs"][name], open_=True)
        for name in ("JudgeSamplingConfig",):
            anything.table(name, roots["orchestrator"]["$defs"][name])
        plugins["open_taskset"] = "open:TasksetConfig"
        plugins["strict_taskset"] = "orchestrator:TasksetConfig"
    return plugins


def refine(pool: Pool) -> dict[str, str]:
    """For every table the name of one that says the same, so that each is kept once."""
    group = dict.fromkeys(pool, 0)
    count = 0
    while True:
        signatures: dict[str, int] = {}
        fresh: dict[str, int] = {}
        for name, table in pool.items():
            text = repr(renamed(table, {key: str(number) for key, number in group.items()}))
            fresh[name] = signatures.setdefault(text, len(signatures))
        if len(signatures) == count:
            break
        group, count = fresh, len(signatures)
    chosen: dict[int, str] = {}
    for name in sorted(pool, key=lambda name: (len(name), name)):
        chosen.setdefault(group[name], name)
    return {name: chosen[number] for name, number in group.items()}


def renamed(value: Any, names: dict[str, str]) -> Any:
    """A copy of a table or node with the names of other tables replaced."""
    if isinstance(value, tuple):
        if value[:1] == ("table",) or value[:1] == ("switch",):
            return (value[0], names[value[1]])
        if value[:1] == ("tagged",):
            variants = tuple((tag, names[name]) for tag, name in value[2])
            return ("tagged", value[1], variants, value[3])
        if value[:1] == ("enum",):
            return value
        return tuple(renamed(part, names) for part in value)
    if isinstance(value, dict):
        return {
            key: renamed(part, names) if isinstance(part, tuple) else part
            for key, part in value.items()
        }
    return value


def shorten(names: dict[str, str]) -> dict[str, str]:
    """Short unique names for the kept tables: the class, numbered where two classes share it."""
    short: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names.values())):
        plain = name.rsplit(":", 1)[1]
        candidate, number = plain, 2
        while candidate in taken:
            candidate, number = f"{plain}_{number}", number + 1
        taken.add(candidate)
        short[name] = candidate
    return {name: short[kept] for name, kept in names.items()}


def drop_own_defaults(pool: Pool) -> None:
    """Replace a default that only repeats the defaults of its own table by ``...``.

    ``Config.get`` reads through the table then; nothing is lost and the module is a third smaller.
    """
    for fields, *_ in pool.values():
        for key, (node, default) in fields.items():
            target = node[1] if node[0] == "null" else node
            if isinstance(default, dict) and target[0] == "table":
                if default == own_defaults(pool, target[1]):
                    fields[key] = (node, ...)
            elif isinstance(default, dict) and target[0] == "tagged":
                variants = dict(target[2])
                tag = default.get(target[1])
                if tag in variants and default == own_defaults(pool, variants[tag]):
                    fields[key] = (node, {target[1]: tag})


def own_defaults(pool: Pool, name: str) -> Json:
    values: Json = {}
    fields, _, _, required = pool[name]
    for key, (node, default) in fields.items():
        if key in required:
            continue
        target = node[1] if node[0] == "null" else node
        if default is ... and target[0] == "table":
            default = own_defaults(pool, target[1])
        values[key] = default
    return values


def compile_roots(
    version: str, schemas: Mapping[str, Json], plugin_folder: Path | None
) -> tuple[Pool, dict[str, str], Json]:
    """All tables of one version, the table of each root, and its plugins.

    Args:
        version: Bundled version whose corrections apply.
        schemas: Root -> JSON Schema of its class.
        plugin_folder: Schemas of environment packages; ``None`` where there are none.

    Raises:
        ValueError: A schema says something that there is no node for.
    """
    pool: Pool = {}
    kinds = plugin_kinds(plugin_folder) if plugin_folder else ()
    roots: dict[str, str] = {}
    for root, schema in schemas.items():
        compiler = Compiler(pool, version, root, f"{root}:", plugins=kinds)
        compiler.definitions(schema)
        roots[root] = compiler.table(schema["x-prime-rl"]["class"], schema)
    plugins: Json = {}
    if plugin_folder is not None:
        plugins = compile_plugins(pool, version, plugin_folder, dict(schemas))
    names = shorten(refine(pool))
    drop_own_defaults(pool)
    kept = {names[name]: renamed(table, names) for name, table in sorted(pool.items())}
    plugins = {
        kind: names[value] if isinstance(value, str) else {k: names[v] for k, v in value.items()}
        for kind, value in plugins.items()
    }
    return kept, {root: names[name] for root, name in roots.items()}, plugins
