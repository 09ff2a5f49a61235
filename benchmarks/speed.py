"""What the hook costs beside a script that only parses, and the plugin where nobody uses it.

    python benchmarks/speed.py [--runs 15] [--format json]

Builds a wheel, installs it into a fresh virtual environment (an editable install starts slower
than what users have), and alternates both sides of each comparison. Times are the least of all
runs, in seconds of the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOOR = """
import argparse, tomllib
parser = argparse.ArgumentParser()
parser.add_argument("paths", nargs="*")
for path in parser.parse_args().paths:
    with open(path, "rb") as stream:
        tomllib.load(stream)
"""
# What is done for one text once everything is loaded, in microseconds.
ENGINE = """
import pathlib, sys, time, tomllib
from pytest_prime_train.checker import Checker, Options
from pytest_prime_train.config.document import Document
content = pathlib.Path(sys.argv[1]).read_bytes()
checker = Checker(Options(ignore=("info",)))
assert checker.check_document(Document("rl.toml", content)).findings == ()
def least(act):
    times = []
    for _ in range(int(sys.argv[2])):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return 1e6 * min(times)
print(least(lambda: checker.check_document(Document("rl.toml", content))))
print(least(lambda: tomllib.loads(content.decode())))
"""
ENGINE_BAR = 400.0
ENGINE_RUNS = 1000
# Three more sources make a config of 85 lines.
MORE_SOURCES = "".join(
    f"""
[[orchestrator.train.source]]
name = "{name}"

[orchestrator.train.source.env.taskset]
id = "{name}"

[orchestrator.train.source.env.agent.harness]
id = "null"

[orchestrator.train.source.env.agent.runtime]
type = "subprocess"
"""
    for name in ("math", "code", "logic")
)
HOOK_FILES = 100
PLUGIN_TESTS = 1000


def install(folder: Path) -> Path:
    """A virtual environment with the project's wheel; its folder of programs."""
    venv.create(folder, with_pip=True, symlinks=True)
    programs = folder / "bin"
    subprocess.run(
        [programs / "pip", "install", "--quiet", "--disable-pip-version-check", ROOT], check=True
    )
    return programs


def seconds(command: list[str], folder: Path, expected: int) -> float:
    """Time of one run.

    Raises:
        RuntimeError: It ended with another exit code than expected.
    """
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode != expected:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return taken


def alternate(
    ours: list[str], peer: list[str], folder: Path, runs: int, expected: int = 0
) -> tuple[float, float]:
    """The least time of each of two commands, run in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs + 1):  # The first run of each warms the caches.
        times[0].append(seconds(ours, folder, expected))
        times[1].append(seconds(peer, folder, expected))
    return min(times[0][1:]), min(times[1][1:])


def engine(python: str, work: Path, text: str) -> tuple[float, float]:
    """Microseconds of the whole check of a text, and of parsing it alone."""
    (work / "engine.py").write_text(ENGINE)
    before, header, after = text.partition("\n[inference.vllm]")
    (work / "rl_85.toml").write_text(before + MORE_SOURCES + header + after)
    command = [python, str(work / "engine.py"), str(work / "rl_85.toml"), str(ENGINE_RUNS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole, parsing = (float(line) for line in done.stdout.split())
    return whole, parsing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        programs = install(work / "venv")
        python, pytest = str(programs / "python"), str(programs / "pytest")
        (work / "floor.py").write_text(FLOOR)
        configs = work / "configs"
        configs.mkdir()
        text = (ROOT / "examples" / "rl.toml").read_text()
        for number in range(HOOK_FILES):
            (configs / f"rl_{number}.toml").write_text(text)
        files = sorted(str(path) for path in configs.iterdir())
        for count, bar in ((1, 2.0), (HOOK_FILES, 2.2)):
            ours = [str(programs / "prime-rl-check"), *files[:count]]
            peer = [python, str(work / "floor.py"), *files[:count]]
            times = alternate(ours, peer, configs, arguments.runs)
            rows.append((f"hook on {count} configs, against argparse and tomllib", *times, bar))
        empty, many = work / "empty", work / "many"
        empty.mkdir()
        many.mkdir()
        (many / "test_many.py").write_text(
            f"import pytest\n@pytest.mark.parametrize('n', range({PLUGIN_TESTS}))\n"
            "def test_it(n): pass\n"
        )
        for folder, expected in ((empty, 5), (many, 0)):
            ours = [pytest, "-q", "-p", "no:cacheprovider"]
            times = alternate(
                ours, [*ours, "-p", "no:prime-train"], folder, arguments.runs, expected
            )
            label = "an empty directory" if folder is empty else f"{PLUGIN_TESTS} tests"
            rows.append((f"pytest on {label}, against pytest without the plugin", *times, 1.05))
        whole, parsing = engine(python, work, text)
    show(rows, arguments.format, whole, parsing)
    return 0 if all(ours / peer <= bar for _, ours, peer, bar in rows) else 1


def show(
    rows: list[tuple[str, float, float, float]], form: str, whole: float, parsing: float
) -> None:
    if form == "json":
        results = [
            {"name": name, "seconds": ours, "peer_seconds": peer, "ratio": ours / peer, "bar": bar}
            for name, ours, peer, bar in rows
        ]
        one = {"microseconds": whole, "parsing": parsing, "bar": ENGINE_BAR}
        document = {"cpus": os.cpu_count(), "results": results, "engine": one}
        json.dump(document, sys.stdout, indent=2)
        print()
        return
    for name, ours, peer, bar in rows:
        print(f"{name}: {1e3 * ours:.1f} ms / {1e3 * peer:.1f} ms = {ours / peer:.3f} (bar {bar})")
    print(
        f"check of 85 lines in a process: {whole:.0f} µs, {parsing:.0f} of them parsing (bar 400)"
    )


if __name__ == "__main__":
    sys.exit(main())
