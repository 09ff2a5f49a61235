"""Runs of every kind, drawn at random: each kind leans towards one bottleneck, none is sure of it.

Other stages are drawn from wide ranges, so that a run's truth is what re-running says it is.
"""

from __future__ import annotations

import random
from dataclasses import replace
from math import exp, log

from .files import Signals
from .spec import Spec

KINDS = (
    "trainer",
    "inference-capacity",
    "inference-capacity-kv",
    "inference-cap",
    "environment",
    "long-tail",
    "weight-sync",
    "checkpointing",
    "orchestrator-loop",
    "data-load",
    "waste",
    "evaluation",
    "balanced",
    "unstable",
)


def between(rng: random.Random, low: float, high: float) -> float:
    """A number between two, evenly on a logarithmic scale."""
    return exp(rng.uniform(log(low), log(high)))


def draw_signals(rng: random.Random, *, all_of_them: bool = False) -> Signals:
    """What a run has kept of its metrics."""
    stats, agent = rng.random() < 0.5, rng.choice(("policy", "solver", "default"))
    if all_of_them:
        return Signals(stats=stats, agent=agent)
    fate = rng.random()
    if fate < 0.5:
        return Signals(stats=stats, agent=agent)
    version = "v0.8" if fate > 0.9 else "main"
    return Signals(
        wandb=rng.random() < 0.6,
        engines=rng.random() < 0.6,
        dispatcher=rng.random() < 0.7,
        loop=rng.random() < 0.7,
        config=rng.random() < 0.7,
        version=version,
        stats=stats,
        agent=agent,
    )


def draw_spec(rng: random.Random, kind: str, steps: int = 60) -> Spec:
    """A run that leans towards a kind."""
    spec = _common(rng, steps)
    period = _producer_s(spec)
    far = between(rng, 0.25, 0.7)
    if kind == "trainer":
        spec = replace(spec, train_s=period / far)
    elif kind == "inference-capacity":
        spec = replace(spec, env_s=spec.env_s * 0.3, setup_s=0.5, scoring_s=0.5)
        spec = replace(
            spec, token_slope_s=spec.token_s * between(rng, 1.5, 10) / (spec.cap / spec.engines)
        )
        spec = replace(spec, train_s=_producer_s(spec) * far)
    elif kind == "inference-capacity-kv":
        size = spec.prompt + spec.turns * spec.tokens / 2
        spec = replace(spec, kv_tokens=size * spec.cap / spec.engines * between(rng, 0.2, 0.6))
        # Where an adaptive cap settles depends on its path, so few runs have one here.
        adapts = rng.random() < 0.15
        spec = replace(spec, initial=max(16, spec.cap // 4) if adapts else 0)
        spec = replace(spec, env_s=spec.env_s * 0.3, train_s=period * far)
    elif kind == "inference-cap":
        spec = replace(
            spec,
            cap=max(spec.group, int(spec.cap * between(rng, 0.25, 0.7))),
            token_slope_s=spec.token_slope_s * 0.2,
            env_s=spec.env_s * between(rng, 0.2, 0.8),
        )
        spec = replace(spec, train_s=_producer_s(spec) * far)
    elif kind == "environment":
        model = spec.tokens * (spec.token_s + spec.token_slope_s * spec.cap / spec.engines)
        spec = replace(spec, env_s=model * between(rng, 2, 10))
        spec = replace(spec, sandboxes=max(4, int(spec.cap * between(rng, 0.2, 0.7))))
        spec = replace(spec, train_s=_producer_s(spec) * far)
    elif kind == "long-tail":
        spec = replace(
            spec,
            tail_p=between(rng, 0.02, 0.09),
            tail_x=between(rng, 5, 20),
            tail_env=rng.random() < 0.4,
            max_off=rng.choice((8, 16, 64)),
        )
        spec = replace(spec, train_s=_producer_s(spec) * far * between(rng, 0.6, 1.2))
    elif kind == "weight-sync":
        nccl = rng.random() < 0.6
        sync = period * between(rng, 0.4, 1.5)
        spec = replace(
            spec, nccl=nccl, write_s=sync, pause_s=sync if nccl else sync * rng.uniform(0.2, 1)
        )
        spec = replace(spec, train_s=period * between(rng, 0.2, 0.9))
    elif kind == "checkpointing":
        every = rng.choice((1, 2, 4, 5))
        work = period / far
        spec = replace(
            spec, train_s=work, ckpt_every=every, ckpt_s=work * every * between(rng, 0.3, 1.5)
        )
    elif kind == "orchestrator-loop":
        if rng.random() < 0.5:
            spec = replace(spec, pack_s=period * between(rng, 0.8, 2.5), train_s=period * far)
        else:
            per_batch = spec.batch * spec.turns * 2
            spec = replace(
                spec, loop_s=period * between(rng, 0.8, 2.0) / per_batch, train_s=period * far
            )
    elif kind == "data-load":
        spec = replace(spec, load_s=period / far, train_s=period * between(rng, 0.2, 0.7))
    elif kind == "waste":
        if rng.random() < 0.5:
            spec = replace(spec, error_p=rng.uniform(0.3, 0.7))
        else:
            spec = replace(spec, reject_p=rng.uniform(0.3, 0.75))
        kept = (1 - spec.error_p) * (1 - spec.reject_p)
        spec = replace(spec, train_s=period / kept * far)
    elif kind == "evaluation":
        every = rng.choice((2, 4, 5, 10))
        episodes = int(spec.batch * every * between(rng, 0.6, 3))
        spec = replace(
            spec, eval_every=every, eval_episodes=episodes, eval_x=between(rng, 0.7, 1.6)
        )
        spec = replace(spec, train_s=period * between(rng, 0.4, 1.0))
    elif kind == "balanced":
        spec = replace(spec, train_s=period * between(rng, 0.85, 1.15))
    elif kind == "unstable":
        drift = between(rng, 1.8, 4) ** rng.choice((-1, 1))
        spec = replace(spec, drift=drift, drifting=rng.choice(("train", "tokens", "env")))
        spec = replace(spec, train_s=period * between(rng, 0.3, 3))
    return spec


def _common(rng: random.Random, steps: int) -> Spec:
    group = rng.choice((1, 4, 8, 16))
    batch = rng.choice((32, 64, 96))
    batch -= batch % group
    engines = rng.choice((1, 2, 4, 8))
    turns = rng.choice((1.0, 1.0, 1.0, 2.0, 4.0, 6.0))
    token_s = between(rng, 0.008, 0.03)
    cap = max(group * 2, int(batch * between(rng, 0.5, 3)))
    tokens = between(rng, 300, 6000) / turns**0.7
    model = tokens * token_s * turns
    return Spec(
        steps=steps,
        batch=batch,
        group=group,
        cap=cap,
        initial=max(group, cap // 2) if rng.random() < 0.2 else 0,
        max_off=rng.choice((8, 8, 16, 32)),
        lag=1,
        engines=engines,
        token_s=token_s,
        token_slope_s=token_s * between(rng, 0.1, 2) / (cap / engines),
        kv_tokens=(500 + turns * tokens) * cap / engines * between(rng, 1.5, 6),
        turns=turns,
        tokens=tokens,
        tokens_cv=between(rng, 0.15, 1.0),
        env_s=tokens * token_s * between(rng, 0.01, 0.3),
        env_cv=between(rng, 0.1, 1.0),
        setup_s=model * between(rng, 0.005, 0.1),
        scoring_s=model * between(rng, 0.005, 0.1),
        loop_s=between(rng, 0.0002, 0.01),
        pack_s=between(rng, 0.1, 2),
        train_cv=between(rng, 0.02, 0.25),
        load_s=between(rng, 0.05, 1),
        nccl=rng.random() < 0.5,
        write_s=between(rng, 0.3, 5),
        pause_s=between(rng, 0.3, 5),
        ckpt_every=rng.choice((0, 5, 10, 20)),
        ckpt_s=between(rng, 3, 60),
        eval_every=rng.choice((0, 0, 10, 20)),
        eval_episodes=rng.choice((16, 32, 64)),
        error_p=rng.choice((0.0, 0.01, 0.05)),
        reject_p=rng.choice((0.0, 0.0, 0.1)),
        seed=rng.randrange(10**9),
    )


def _producer_s(spec: Spec) -> float:
    """About how long a batch takes to be produced."""
    n = float(spec.cap)
    for _ in range(20):
        per_token = spec.token_s + spec.token_slope_s * n / spec.engines
        tail = 1 + spec.tail_p * (spec.tail_x - 1)
        model = spec.turns * spec.tokens * per_token * (1 if spec.tail_env else tail)
        env = spec.turns * spec.env_s * (tail if spec.tail_env else 1)
        env += spec.setup_s + spec.scoring_s
        n = spec.cap * model / (model + env)
    total = model + env
    slots = min(spec.cap, spec.sandboxes * total / env) if spec.sandboxes else spec.cap
    kept = (1 - spec.error_p) * (1 - spec.reject_p)
    return max(total * spec.batch / slots / kept, total * 0.3)
