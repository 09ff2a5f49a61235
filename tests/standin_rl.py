"""A stand-in for ``uv run rl``: the same processes, files, codes and signals, without GPUs.

    python standin_rl.py @ config.toml [--key value ...]

It has the process tree of prime-rl (ranks in sessions of their own, titles that overwrite the
environment where setproctitle is there), the run directories of v0.6, v0.8 and main, and dies and
hangs on request. The state that it trains is a chain of hashes over the steps, which is part of
every checkpoint: a run that was resumed ends with the same state as one that was not broken, or
something was lost or done twice.

Variables: ``STANDIN_VERSION``, ``STANDIN_STEP_S`` (seconds of a step), and ``STANDIN_FAULTS``, a
list of ``{"who", "step", "do", "launch"}``, where ``who`` is launcher, inference, env,
orchestrator, trainer, gradient or save, and ``launch`` is the number of the launch (all without
it).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import made_checkpoints as made

VERSION = os.environ.get("STANDIN_VERSION", "main")
STEP_S = float(os.environ.get("STANDIN_STEP_S", "0.03"))
FAULTS: list[dict[str, Any]] = json.loads(os.environ.get("STANDIN_FAULTS", "[]"))
IS_MAIN = VERSION == "main"
POLL_S = 0.01
# What each kind of failure looks like in the logs of prime-rl.
LAST_WORDS = {
    "oom": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB.",
    "nccl": "torch.distributed.DistBackendError: NCCL error: remote process exited",
    "full": "RuntimeError: [enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598",
    "refused": "pydantic_core._pydantic_core.ValidationError: 1 validation error for RLConfig",
    "empty": "RuntimeError: 20 consecutive empty train batches, stopping",
    "odd": "RuntimeError: something nobody has seen before",
}


class Run(NamedTuple):
    """What every process of a launch knows.

    Attributes:
        folder: Directory of the run.
        start: Step that it resumes from; 0 for none.
        steps: Where it ends.
        interval: Steps between checkpoints; 0 for none.
        keep_last: How many steps are kept; ``None`` for all.
        launch: Number of the launch, from 1.
    """

    folder: str
    start: int
    steps: int
    interval: int
    keep_last: int | None
    launch: int

    @property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def of_orchestrator(self) -> Path:
        return self.path if IS_MAIN else self.path / "run_default"

    def trainer_part(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step_{step}" / "trainer"

    def orchestrator_part(self, step: int) -> Path:
        return self.of_orchestrator / "checkpoints" / f"step_{step}" / "orchestrator"

    def saves_at(self, step: int) -> bool:
        return bool(self.interval) and (step % self.interval == 0 or step == self.steps)

    def fault(self, who: str, step: int) -> str:
        """What a part is to do at a step; empty for its work."""
        for fault in FAULTS:
            launches = (None, self.launch)
            if (fault["who"], fault["step"]) == (who, step) and fault.get("launch") in launches:
                return str(fault["do"])
        return ""


def chain(before: str, step: int) -> str:
    """The state after a step."""
    return hashlib.sha256(f"{before} {step}".encode()).hexdigest()


def state_after(steps: int) -> str:
    """The state of an unbroken run."""
    state = ""
    for step in range(1, steps + 1):
        state = chain(state, step)
    return state


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def misbehave(what: str) -> None:
    """Do what a fault asks for."""
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit 0":
        raise SystemExit(0)
    if what == "hang":
        while True:
            time.sleep(0.05)
            say("Train batch 3/64; 12 inflight episodes")  # A log that grows is no progress.
    if what:
        print(
            f"Traceback (most recent call last):\n{LAST_WORDS[what]}", file=sys.stderr, flush=True
        )
        raise SystemExit(1)


# -------------------------------------------------------------------- the launcher


def launch(arguments: list[str]) -> int:
    config = read_config(arguments)
    run_dir = directory_of(config)
    step = resumed_step(config, run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in run_dir.iterdir() if path.name not in ("configs", "rl.sbatch")]
    if step is None:
        if others:
            print(f"FileExistsError: Run directory {run_dir} already contains artifacts: {others}")
            return 1
        step = 0
    number = len(list(run_dir.glob("launched_*"))) + 1
    (run_dir / f"launched_{number}").touch()
    logs = run_dir / "logs" / f"attempt_{number}" if IS_MAIN else run_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    saving = config.get("ckpt")
    run = Run(
        str(run_dir),
        step,
        int(config.get("max_steps", 20)),
        int(saving.get("interval", 5)) if isinstance(saving, dict) else 0,
        int(saving["keep_last"]) if isinstance(saving, dict) and "keep_last" in saving else None,
        number,
    )
    for name in ("batch", "trained"):
        (run_dir / name).write_text(str(step))
    parts = {
        part: start(part, run, logs) for part in ("inference", "env", "orchestrator", "torchrun")
    }
    say(f"Launch {number} from step {step}")

    def terminated(_: int, __: FrameType | None) -> None:
        raise SystemExit(end(parts, 1))

    signal.signal(signal.SIGTERM, terminated)
    try:
        return watch(parts, run)
    except KeyboardInterrupt:
        return end(parts, 1)


def watch(parts: dict[str, subprocess.Popen[bytes]], run: Run) -> int:
    while True:
        time.sleep(POLL_S)
        codes = {part: process.poll() for part, process in parts.items()}
        failed = [part for part, code in codes.items() if code]
        if failed:
            say(f"{failed[0]} ended with code {codes[failed[0]]}")
            return end(parts, 1)
        if codes["orchestrator"] == 0 and codes["torchrun"] == 0:
            return end(parts, 0)
        misbehave(run.fault("launcher", trained(run)))


def end(parts: dict[str, subprocess.Popen[bytes]], code: int) -> int:
    for process in parts.values():
        if process.poll() is None:
            process.terminate()
    for process in parts.values():
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
    return code


def start(part: str, run: Run, logs: Path) -> subprocess.Popen[bytes]:
    name = {"torchrun": "trainer", "env": "envs"}.get(part, part)
    with (logs / f"{name}.log").open("wb") as log:
        command = [sys.executable, __file__, "--part", part, json.dumps(run)]
        return subprocess.Popen(command, stdout=log, stderr=log)


def read_config(arguments: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "@":
            merge(config, tomllib.loads(Path(rest.pop(0)).read_text()))
            continue
        key = word.removeprefix("--").replace("-", "_")
        value: Any = rest.pop(0) if rest and not rest[0].startswith("--") else {}
        table = config
        *above, last = key.split(".")
        for name in above:
            below = table.setdefault(name, {})
            table = below if isinstance(below, dict) else table
        table[last] = value
    return config


def merge(config: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        old = config.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merge(old, value)
        else:
            config[key] = value


def directory_of(config: dict[str, Any]) -> Path:
    output = Path(config.get("output_dir", "outputs"))
    if not IS_MAIN:
        return output
    run = config.get("run", {})
    return output / str(run.get("dir") or run.get("name") or f"unnamed-{os.getpid()}")


def resumed_step(config: dict[str, Any], run_dir: Path) -> int | None:
    """The step to resume from; 0 where there is none yet, ``None`` for a fresh start."""
    if IS_MAIN:
        asked = config.get("resume")
        if asked is None:
            return None
        chosen = asked.get("step") if isinstance(asked, dict) else None
    else:
        chosen = (config.get("ckpt") or {}).get("resume_step")
        if chosen is None:
            return 0
    if chosen is not None and int(chosen) >= 0:
        return int(chosen)
    # As prime-rl does it: the highest number, whole or not, and every name must be one.
    steps = [int(path.name.split("_")[-1]) for path in (run_dir / "checkpoints").glob("step_*")]
    return max(steps, default=0)


# -------------------------------------------------------------------- its parts


def play(part: str, run: Run) -> int:
    with contextlib.suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(f"PRIME-RL::{part.capitalize()}")
    if part == "torchrun":
        return torchrun(run)
    if part == "orchestrator":
        return orchestrate(run)
    if part == "rank":
        return train(run)
    return serve(part, run)


def torchrun(run: Run) -> int:
    rank = subprocess.Popen(
        [sys.executable, __file__, "--part", "rank", json.dumps(run)], start_new_session=True
    )

    def terminated(_: int, __: FrameType | None) -> None:
        rank.terminate()
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, terminated)
    code = rank.wait()
    if code < 0:
        say(f"rank 0 (pid: {rank.pid}) exitcode: {code}")
    return 1 if code else 0


def serve(part: str, run: Run) -> int:
    while True:
        time.sleep(POLL_S)
        misbehave(run.fault(part, trained(run)))


def trained(run: Run) -> int:
    return read_number(run.path / "trained")


def read_number(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return 0


def write_number(path: Path, value: int) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(str(value))
    os.replace(temporary, path)


def metrics(folder: Path, step: int, **values: float) -> None:
    if VERSION == "v0.6.0":
        say(f"Step {step} | Time: {STEP_S:.2f}s | Reward: 0.5")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "time": time.time(), **values}) + "\n")


def orchestrate(run: Run) -> int:
    for step in range(run.start + 1, run.steps + 1):
        while step > trained(run) + 2:
            time.sleep(POLL_S)
        time.sleep(STEP_S / 2)
        misbehave(run.fault("orchestrator", step))
        numbers = {"time/step": STEP_S, "time/wait_for_policy": 0.0, "progress/tokens": 1000.0}
        metrics(run.of_orchestrator, step, **numbers, **{"reward/all/mean": 0.5})
        if run.saves_at(step):
            made.write_orchestrator(run.orchestrator_part(step), step)
        write_number(run.path / "batch", step)
    return 0


def train(run: Run) -> int:
    state = ""
    if run.start:
        part = run.trainer_part(run.start)
        if (
            not (part / ".metadata").exists()
            or not (run.orchestrator_part(run.start) / "progress.pt").exists()
        ):
            print(f"Checkpoint not found at {part}", file=sys.stderr, flush=True)
            return 1
        with zipfile.ZipFile(part / "dataloader" / "rank_0.pt") as saved:
            state = saved.read("archive/data/0").decode()
    explodes = False
    for step in range(run.start + 1, run.steps + 1):
        while read_number(run.path / "batch") < step:
            time.sleep(POLL_S)
        time.sleep(STEP_S)
        misbehave(run.fault("trainer", step))
        state = chain(state, step)
        times = {"time/step": 2 * STEP_S, "time/wait_for_batch": STEP_S}
        times |= {"time/forward_backward": STEP_S, "perf/throughput": 12345.0}
        explodes = explodes or run.fault("gradient", step) == "explode"
        times["optim/grad_norm"] = 900.0 if explodes else 0.3 + 0.01 * (step % 7)
        metrics(run.path, step, **times)
        if run.saves_at(step):
            save(run, step, state)
        write_number(run.path / "trained", step)
    (run.path / "final_state").write_text(state)
    return 0


def save(run: Run, step: int, state: str) -> None:
    part = run.trainer_part(step)
    part.mkdir(parents=True, exist_ok=True)
    what = run.fault("save", step)
    if what:
        (part / "__0_0.distcp").write_bytes(b"torn")
        misbehave(what)
    (part / "dataloader").mkdir(exist_ok=True)
    (part / "dataloader" / "rank_0.pt").write_bytes(made.archive(state.encode()))
    if not IS_MAIN:
        weights = run.of_orchestrator / "broadcasts" / f"step_{step}"
        weights.mkdir(parents=True, exist_ok=True)
        (weights / "model.safetensors").write_bytes(b"weights")
        (weights / "STABLE").touch()
    made.write_trainer(part, step)
    if run.keep_last is not None:
        steps = sorted(int(path.name[5:]) for path in part.parent.parent.glob("step_*"))
        for old in steps[: -run.keep_last]:
            shutil.rmtree(run.trainer_part(old).parent, ignore_errors=True)
            shutil.rmtree(run.orchestrator_part(old).parent, ignore_errors=True)


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--part"]:
        return play(arguments[1], Run(*json.loads(arguments[2])))
    return launch(arguments)


if __name__ == "__main__":
    sys.exit(main())
