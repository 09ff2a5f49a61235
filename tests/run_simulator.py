"""Small simulated runs for tests, each made once and with one bottleneck that cannot be missed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from simulated_runs.files import ALL_SIGNALS, Signals, write_run
from simulated_runs.spec import Luck, Spec
from simulated_runs.world import Record, World

BASE = Spec(
    steps=24,
    batch=32,
    group=4,
    cap=48,
    max_off=16,
    engines=2,
    token_s=0.01,
    token_slope_s=0.00002,
    tokens=1200.0,
    tokens_cv=0.3,
    env_s=0.5,
    setup_s=0.3,
    scoring_s=0.3,
    train_s=5.0,
    write_s=0.3,
    pause_s=0.3,
    kv_tokens=1e6,
    seed=7,
)
"""A run in which the trainer has much time, and the engines too: the cap holds it back."""

CLEAR = {
    "trainer": replace(BASE, train_s=15.0),
    "data-load": replace(BASE, load_s=40.0),
    "checkpointing": replace(BASE, train_s=20.0, ckpt_every=2, ckpt_s=60.0),
    "weight-sync": replace(BASE, write_s=25.0, pause_s=25.0),
    "inference-capacity": replace(BASE, token_slope_s=0.004),
    "inference-cap": BASE,
    "environment": replace(BASE, env_s=60.0, sandboxes=24),
    "orchestrator-loop": replace(BASE, pack_s=30.0),
    "waste": replace(BASE, reject_p=0.7),
    "evaluation": replace(BASE, eval_every=2, eval_episodes=160),
    "long-tail": replace(BASE, tail_p=0.05, tail_x=20.0, max_off=64),
    "unstable": replace(BASE, train_s=20.0, drift=4.0, drifting="train"),
}
"""Verdict -> a run in which nothing else comes near."""


@cache
def clear_run(verdict: str) -> tuple[Spec, Record]:
    """The run of ``CLEAR`` for a verdict."""
    spec = CLEAR[verdict]
    return spec, World(spec, Luck(spec)).run()


def write_clear(folder: Path, verdict: str, signals: Signals = ALL_SIGNALS) -> Path:
    """Write what such a run leaves."""
    spec, record = clear_run(verdict)
    write_run(folder, spec, record, signals)
    return folder
