"""The verdict of every bundled version: prime-rl's own files, and mutants of them.

Facts come from ``version_matrix.json``: which of the versions' own classes accept which file of
which version's tree, by root.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import shared_folder
from pytest_prime_train.checker import Checker, Options
from pytest_prime_train.config.resolve import Config
from pytest_prime_train.schema.bundle import schema_of
from pytest_prime_train.schema.versions import VERSIONS

# Versions whose trees are among the facts.
TREES = ("v0.2", "v0.4.0", "v0.6.0", "v0.8.0", "main-2026-08-21")
RECENT = ("v0.6.0", "v0.7.0", "v0.8.0")
# A file of evaluations has an array [[env]] of two keys. The classes turn it into a table by
# taking each pair of keys for a key and its value, then look for a package of the name
# "rollouts_per_example", which the measurement let pass and a real run does not find.
ARTEFACTS = {
    (version, "env_server", f"configs/intellect_3/evals/envs/{name}.toml")
    for version in ("v0.8.0", "main-2026-08-21")
    for name in ("aime2024", "aime2025", "hle", "mmlu_pro")
}
# Rules between keys decide part of what is refused, not the schema alone. Of v0.6.0 and later:
# renderer "auto" needs a model that the renderers package knows. Of v0.6.0 and v0.7.0: no renderer
# for vision models in sft. Rules that today's prime-rl does not have are known only where a file
# of some tree breaks one.


@cache
def _matrix() -> dict[str, dict[str, dict[str, list[str]]]]:
    path = shared_folder() / "prime-rl" / "version_matrix.json"
    return dict(json.loads(path.read_text())["files"]) if path.is_file() else {}


def _files() -> list[tuple[str, str]]:
    """(tree, path) of every file whose text is among the facts."""
    return [(tree, path) for tree in TREES for path in _matrix().get(tree, ())]


@cache
def _text(tree: str, path: str) -> str:
    return (shared_folder() / "prime-rl" / "configs" / tree / path).read_text()


def _refused(data: dict[str, Any], root: str, version: str) -> list[str]:
    config = Config(data, root, schema_of(version))
    return [f"{fault.kind} {fault.path} {fault.value!r}" for fault in config.faults] + [
        f"conflict {pair}" for pair in config.conflicts
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_accepts_what_the_versions_classes_accept(shared: Path, version: str) -> None:
    """Whatever tree a file is from: 0 false errors."""
    wrong = []
    for tree, path in _files():
        data = tomllib.loads(_text(tree, path))
        for root in _matrix()[tree][path].get(version, ()):
            faults = _refused(data, root, version)
            if faults and (version, root, path) not in ARTEFACTS:
                wrong.append(f"{tree}/{path} as {root}: {faults[:2]}")
    assert wrong == []


@pytest.mark.parametrize("version", VERSIONS)
def test_refuses_what_the_versions_classes_refuse(shared: Path, version: str) -> None:
    """At least 99 % of the files that no root of the version accepts are refused by all."""
    checker = Checker(Options(version=version, select=("schema",), ignore=("info", "warning")))
    refused, accepted = 0, []
    for tree, path in _files():
        if _matrix()[tree][path].get(version):
            continue
        report = checker.check_file(str(shared_folder() / "prime-rl" / "configs" / tree / path))
        if report.findings or report.root is None:
            refused += 1
        else:
            accepted.append(f"{tree}/{path} as {report.root}")
    assert refused >= 0.99 * (refused + len(accepted)), accepted


@pytest.mark.parametrize(("tree", "path"), _files() or [("", "")])
def test_recognises_and_accepts_its_own_tree(shared: Path, tree: str, path: str) -> None:
    """The version's own files pass through the front door, or are said to be ambiguous."""
    accepting = _matrix()[tree][path].get(tree, [])
    checker = Checker(Options(version=tree, select=("schema",)))
    report = checker.check_file(str(shared_folder() / "prime-rl" / "configs" / tree / path))
    errors = [finding.message for finding in report.findings if finding.severity == "error"]
    if accepting:
        assert errors == []
        # A file with nothing but [slurm] is read by several programs.
        assert report.root in accepting or [f.id for f in report.findings] == [
            "unrecognised-config"
        ]
    else:
        assert errors or report.root is None


def test_every_version_is_compiled_from_the_facts(shared: Path) -> None:
    """The bundled modules are what the tool makes of the facts."""
    import subprocess
    import sys

    root = Path(__file__).resolve().parent.parent
    for tool in ("build_schemas.py", "build_lifetimes.py"):
        command = [sys.executable, str(root / "tools" / tool), str(shared), "--check"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


# Mutants of the files of v0.6.0, v0.7.0 and v0.8.0


@cache
def _accepted_files(version: str) -> list[tuple[str, str, str]]:
    """(tree, path, root) of files that the version's classes accept."""
    order = ("rl", "sft", "trainer", "orchestrator", "inference", "env_server")
    found = []
    for tree, path in _files():
        roots = _matrix()[tree][path].get(version, [])
        best = sorted(set(roots), key=lambda root: order.index(root) if root in order else 9)
        if best and (version, best[0], path) not in ARTEFACTS:
            found.append((tree, path, best[0]))
    return found


@st.composite
def accepted(draw: st.DrawFn) -> tuple[str, str, str]:
    """(version, text, root) of a file that the version accepts."""
    version = draw(st.sampled_from(RECENT))
    tree, path, root = draw(st.sampled_from(_accepted_files(version)))
    return version, _text(tree, path), root


MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
needs_facts = pytest.mark.skipif(not _matrix(), reason="the shared facts are not there")


def _typed_fields(
    schema: Any, table: str, data: dict[str, Any], path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Any, Any]]:
    """(path, node, value) of every written key whose type the schema knows."""
    fields = schema.tables[table][0]
    for key, value in data.items():
        if key not in fields:
            continue
        node = fields[key][0]
        yield (*path, key), node, value
        bare = node[1] if node[0] == "null" else node
        if bare[0] == "table" and type(value) is dict:
            yield from _typed_fields(schema, bare[1], value, (*path, key))
        elif bare[0] == "tagged" and type(value) is dict:
            variant = dict(bare[2]).get(value.get(bare[1], bare[3]))
            if variant:
                yield from _typed_fields(schema, variant, value, (*path, key))
        elif bare[0] == "list" and bare[1][0] == "table" and type(value) is list:
            for number, item in enumerate(value):
                if type(item) is dict:
                    yield from _typed_fields(schema, bare[1][1], item, (*path, key, number))


def _set(data: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """A deep copy with one value replaced."""
    copy = json.loads(json.dumps(data, default=str))
    table = copy
    for part in path[:-1]:
        table = table[part]
    table[path[-1]] = value
    return dict(copy)


@cache
def _fields(version: str, text: str, root: str) -> list[tuple[Any, Any, Any]]:
    schema = schema_of(version)
    return list(_typed_fields(schema, schema.roots[root], tomllib.loads(text), ()))


def _shares(version: str, root: str, path: tuple[str | int, ...]) -> bool:
    """Whether another key has to have the same value, written the same way."""
    from pytest_prime_train.config.sharing import share

    if root != "rl":
        return False
    probe: dict[str, Any] = {"trainer": {}, "orchestrator": {}, "inference": {}}
    table = probe
    for part in path[:-1]:
        table = table.setdefault(str(part), {})
    table[str(path[-1])] = "x"
    shared = share(probe, version)
    return bool(shared.origins) or any(
        str(part) in ("name", "seq_len", "max_steps", "output_dir", "chat_template", "level")
        for part in path[-1:]
    )


@needs_facts
@MANY
@given(accepted())
def test_layout_never_matters(case: tuple[str, str, str]) -> None:
    """Comments, blank lines, the order of keys, dotted and inline forms."""
    version, text, root = case
    plain = tomllib.loads(text)
    commented = re.sub(r"(?m)^(\[.*)$", r"# above\n\1  # behind", text)
    assert tomllib.loads(commented) == plain
    for written in (commented, _inline(plain), _dotted(plain), _reversed(plain)):
        data = tomllib.loads(written)
        assert data == plain
        assert _refused(data, root, version) == []


def _inline(data: dict[str, Any]) -> str:
    document = tomlkit.document()
    for key, value in data.items():
        document[key] = _inline_item(value)
    return tomlkit.dumps(document)


def _inline_item(value: Any) -> Any:
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for key, item in value.items():
            table[key] = _inline_item(item)
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        for item in value:
            array.append(_inline_item(item))
        return array
    return value


def _dotted(data: dict[str, Any], prefix: str = "") -> str:
    lines = []
    for key, value in data.items():
        name = prefix + (key if re.fullmatch(r"[\w-]+", key) else json.dumps(key))
        if isinstance(value, dict) and value:
            lines.append(_dotted(value, f"{name}."))
        else:
            item = tomlkit.item(_inline_item(value)).as_string()
            lines.append(f"{name} = {item}\n")
    return "".join(lines)


def _reversed(data: dict[str, Any]) -> str:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(item) for key, item in reversed(value.items())}
        return [turned(item) for item in value] if isinstance(value, list) else value

    return tomlkit.dumps(turned(data))


@needs_facts
@MANY
@given(accepted(), st.data())
def test_coercion_never_matters(case: tuple[str, str, str], data: st.DataObject) -> None:
    """A number in quotes, a whole number with a fraction of 0, a truth value in words."""
    version, text, root = case
    fields = [
        (path, node, value)
        for path, node, value in _fields(version, text, root)
        if (node[1] if node[0] == "null" else node)[0] in ("int", "float", "bool")
        and type(value) in (int, float, bool)
        and not _shares(version, root, path)
    ]
    if not fields:
        return
    path, node, value = data.draw(st.sampled_from(fields))
    kind = (node[1] if node[0] == "null" else node)[0]
    if type(value) is bool:
        written: list[Any] = [str(value).lower(), "yes" if value else "off", int(value)]
    else:
        written = [str(value), f" {value} "]
        if kind == "int" or float(value).is_integer():
            written += [float(value)]
    changed = _set(tomllib.loads(text), path, data.draw(st.sampled_from(written)))
    assert _refused(changed, root, version) == []


@needs_facts
@MANY
@given(accepted(), st.data())
def test_none_is_nothing_where_nothing_is_possible(
    case: tuple[str, str, str], data: st.DataObject
) -> None:
    version, text, root = case
    fields = [
        (path, node)
        for path, node, _ in _fields(version, text, root)
        # A table that goes takes what the rest of the file relies on with it.
        if node[0] == "null"
        and node[1][0] in ("int", "float", "bool", "str", "path", "enum")
        and not _shares(version, root, path)
    ]
    if fields:
        path, _ = data.draw(st.sampled_from(fields))
        changed = _set(tomllib.loads(text), path, "None")
        assert _refused(changed, root, version) == []


@needs_facts
@MANY
@given(accepted(), st.data())
def test_unknown_keys_are_refused(case: tuple[str, str, str], data: st.DataObject) -> None:
    version, text, root = case
    schema = schema_of(version)
    tables: list[tuple[tuple[str | int, ...], str]] = [((), schema.roots[root])]
    for path, node, value in _fields(version, text, root):
        bare = node[1] if node[0] == "null" else node
        if bare[0] == "table" and type(value) is dict:
            tables.append((path, bare[1]))
    strict = [path for path, name in tables if schema.tables[name][1] is None]
    path = data.draw(st.sampled_from(strict))
    key = data.draw(st.from_regex(r"[a-z]{3,9}_zz", fullmatch=True))
    changed = _set(tomllib.loads(text), (*path, key), 1)
    kept = _refused(changed, root, version)
    # A shared table hands its keys to several parts.
    assert {fault.split()[0] for fault in kept} == {"unknown"}


def _wrong_values(node: Any) -> list[Any]:
    bare = node[1] if node[0] == "null" else node
    kind = bare[0]
    wrong: dict[str, list[Any]] = {
        "int": [1.5, "many", [1], {"a": 1}],
        "float": ["much", [1.0], {"a": 1}],
        "bool": [2, "maybe", [], {"a": 1}],
        "str": [1, 1.5, True, ["a"]],
        "path": [1, True, ["a"]],
        "enum": ["no-such-choice", 1, True],
        "list": [1, "a", {"a": 1}],
        "table": [1, "a", [1]],
        "map": [1, "a", [1]],
        "tagged": [1, "a", [1]],
    }
    values = list(wrong.get(kind, ()))
    if kind in ("int", "float") and len(bare) > 1:
        at_least, above, at_most, below = (*bare[1:], None, None, None, None)[:4]
        values += [limit - 1 for limit in (at_least, above) if limit is not None]
        values += [limit + 1 for limit in (at_most, below) if limit is not None]
    return values


@needs_facts
@MANY
@given(accepted(), st.data())
def test_wrong_types_choices_and_ranges_are_refused(
    case: tuple[str, str, str], data: st.DataObject
) -> None:
    version, text, root = case
    fields = [(path, node) for path, node, _ in _fields(version, text, root) if _wrong_values(node)]
    if fields:
        path, node = data.draw(st.sampled_from(fields))
        value = data.draw(st.sampled_from(_wrong_values(node)))
        assert _refused(_set(tomllib.loads(text), path, value), root, version)


# Rules that the newest version does not have any more.


@pytest.mark.parametrize(
    ("id", "version", "root", "bad", "good"),
    [
        (
            "rule-orch-student-renderer-auto",
            "v0.6.0",
            "orchestrator",
            "student.model.name = 'me/mine'",
            "student.model.name = 'me/mine'\nrenderer.name = 'default'",
        ),
        (
            "rule-orch-student-renderer-auto",
            "v0.6.0",
            "rl",
            "model.name = 'me/mine'\n[trainer]\n[orchestrator]",
            "model.name = 'Qwen/Qwen3-0.6B'\n[trainer]\n[orchestrator]",
        ),
        (
            "rule-sft-renderer-vlm",
            "v0.7.0",
            "sft",
            "renderer.name = 'default'\n[model.vlm]\nvision_encoder_attr = 'a'\n"
            "language_model_attr = 'b'",
            "[model.vlm]\nvision_encoder_attr = 'a'\nlanguage_model_attr = 'b'",
        ),
        (
            "rule-trainer-offload-runs",
            "v0.5.0",
            "trainer",
            "max_concurrent_runs = 2\nmodel.optim_cpu_offload = true",
            "max_concurrent_runs = 1\nmodel.optim_cpu_offload = true",
        ),
        (
            "rule-trainer-adapter-without-lora",
            "v0.7.0",
            "sft",
            "ckpt.weights.save_adapter_separately = true",
            "model.lora.rank = 8\nckpt.weights.save_adapter_separately = true",
        ),
        (
            "rule-orch-env-without-id",
            "v0.7.0",
            "orchestrator",
            "[[train.env]]\nname = 'x'",
            "[[train.env]]\ntaskset.id = 'x'",
        ),
        (
            "rule-orch-eval-without-env",
            "v0.7.0",
            "orchestrator",
            "[eval]\ninterval = 5",
            "[[eval.env]]\ntaskset.id = 'x'",
        ),
        (
            "rule-inf-llmd-returns-experts",
            "v0.8.0",
            "inference",
            "enable_return_routed_experts = true\nrouter.type = 'llm-d'",
            "enable_return_routed_experts = true\nrouter.type = 'vllm-router'",
        ),
    ],
)
def test_former_rules(
    tmp_path: Path, id: str, version: str, root: str, bad: str, good: str
) -> None:
    checker = Checker(Options(version=version, root=root), folder=str(tmp_path))
    path = tmp_path / "config.toml"
    path.write_text(bad)
    assert id in {finding.id for finding in checker.check_file(str(path)).findings}
    path.write_text(good)
    assert id not in {finding.id for finding in checker.check_file(str(path)).findings}
