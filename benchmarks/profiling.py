"""Bars of profiling: simulated runs judged against re-simulation, long files, live cost.

    python benchmarks/profiling.py [--runs 1000] [--keep FOLDER]

A run is simulated, then simulated again with the same draws and each lever pulled; what brings the
most steps an hour is the truth. Every other run has all signals, the rest lack some. Right is a
stage whose true gain is within 15 % or 2 points of the greatest; ``balanced`` where no lever gains
4 % or the best ones of both halves are within a factor of 2 (2.6 for the answer "balanced");
``undetermined`` where the signal that tells engines and cap apart is not there, and nothing else is
greater.
``--keep`` saves each simulation, so that an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from pytest_prime_train.profiler.api import diagnose
from pytest_prime_train.profiler.live import LiveProfile
from simulated_runs.draws import KINDS, draw_signals, draw_spec
from simulated_runs.files import Signals, write_run
from simulated_runs.truth import CONSUMERS, PRODUCERS, Truth, find_truth

STEPS = 60
NEAR = 0.85
NOISE = 0.02
"""Gains that differ by less are the same: so much the re-simulated gain itself varies."""

DRIFTS = (1.3, 1.2)
HIDDEN = ("inference-capacity", "inference-cap", "environment", "orchestrator-loop")
"""Stages that only W&B's gauges tell."""


class Made(NamedTuple):
    """A simulated run that has been written.

    Attributes:
        folder: Where it is.
        signals: Which of its metrics it has kept.
        verdict: The right answer.
        gains: By lever, the steps per hour that it truly brings, as a share of today's.
        bounds: By lever, the share of the step time that truly vanishes when the stage is free.
    """

    folder: Path
    signals: Signals
    verdict: str
    gains: dict[str, float]
    bounds: dict[str, float]


def make(number: int, keep: Path) -> Made | None:
    """Simulate a run with all its levers, or take it from where it was kept.

    Args:
        number: Its number, from which all of it follows.
        keep: Where it is kept.

    Returns:
        The run; ``None`` for one that never ends, or that was to drift and hardly did.
    """
    folder = keep / f"{number:05d}"
    signals = draw_signals(random.Random(f"signals {number}"), all_of_them=number % 2 == 0)
    if not (folder / "truth.json").exists():
        rng = random.Random(f"run2 {number}")
        kind = KINDS[number % len(KINDS)]
        spec = draw_spec(rng, kind, steps=rng.choice((STEPS, STEPS, int(STEPS * 1.6))))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            truth = find_truth(spec)
            document: Any = [true_verdict(kind, truth), truth.gains, truth.bounds]
            write_run(folder / "run", spec, truth.record, signals)
        except RuntimeError:  # so badly drawn that it never ends
            document = [None, {}, {}]
        (folder / "truth.json").write_text(json.dumps(document))
    verdict, gains, bounds = json.loads((folder / "truth.json").read_text())
    return Made(folder / "run", signals, verdict, gains, bounds) if verdict else None


def true_verdict(kind: str, truth: Truth) -> str | None:
    """The right answer; ``None`` for a run that was to drift and hardly did."""
    if kind != "unstable":
        return truth.verdict
    times = [step["time/step"] for step in truth.record.trainer[2:]]
    middle = len(times) // 2
    halves = times[:middle], times[middle:]
    means = [sum(half) / len(half) for half in halves]
    medians = [sorted(half)[len(half) // 2] for half in halves]
    drifts = max(means) / min(means) > DRIFTS[0] and max(medians) / min(medians) > DRIFTS[1]
    return "unstable" if drifts else None


def accepted(made: Made) -> set[str]:
    """All answers that are right."""
    verdict, signals, gains = made.verdict, made.signals, made.gains
    if verdict == "unstable":
        return {verdict}
    best = max(gains.values())
    near = {name for name, gain in gains.items() if gain >= min(NEAR * best, best - NOISE)}
    consumer, producer = (max(gains[n] for n in half) for half in (CONSUMERS, PRODUCERS))
    least, most = sorted((consumer, producer))
    right = {"balanced"} if best < 0.05 or (least > 0 and most < 2.6 * least) else set()
    if verdict != "balanced" or best >= 0.04:
        right |= near
    if hides(signals) and (near & set(HIDDEN) or _may_hide(gains)):
        right.add("undetermined")
    if "evaluation" in near and not signals.config and not (signals.wandb and signals.dispatcher):
        right.add("undetermined")
    return right | {verdict}


def hides(signals: Signals) -> bool:
    """Whether a run lacks what tells engines, cap and environment apart."""
    return not (signals.wandb and signals.engines and signals.dispatcher)


def _may_hide(gains: dict[str, float]) -> bool:
    """Whether an unseen limit of engines or cap might have weighed as much."""
    best = max(gains, key=lambda name: gains[name])
    return best in ("waste", "long-tail", "evaluation") and gains[best] < 0.27


class Score:
    """Counts of right and wrong."""

    def __init__(self) -> None:
        self.by_class: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.errors: list[float] = []
        self.confused: Counter[tuple[str, str]] = Counter()
        self.causes: Counter[bool] = Counter()
        self.named: Counter[bool] = Counter()

    def add(self, made: Made) -> None:
        found = diagnose(made.folder)
        verdict, said = made.verdict, found.verdict
        right = said in accepted(made)
        kind = "right" if right else "undetermined" if said == "undetermined" else "wrong"
        self.by_class[verdict][kind] += 1
        if not right:
            self.confused[verdict, said] += 1
        if verdict in ("balanced", "unstable"):
            return
        whole = not hides(made.signals) and made.signals.loop
        self.causes[whole] += 1
        self.named[whole] += said in made.gains
        bound = made.bounds.get(said, 0.0)
        if found.gain_upper_bound is not None and bound > 0.02:
            self.errors.append(abs(found.gain_upper_bound - bound) / bound)

    def show(self) -> None:
        total: Counter[str] = Counter()
        print(f"{'class':<20}{'runs':>6}{'right':>9}{'wrong':>9}{'undetermined':>14}")
        for name, counts in sorted(self.by_class.items()):
            total += counts
            print(f"{name:<20}{_row(counts)}")
        print(f"{'all':<20}{_row(total)}")
        causes, named = sum(self.causes.values()), sum(self.named.values())
        print(f"cause named: {named / causes:.1%}, with every signal ", end="")
        print(f"{self.named[True] / self.causes[True]:.1%}")
        errors = sorted(self.errors)
        print(f"gain_upper_bound off by {errors[len(errors) // 2]:.1%} (median of {len(errors)})")
        worst = ", ".join(f"{a}→{b} {n}" for (a, b), n in self.confused.most_common(12))
        print(f"commonest mistakes: {worst}")


def _row(counts: Counter[str]) -> str:
    size = sum(counts.values())
    shares = [counts[name] / size for name in ("right", "wrong", "undetermined")]
    return f"{size:>6}{shares[0]:>9.1%}{shares[1]:>9.1%}{shares[2]:>14.1%}"


def judge_runs(runs: int, keep: Path) -> None:
    """Bar 1."""
    score = Score()
    number = done = 0
    while done < runs:
        made = make(number, keep)
        number += 1
        if made is None:
            continue
        done += 1
        score.add(made)
        if done % 100 == 0:
            print(f"{done} runs", file=sys.stderr)
    score.show()


def long_rows(steps: int) -> Iterator[dict[str, Any]]:
    """Four rows of the trainer and one of the orchestrator for each step."""
    rng = random.Random(1)
    for step in range(1, steps + 1):
        moment = 1_780_000_000 + 30 * step + rng.random()
        train = rng.gauss(20, 1)
        wait = rng.expovariate(0.5)
        groups: list[dict[str, float]] = [
            {"perf/throughput": 9e5 / train, "perf/mfu": 30.0, "perf/peak_memory": 60.0},
            {"optim/lr": 1e-6, "optim/grad_norm": rng.random()},
            {f"loss/{name}": rng.random() for name in ("mean", "max", "min")},
            {
                "time/step": train + wait + 1,
                "time/wait_for_batch": wait,
                "time/load_data": 0.2,
                "time/broadcast_weights": 0.8,
                "time/save_ckpt": 0,
                "time/forward_backward": train,
            },
            {
                "progress/tokens": 1e6,
                "progress/rollouts": 256,
                "time/step": train + wait + 1,
                "time/wait_for_policy": rng.random(),
                "time/pack": 0.5,
                "off_policy/mean": 1.5,
                **{
                    f"train/agg/all/policy/timing/{part}/{stat}": rng.random() + 1
                    for part in ("total", "agent/model", "agent/harness")
                    for stat in ("mean", "max", "min", "p10", "p90")
                },
            },
        ]
        for group in groups:
            yield {"step": step, "time": moment, **group}


def judge_length(folder: Path) -> None:
    """Bar 2: the time and memory of 100,000 steps, in a process of its own."""
    path = folder / "metrics.jsonl"
    with path.open("w") as file:
        for row in long_rows(100_000):
            file.write(json.dumps(row) + "\n")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        began, cpu = time.perf_counter(), time.process_time()
        found = diagnose(path)
        took = time.perf_counter() - began, time.process_time() - cpu
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        os.write(write, json.dumps([*took, most, found.steps_used]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    wall, cpu, most, steps = json.loads(os.read(read, 1000))
    size = path.stat().st_size / 1e6
    print(f"{steps} steady steps, {size:.0f} MB: {wall:.2f} s ({cpu:.2f} s of CPU), {most:.0f} MB")


def judge_live(folder: Path) -> None:
    """Bar 2: polls every 5 s of a run with a step every 10 s, for the CPU of two hours of it."""
    path = folder / "live" / "metrics.jsonl"
    path.parent.mkdir()
    live = LiveProfile(path.parent)
    rows = list(long_rows(720))
    began = time.process_time()
    with path.open("a", buffering=1) as file:
        for poll in range(1440):
            writing = time.process_time()
            for row in rows[poll * 5 // 2 : (poll + 1) * 5 // 2]:
                file.write(json.dumps(row) + "\n")
            began += time.process_time() - writing
            # Judged once a minute, as the real clock would have it.
            live.poll(now=poll % 12 == 0)
    used = time.process_time() - began
    print(f"live: {used:.2f} s of CPU in 2 h, {used / 7200:.3%} of a core")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--keep", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        judge_length(Path(folder))
        judge_live(Path(folder))
        if arguments.runs:
            judge_runs(arguments.runs, arguments.keep or Path(folder) / "runs")


if __name__ == "__main__":
    main()
