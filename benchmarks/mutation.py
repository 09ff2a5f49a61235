"""How many mutants of the gotchas' detections the tests kill, module by module.

    pip install cosmic-ray
    python benchmarks/mutation.py [MODULE ...] [--sample N] [--seed N] [--jobs N]

Mutants are those of cosmic-ray's operators, which have to change what a detection does: facts of a
declaration, annotations and docstrings are no logic. Each mutant is loaded in a process of its own
that already has everything else loaded, so that it costs little more than the tests it fails; the
tests of the module's own gotchas run first, then all tests of gotchas. Survivors are printed as
diffs, to be judged by a person.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import os
import random
import signal
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
GOTCHAS = ROOT / "pytest_prime_train" / "gotchas"
TESTS = sorted(str(path) for path in (ROOT / "tests").glob("test_gotcha*.py"))
# The registry and what is not about one gotcha are tested through everything else.
NOT_DETECTIONS = frozenset(("__init__", "registry"))
SECONDS = 300
KILLED, SURVIVED = 0, 1
_AS_EQUALITY: dict[type[ast.cmpop], ast.cmpop] = {ast.Is: ast.Eq(), ast.IsNot: ast.NotEq()}


class Mutant(NamedTuple):
    """A changed module.

    Attributes:
        name: The operator that changed it, and where.
        source: The text.
    """

    name: str
    source: str


def main() -> None:
    """Mutate and test the modules asked for, or all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("modules", nargs="*", help="names of modules of gotchas; all by default")
    parser.add_argument("--sample", type=int, help="mutants of a module at most; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    given = parser.parse_args()
    names = given.modules or sorted(
        path.stem for path in GOTCHAS.glob("*.py") if path.stem not in NOT_DETECTIONS
    )
    _load_everything()
    killed = total = 0
    for name in names:
        path = GOTCHAS / f"{name}.py"
        source = path.read_text(encoding="utf-8")
        if _judge(name, [Mutant("", source)], 1) == [KILLED]:
            sys.exit(f"{name}: the tests fail without any mutant")
        found = list(mutants(source))
        if given.sample and len(found) > given.sample:
            found = random.Random(given.seed).sample(found, given.sample)
        verdicts = _judge(name, found, given.jobs)
        dead = sum(verdict == KILLED for verdict in verdicts)
        killed, total = killed + dead, total + len(found)
        share = f"{100 * dead / len(found):.0f} %" if found else "no mutants"
        print(f"{name}: {dead} of {len(found)} killed, {share}", flush=True)
        for mutant, verdict in zip(found, verdicts, strict=True):
            if verdict == SURVIVED:
                print(f"  {mutant.name}")
                print("".join(_difference(source, mutant.source)), flush=True)
    print(f"together: {killed} of {total} killed, {100 * killed / max(total, 1):.1f} %")


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant whose logic is another than the source's, once."""
    # Without types, and not needed by anything else here.
    trees, mutating, plugins = (
        import_module(f"cosmic_ray.{name}") for name in ("ast", "mutating", "plugins")
    )
    seen = {logic(source)}
    for name in plugins.operator_names():
        operator = plugins.get_operator(name)
        if getattr(operator, "arguments", tuple)():
            continue
        count = sum(
            len(list(operator().mutation_positions(node)))
            for node in trees.ast_nodes(trees.get_ast(source))
        )
        for occurrence in range(count):
            changed = mutating.mutate_code(source, operator(), occurrence)
            if changed is None:
                continue
            with contextlib.suppress(SyntaxError):
                key = logic(changed)
                if key not in seen:
                    seen.add(key)
                    yield Mutant(f"{name.rpartition('/')[2]} {occurrence}", changed)


def logic(source: str) -> str:
    """The code without what is no logic: decorators, annotations, docstrings.

    That a type is another one, and that it is not equal to it, is the same.

    Raises:
        SyntaxError: It is no Python.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            node.returns = None
            for argument in (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs):
                argument.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.Compare) and _is_type(node.left):
            node.ops = [_AS_EQUALITY.get(type(one), one) for one in node.ops]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def _is_type(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "type"


def _load_everything() -> None:
    """Load what every mutant needs, so that forks have it."""
    sys.path.insert(0, str(ROOT / "tests"))
    import pytest  # noqa: F401

    from pytest_prime_train.checker import check_file
    from pytest_prime_train.gotchas import all_gotchas
    from pytest_prime_train.report import text  # noqa: F401

    all_gotchas()
    check_file(str(ROOT / "examples" / "rl.toml"))


def _judge(name: str, found: list[Mutant], jobs: int) -> list[int]:
    """What became of each mutant: killed or survived."""
    verdicts = [SURVIVED] * len(found)
    running: dict[int, int] = {}
    for number, mutant in enumerate(found):
        if len(running) >= jobs:
            _reap(running, verdicts)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _die_as_told(name, mutant)
        running[child] = number
    while running:
        _reap(running, verdicts)
    return verdicts


def _reap(running: dict[int, int], verdicts: list[int]) -> None:
    child, status = os.wait()
    # A mutant that crashes or never ends is noticed as well.
    survived = os.WIFEXITED(status) and os.WEXITSTATUS(status) == SURVIVED
    verdicts[running.pop(child)] = SURVIVED if survived else KILLED


def _die_as_told(name: str, mutant: Mutant) -> None:
    """In a process of its own: load the mutant, run the tests, and exit with the verdict."""
    signal.alarm(SECONDS)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    code = KILLED
    try:
        if _survives(name, mutant):
            code = SURVIVED
    finally:
        os._exit(code)


def _survives(name: str, mutant: Mutant) -> bool:
    import pytest

    from pytest_prime_train.gotchas import all_gotchas

    module = sys.modules[f"pytest_prime_train.gotchas.{name}"]
    exec(compile(mutant.source, str(module.__file__), "exec"), module.__dict__)
    own = [one.id for one in all_gotchas() if one.check.__module__ == module.__name__]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={ROOT}"]
    first = [*options, "-k", " or ".join(own), *TESTS]
    return pytest.main(first) == 0 and pytest.main([*options, *TESTS]) == 0


def _difference(source: str, changed: str) -> list[str]:
    before, after = (text.splitlines(keepends=True) for text in (source, changed))
    return [f"    {line}" for line in list(difflib.unified_diff(before, after, n=0))[2:]]


if __name__ == "__main__":
    main()
