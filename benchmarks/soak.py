"""Runs of the stand-in for prime-rl with random faults, until the time is over.

    python benchmarks/soak.py [--minutes M] [--resume]

Every seed is one run with a few faults at random moments: parts and the runner itself are killed,
hang or end, checkpoints are torn, the machine is lost with everything on it, a second runner is
started, notices come. After each run: it is finished at the right step with the state of a run that
was never broken, nothing of it lives, and no backup that was acknowledged is lost or damaged.
With ``--resume`` it goes on after the last seed, and adds up in RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from standin_rl import state_after  # noqa: E402

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
# The line of the results that is added up over many calls.
LINE = re.compile(r"^Soaked: (\d+) runs, (\d+) faults, failed: (.*)\.$", re.MULTILINE)
STEPS = 30
CONFIG = f"""\
output_dir = "outputs"
max_steps = {STEPS}

[run]
name = "math"

[model]
name = "Qwen/Qwen3-0.6B"

[ckpt]
interval = 5
keep_last = 3

[trainer]

[orchestrator]
batch_size = 64
group_size = 8

[[orchestrator.train.source]]
env.taskset.id = "reverse-text"

[inference]
"""
PARTS = ("trainer", "orchestrator", "inference", "env", "launcher", "save")
OF_PARTS = ("kill", "nccl", "odd", "hang")
FROM_OUTSIDE = ("runner killed", "notice", "new machine", "second runner", "torn step", "none")


def main() -> None:
    """Soak, and add up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--resume", action="store_true", help="go on after the last seed")
    given = parser.parse_args()
    text = RESULTS.read_text(encoding="utf-8")
    known = LINE.search(text)
    seed, total = 0, 0
    failed: list[str] = []
    if given.resume and known is not None:
        seed, total = int(known[1]), int(known[2])
        failed = [] if known[3] == "none" else known[3].split(", ")
    kinds: Counter[str] = Counter()
    deadline = time.monotonic() + 60 * given.minutes
    while time.monotonic() < deadline:
        faults, problem = soak(seed)
        kinds.update(faults)
        total += len(faults)
        if problem:
            failed.append(str(seed))
            print(f"seed {seed}: {problem}", flush=True)
        seed += 1
    line = f"Soaked: {seed} runs, {total} faults, failed: {', '.join(failed) or 'none'}."
    print(f"{line} This time: {dict(sorted(kinds.items()))}")
    if given.resume and known is not None:
        text = RESULTS.read_text(encoding="utf-8")
        RESULTS.write_text(LINE.sub(line, text), encoding="utf-8")


def soak(seed: int, folder: Path | None = None) -> tuple[list[str], str]:
    """One run; its faults, and what is wrong at its end (empty for nothing)."""
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            return soak(seed, Path(made))
    place = Place(folder, random.Random(seed))
    try:
        problem = place.run_to_the_end()
    finally:
        left = place.end_what_is_left()
    if not problem and left:
        problem = f"{len(left)} processes are left over"
    return place.faults, problem


class Place:
    """A machine with a config, a store, and bad luck."""

    def __init__(self, folder: Path, source: random.Random) -> None:
        self.folder = folder / "machine"
        self.folder.mkdir()
        self.store = folder / "store"
        self.source = source
        (self.folder / "rl.toml").write_text(CONFIG)
        self.run_dir = self.folder / "outputs" / "math"
        self.faults: list[str] = []
        self.planned = [self.fault(launch) for launch in range(1, source.randrange(2, 6))]
        self.acknowledged: set[int] = set()

    def fault(self, launch: int) -> dict[str, Any]:
        who = self.source.choice(PARTS)
        do = self.source.choice(OF_PARTS)
        if who in ("launcher", "save") and do == "hang":
            do = "kill"
        step = self.source.randrange(1, STEPS)
        if who == "save":
            step = 5 * self.source.randrange(1, STEPS // 5)
        self.faults.append(f"{who} {do}")
        return {"who": who, "step": step, "do": do, "launch": launch}

    def start(self) -> subprocess.Popen[str]:
        launcher = shlex.join([sys.executable, str(ROOT / "tests" / "standin_rl.py")])
        return subprocess.Popen(
            [sys.executable, "-m", "pytest_prime_train.run", "rl.toml", "--command", launcher,
             "--poll", "0.05", "--backoff", "0.05", "--max-restarts", "12",
             "--hang-timeout", "3", "--backup", f"file://{self.store}"],
            cwd=self.folder,
            env={**os.environ, "STANDIN_FAULTS": json.dumps(self.planned),
                 "XDG_STATE_HOME": str(self.folder / "state")},
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run_to_the_end(self) -> str:
        for _ in range(self.source.randrange(0, 3)):
            problem = self.disturbed()
            if problem:
                return problem
        said, code = self.finished(self.start())
        if code != 0:
            return f"ended with {code}: {said[-400:]}"
        return self.verdict(said)

    def finished(self, runner: subprocess.Popen[str]) -> tuple[str, int]:
        try:
            said, _ = runner.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            runner.kill()
            said, _ = runner.communicate()
            return f"{said} (it never ended)", -1
        self.acknowledged.update(map(int, re.findall(r"step (\d+) is backed up", said)))
        return said, runner.returncode

    def disturbed(self) -> str:
        """Start it, and do something to it from outside."""
        kind = self.source.choice(FROM_OUTSIDE)
        self.faults.append(kind)
        runner = self.start()
        until = self.source.randrange(1, STEPS)
        deadline = time.monotonic() + 60
        while self.trained() < until and runner.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        second = -1
        if kind == "second runner":
            said, second = self.finished(self.start())
            if second not in (0, 3):
                return f"a second runner ended with {second}: {said[-300:]}"
        if kind == "notice":
            runner.send_signal(signal.SIGTERM)
        elif kind != "none":
            runner.kill()
        said, code = self.finished(runner)
        if "Traceback" in said:
            return said[-1500:]
        if second == 0 and code == 3:
            return ""  # It was quicker than the first.
        if code == -signal.SIGTERM and not said:
            return ""  # It was told so before it was awake, and has done nothing.
        if code not in (0, 75, -9, 14, 15, 16):
            return f"ended with {code}: {said[-400:]}"
        if kind == "new machine":
            self.end_what_is_left()
            shutil.rmtree(self.folder / "outputs", ignore_errors=True)
        if kind == "torn step":
            self.end_what_is_left()
            shards = sorted(self.run_dir.glob("checkpoints/step_*/trainer/*.distcp"))
            if shards:
                victim = self.source.choice(shards)
                victim.write_bytes(victim.read_bytes()[: self.source.randrange(3000)])
        return ""

    def trained(self) -> int:
        try:
            return int((self.run_dir / "trained").read_text())
        except (OSError, ValueError):
            return 0

    def left_over(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder) and process.status() != "zombie":
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end_what_is_left(self) -> list[psutil.Process]:
        """Kill what lives; what that was."""
        left = self.left_over()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return left

    def verdict(self, said: str) -> str:
        if (self.run_dir / "final_state").read_text() != state_after(STEPS):
            return "the state is not that of an unbroken run"
        done = subprocess.run(
            [sys.executable, "-c",
             "import sys; from pytest_prime_train.cli import main; sys.exit(main(sys.argv[1:]))",
             "backup", "verify", "rl.toml", "--backup", f"file://{self.store}",
             "--format", "json"],
            cwd=self.folder, capture_output=True, text=True, check=False,
            env={**os.environ, "XDG_STATE_HOME": str(self.folder / "state")},
        )  # fmt: skip
        if done.returncode != 0:
            return f"the backups are not sound: {done.stdout[-300:]} {done.stderr[-300:]}"
        there = {int(step) for step in re.findall(r'"step": (\d+)', done.stdout)}
        lost = self.acknowledged - there
        if lost:
            return f"acknowledged backups are lost: {sorted(lost)}"
        if STEPS not in there:
            return "the last step is not in the store"
        return ""


if __name__ == "__main__":
    main()
