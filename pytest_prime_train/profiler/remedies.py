"""What to write into the config against a bottleneck.

Keys are those of prime-rl main of 2026-08-21, in a config for its ``rl`` program; ``patching``
brings them into the form of the config at hand and has each checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, sqrt

from pytest_prime_train.profiler.context import RunContext
from pytest_prime_train.profiler.diagnosis import Remedy
from pytest_prime_train.profiler.evidence import Evidence
from pytest_prime_train.profiler.verdict import Verdict

CAP = "orchestrator.concurrency.max_inflight"
MTBF_HOURS = 24.0
"""Hours between failures where nobody knows better: a day, as of spot machines."""

MOST_GPU_MEMORY = 0.95

DEFAULT_CAP = 1024
DEFAULT_OFF_POLICY = 8
"""prime-rl's defaults, main of 2026-08-21."""


def remedies_for(verdict: Verdict, evidence: Evidence, context: RunContext) -> tuple[Remedy, ...]:
    """Remedies for the stage that is named, then for those that contribute.

    Args:
        verdict: What was said.
        evidence: What the run shows.
        context: What its configs say, from which new values start.
    """
    if verdict.name in ("unstable", "undetermined"):
        return ()
    stages = [verdict.leading] if verdict.name != "balanced" else []
    stages += [stage for stage in verdict.contributing if stage not in stages]
    found: dict[str, Remedy] = {}
    for stage in stages[:3]:
        for remedy in _BY_STAGE[stage](evidence, context):
            found.setdefault(remedy.key, remedy)
    return tuple(found.values())


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _more(value: float, factor: float, default: float | None = None) -> int | None:
    """A whole number greater by a factor, starting from prime-rl's default where nothing says
    otherwise; ``None`` without either.
    """
    start = value if value == value else default
    if start is None or start != start:
        return None
    return max(ceil(start * factor), int(start) + 1)


def _sources(context: RunContext) -> range:
    """Numbers of the training sources; the first where no config tells."""
    return range(max(1, len(context.max_concurrent)))


def _trainer(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    yield Remedy(
        "deployment.num_train_gpus",
        _more(context.train_gpus, 2.0, 1),
        f"forward and backward take {_percent(evidence.work)} of a step, and the engines wait "
        f"{_percent(evidence.producer_idle)} of the time",
    )
    if context.infer_gpus > 1:
        yield Remedy(
            "deployment.num_infer_gpus",
            max(1, int(context.infer_gpus * (1 - evidence.producer_idle) + 0.999)),
            "the engines are idle for the trainer's sake: fewer of them cost less and bring as "
            "many steps, or can train instead",
        )


def _data_load(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    yield Remedy(
        "rollout_transport.type",
        "zmq",
        f"unpacking batches takes {_percent(evidence.load)} of a step; over sockets they do not "
        "go through the file system",
    )


def _checkpointing(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    saves = [value for value in evidence.trainer.values("time/save_ckpt") if value > 0]
    cost = sum(saves) / len(saves) if saves else 0.0
    every = len(evidence.trainer) / len(saves) if saves else 1.0
    best = sqrt(2 * cost * MTBF_HOURS * 3600) / evidence.step_s
    yield Remedy(
        "ckpt.interval",
        max(ceil(best), ceil(2 * every)),
        f"a checkpoint takes {cost:.0f} s and they come every {every:.0f} steps, "
        f"{_percent(evidence.checkpoint)} of the time; with a failure every {MTBF_HOURS:.0f} hours "
        f"the optimum is one in about {best:.0f} steps (the square root of twice the cost times "
        "the time between failures)",
    )


def _sync(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    share = f"weights cost {_percent(max(evidence.broadcast, evidence.pause))} of a step"
    if context.broadcast == "nccl":
        yield Remedy(
            "weight_broadcast.quantize_in_weight_transfer", True, f"{share}; half as many bytes go"
        )
    elif not context.has_lora:
        yield Remedy(
            "weight_broadcast.type",
            "nccl",
            f"{share}; NCCL sends them from GPU to GPU instead of through the file system",
        )
    yield Remedy(
        "orchestrator.batch_size",
        _more(context.batch_size, 2.0, evidence.batch),
        "a step twice as large sends its weights half as often (it also changes what is learnt "
        "from each version)",
    )


def _capacity(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    engines = evidence.engines
    if engines.preemptions > 0.02 or engines.waiting > 0.5:
        fewer = engines.inflight / (1 + max(engines.waiting, 0.0))
        if fewer == fewer:
            yield Remedy(
                CAP,
                max(1, int(fewer)),
                "requests wait for room in the KV cache or lose it again: work is done twice",
            )
    yield Remedy(
        "deployment.num_infer_gpus",
        _more(context.infer_gpus, 1.5, 1),
        f"the trainer waits {_percent(evidence.wait)} of the time for engines that are at their "
        "limit",
    )
    if engines.kv > 0.5 and not context.gpu_memory >= MOST_GPU_MEMORY:
        yield Remedy(
            "inference.vllm.gpu_memory_utilization",
            MOST_GPU_MEMORY,
            f"the KV cache is {_percent(engines.kv)} full on average",
        )


def _cap(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    engines = evidence.engines
    at = _percent(engines.at_cap) if engines.at_cap == engines.at_cap else "most"
    yield Remedy(
        CAP,
        _more(_cap_now(evidence, context), 1.5, DEFAULT_CAP),
        f"the episodes in flight are at their limit {at} of the time while the engines could "
        "answer more at once",
    )
    if context.tasks_per_minute == context.tasks_per_minute:
        yield Remedy(
            "orchestrator.tasks_per_minute", "None", "it limits how fast episodes are started"
        )


def _environment(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    share = _percent(1 - evidence.model)
    for place, limit in enumerate(context.max_concurrent):
        if limit == limit:
            yield Remedy(
                f"orchestrator.train.source.{place}.serve.max_concurrent",
                _more(limit, 1.5),
                f"{share} of an episode is environment, tools and scoring, and this is how many "
                "run at once",
            )
    yield Remedy(
        CAP,
        _more(_cap_now(evidence, context), 1.5, DEFAULT_CAP),
        f"{share} of an episode is environment, tools and scoring; with more in flight their "
        "latency hides behind each other, as far as sandboxes and KV cache go",
    )


def _tail(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    episodes = evidence.episodes
    tail = f"stragglers beyond the 90th percentile cost {_percent(episodes.tail)} of the time"
    if episodes.cancelled > 0.02:
        yield Remedy(
            "orchestrator.max_off_policy_steps",
            _more(context.max_off_policy_steps, 2.0, DEFAULT_OFF_POLICY),
            f"{_percent(episodes.cancelled)} of the episodes are thrown away as stale, because "
            "they or one of their group take too long",
        )
    longest = evidence.tokens_p90
    if longest == longest and context.max_completion_tokens > longest:
        yield Remedy(
            "orchestrator.train.sampling.max_completion_tokens",
            ceil(longest / 256) * 256,
            f"{tail}; 90 % of the episodes need at most {longest:.0f} tokens",
        )
    limit = evidence.total_p90
    for place in _sources(context):
        if limit == limit:
            yield Remedy(
                f"orchestrator.train.source.{place}.env.timeout.episode",
                float(ceil(1.25 * limit)),
                f"{tail}; 90 % of the episodes take at most {limit:.0f} s (one that is ended "
                "counts as failed)",
            )
    yield Remedy(
        CAP,
        _more(_cap_now(evidence, context), 1.25, DEFAULT_CAP),
        f"{tail}; more in flight keeps the engines busy meanwhile",
    )


def _cap_now(evidence: Evidence, context: RunContext) -> float:
    """The cap by the config, or else as it was seen."""
    known = context.max_inflight
    return known if known == known else evidence.engines.cap


def _waste(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    episodes = evidence.episodes
    errors = episodes.errors if episodes.errors == episodes.errors else 0.0
    rejected = episodes.rejected if episodes.rejected == episodes.rejected else 0.0
    if errors >= rejected:
        for place in _sources(context):
            yield Remedy(
                f"orchestrator.train.source.{place}.env.retries.max_retries",
                2,
                f"{_percent(errors)} of the episodes fail, and their work with them; "
                "train/agg/all/*/error/* names the kinds, and rollouts/step_*/train/all/"
                "traces.jsonl has each error: what is not for a moment only has to be cured there",
            )
    else:
        yield Remedy(
            "orchestrator.group_size",
            _more(context.group_size, 2.0, 8),
            f"{_percent(rejected)} of the episodes belong to groups that are not admitted; in a "
            "larger group it is rarer that all fare the same. Tasks of fitting difficulty help "
            "more",
        )


def _loop(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    if evidence.pack > 0.5:
        size = context.batch_size if context.batch_size == context.batch_size else evidence.batch
        yield Remedy(
            "orchestrator.batch_size",
            max(1, int(size / 2)) if size > 0 else None,
            f"packing takes {_percent(evidence.pack)} of the time between batches; give the "
            "orchestrator more CPU cores, or pack smaller batches",
        )
        return
    lag = evidence.engines.lag_s
    yield Remedy(
        "orchestrator.train.source",
        None,
        f"the event loop lags by {lag:.1f} s: give the orchestrator's process CPU cores of its "
        "own, and run fewer or lighter sources in it",
    )


def _evaluation(evidence: Evidence, context: RunContext) -> Iterator[Remedy]:
    share = (
        f"evaluations take {_percent(evidence.evaluation)} of the engines' work"
        if evidence.evaluation == evidence.evaluation
        else "evaluations take the engines' time"
    )
    yield Remedy(
        "orchestrator.eval.interval",
        _more(context.eval_interval, 2.0, evidence.eval_interval),
        share,
    )
    if context.eval_examples > 1:
        yield Remedy("orchestrator.eval.num_examples", ceil(context.eval_examples / 2), share)


_BY_STAGE: dict[str, Callable[[Evidence, RunContext], Iterator[Remedy]]] = {
    "trainer": _trainer,
    "data-load": _data_load,
    "checkpointing": _checkpointing,
    "weight-sync": _sync,
    "inference-capacity": _capacity,
    "inference-cap": _cap,
    "environment": _environment,
    "long-tail": _tail,
    "waste": _waste,
    "orchestrator-loop": _loop,
    "evaluation": _evaluation,
}
