"""What an item of the plugin costs beside an empty item of a plugin that does nothing.

    python benchmarks/items.py [--items 8000 80000] [--runs 3] [--format json]

Makes folders of configs with as many items as asked for, and runs pytest over them: once with
this plugin, and once with a plugin of ten lines whose files have as many items that do nothing.
Both are run in turn; times are the least of all runs of the whole process in seconds, memory is
the most that a process had, in MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BAR = 1.2
EMPTY = """
import pytest

class EmptyFile(pytest.File):
    def collect(self):
        for number in range({per_file}):
            yield EmptyItem.from_parent(self, name=f"check-{{number}}")

class EmptyItem(pytest.Item):
    def runtest(self):
        pass
    def reportinfo(self):
        return self.path, 0, self.name

def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".toml":
        return EmptyFile.from_parent(parent, path=file_path)
"""


class Run(NamedTuple):
    """Seconds and MiB of one process."""

    seconds: float
    mib: float


def measure(command: list[str], folder: Path) -> Run:
    """Run a command that has to succeed.

    Raises:
        RuntimeError: It ended with another exit code than 0.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Run(taken, usage.ru_maxrss / 1024)


def items_of(folder: Path) -> int:
    """How many items the plugin makes of the configs in a folder."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--prime-configs=configs"], cwd=folder, capture_output=True, text=True
    )
    return sum("::" in line for line in done.stdout.splitlines())


def compare(items: int, runs: int) -> tuple[int, Run, Run]:
    """Items made, and the least of this plugin and of the empty one."""
    text = (ROOT / "examples" / "rl.toml").read_text()
    with tempfile.TemporaryDirectory() as name:
        ours, peer = Path(name) / "ours", Path(name) / "peer"
        for folder in (ours, peer):
            (folder / "configs").mkdir(parents=True)
            (folder / "pytest.ini").write_text("[pytest]\n")
        (ours / "configs" / "rl_0.toml").write_text(text)
        per_file = items_of(ours)
        files = max(1, round(items / per_file))
        for number in range(files):
            for folder in (ours, peer):
                (folder / "configs" / f"rl_{number}.toml").write_text(text)
        (peer / "conftest.py").write_text(EMPTY.format(per_file=per_file))
        base = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        found: tuple[list[Run], list[Run]] = ([], [])
        for _ in range(runs):
            found[0].append(measure([*base, "--prime-configs=configs"], ours))
            found[1].append(measure([*base, "-p", "no:prime-train"], peer))
    least = [Run(min(r.seconds for r in side), min(r.mib for r in side)) for side in found]
    return files * per_file, least[0], least[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--items", type=int, nargs="+", default=[8000, 80000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    rows = [compare(items, arguments.runs) for items in arguments.items]
    results = [
        {
            "items": number,
            "seconds": ours.seconds,
            "peer_seconds": peer.seconds,
            "ratio": ours.seconds / peer.seconds,
            "mib": ours.mib,
            "peer_mib": peer.mib,
            "memory_ratio": ours.mib / peer.mib,
            "bar": BAR,
        }
        for number, ours, peer in rows
    ]
    if arguments.format == "json":
        json.dump({"cpus": os.cpu_count(), "results": results}, sys.stdout, indent=2)
        print()
    else:
        for row in results:
            print(
                "{items} items: {seconds:.2f} s / {peer_seconds:.2f} s = {ratio:.3f}, "
                "{mib:.0f} MiB / {peer_mib:.0f} MiB = {memory_ratio:.3f} (bar {bar})".format(**row)
            )
    return 0 if all(max(row["ratio"], row["memory_ratio"]) <= BAR for row in results) else 1


if __name__ == "__main__":
    sys.exit(main())
