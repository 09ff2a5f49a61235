"""What migrating a thousand files costs beside parsing and dumping them with tomlkit.

    python benchmarks/migrate.py [SHARED] [--files 1000] [--runs 3] [--format json]

``SHARED`` is the folder of facts beside the checkout (``../shared``, or ``PRIME_SHARED``), whose
configs of v0.2 to v0.8.0 are copied round robin. Both sides read every file, one after the other;
migrating tells its program and version, applies the changes, writes the text, reads it again,
compares it and judges it by the newest version, as ``prime-train migrate --check`` does. Times are
the least of all runs, in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tomlkit

from pytest_prime_train.migrations.files import Migrator, Request

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("v0.2", "v0.4.0", "v0.6.0", "v0.8.0")
BAR = 3.0


def copies(shared: Path, folder: Path, count: int) -> list[str]:
    """So many files, copied from those of older versions with their own folders."""
    sources = [
        path
        for version in VERSIONS
        for path in sorted((shared / "prime-rl" / "configs" / version).rglob("*.toml"))
    ]
    made: list[str] = []
    for number in range(count):
        source = sources[number % len(sources)]
        target = folder / str(number) / Path(*source.parts[-3:])
        target.parent.mkdir(parents=True)
        shutil.copyfile(source, target)
        made.append(str(target))
    return made


def migrate(paths: list[str]) -> None:
    """Migrate every file, without writing."""
    Migrator(Request()).migrate(paths, write=False)


def parse_and_dump(paths: list[str]) -> None:
    """What any tool pays that keeps comments."""
    for path in paths:
        tomlkit.dumps(tomlkit.parse(Path(path).read_text(encoding="utf-8")))


def least(work: Callable[[list[str]], None], paths: list[str], runs: int) -> float:
    """The least time of some runs, in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work(paths)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    default = os.environ.get("PRIME_SHARED", str(ROOT.parent / "shared"))
    parser.add_argument("shared", nargs="?", default=default, type=Path)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = copies(arguments.shared, Path(folder), arguments.files)
        peer = least(parse_and_dump, paths, arguments.runs)
        ours = least(migrate, paths, arguments.runs)
    ratio = ours / peer
    figures = {"files": len(paths), "ours_s": ours, "tomlkit_s": peer, "ratio": ratio, "bar": BAR}
    if arguments.format == "json":
        print(json.dumps(figures, indent=2))
    else:
        print(
            f"{len(paths)} files: migrated in {ours:.2f} s, parsed and dumped with tomlkit in "
            f"{peer:.2f} s: {ratio:.2f} times (bar {BAR})"
        )
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
