"""``diagnose``: from what a run has left to where its time goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_prime_train.findings import UsageError
from pytest_prime_train.metrics import RunMetrics, read_run
from pytest_prime_train.profiler.context import RunContext, find_context
from pytest_prime_train.profiler.diagnosis import Diagnosis
from pytest_prime_train.profiler.evidence import WANTED, Evidence, gather
from pytest_prime_train.profiler.gains import estimate
from pytest_prime_train.profiler.idle import Price, idle_time
from pytest_prime_train.profiler.remedies import remedies_for
from pytest_prime_train.profiler.thresholds import DEFAULTS, Thresholds
from pytest_prime_train.profiler.verdict import judge

if TYPE_CHECKING:
    from pytest_prime_train.profiler.patching import Patch

_NO_STAGE = ("unstable", "undetermined")


class Profile(NamedTuple):
    """A diagnosis with what it was made from.

    Attributes:
        diagnosis: What is said.
        evidence: What the run shows.
        run: Its metrics.
        context: What its configs say.
        patch: The remedies as changes of the config; ``None`` without a TOML file of it.
    """

    diagnosis: Diagnosis
    evidence: Evidence
    run: RunMetrics
    context: RunContext
    patch: Patch | None = None


def diagnose(
    source: str | os.PathLike[str],
    *,
    config: str | None = None,
    gpu: str | None = None,
    engine_metrics: Sequence[str] = (),
    usd_per_gpu_hour: float | None = None,
    thresholds: Thresholds = DEFAULTS,
) -> Diagnosis:
    """Say where a run's time goes and what would bring more steps an hour.

    Args:
        source: A run's directory, its ``metrics.jsonl``, a ``wandb-history.jsonl``, a W&B run
            file or directory, or ``ENTITY/PROJECT/RUN`` of W&B's server.
        config: The config that the run was launched with, where none is found beside it; it
            tells limits that metrics do not have, and remedies are checked in it.
        gpu: The card, such as ``H100-80GB``; a remedy after which the config does not fit it is
            left out.
        engine_metrics: Files with scrapes of the engines' ``/metrics``, or their addresses.
        usd_per_gpu_hour: Price of a GPU in US dollars.
        thresholds: Where judgements turn.

    Raises:
        UsageError: There is nothing to read, or it holds no metrics.
    """
    price = None if usd_per_gpu_hour is None else Price(usd_per_gpu_hour, "as given")
    return profile(
        source,
        config=config,
        gpu=gpu,
        engine_metrics=engine_metrics,
        price=price,
        thresholds=thresholds,
    ).diagnosis


def profile(
    source: str | os.PathLike[str],
    *,
    config: str | None = None,
    gpu: str | None = None,
    engine_metrics: Sequence[str] = (),
    price: Price | None = None,
    thresholds: Thresholds = DEFAULTS,
) -> Profile:
    """As ``diagnose``, with what the diagnosis was made from."""
    name = os.fspath(source)
    run = read_run(name, wanted=WANTED)
    if engine_metrics:
        from pytest_prime_train.metrics.prometheus import read_scrapes

        run.add(read_scrapes(engine_metrics))
    found = profile_of(run, find_context(name, config), name, price, thresholds)
    path = config or found.context.path
    if not path.endswith(".toml") or not found.diagnosis.remedies:
        return found
    from pytest_prime_train.profiler.patching import patch_config

    try:
        patch = patch_config(path, found.diagnosis.remedies, gpu=gpu)
    except UsageError:
        if config is not None:
            raise
        return found
    notes = []
    for one, reason in patch.refused:
        notes.append(f"{one.key} = {one.value} was left out: {reason.rstrip('.')}")
    diagnosis = replace(
        found.diagnosis, remedies=patch.remedies, notes=(*found.diagnosis.notes, *notes)
    )
    return found._replace(diagnosis=diagnosis, patch=patch)


def profile_of(
    run: RunMetrics,
    context: RunContext,
    source: str = "",
    price: Price | None = None,
    thresholds: Thresholds = DEFAULTS,
) -> Profile:
    """The same for metrics that are read already."""
    evidence = gather(run, context, thresholds)
    gains = estimate(evidence, thresholds)
    verdict = judge(evidence, gains, thresholds)
    named = gains.get(verdict.leading) if verdict.name not in _NO_STAGE else None
    diagnosis = Diagnosis(
        verdict=verdict.name,
        contributing=verdict.contributing,
        confidence=verdict.confidence,
        shares=shares_of(evidence),
        gain_upper_bound=named.bound if named is not None else None,
        remedies=remedies_for(verdict, evidence, context),
        steps_used=len(evidence.trainer),
        missing=verdict.missing,
        why=verdict.why,
        gains=gains if verdict.leading else {},
        step_seconds=evidence.step_s,
        attempts=run.attempts,
        idle=idle_time(run, evidence, context, price),
        notes=tuple(notes_on(run)),
        source=source,
    )
    return Profile(diagnosis, evidence, run, context)


def shares_of(evidence: Evidence) -> dict[str, float]:
    """Shares of the trainer's step, the rest of it, and the orchestrator's waiting."""
    shares = {
        "wait_for_batch": evidence.wait,
        "load_data": evidence.load,
        "forward_backward": evidence.work,
        "broadcast_weights": evidence.broadcast,
        "save_ckpt": evidence.checkpoint,
    }
    known = sum(value for value in shares.values() if value == value)
    shares["other"] = max(0.0, 1 - known) if known == known and known > 0 else float("nan")
    shares["wait_for_policy"] = evidence.hold
    return shares


def notes_on(run: RunMetrics) -> Iterable[str]:
    """What the metrics themselves are like."""
    if run.torn:
        yield f"{run.torn} of {run.lines} lines could not be read and were left out"
    if run.dropped:
        yield f"{run.dropped} values were no finite numbers and were left out"
    repeated = len(run.trainer) - sum(run.trainer.live)
    if repeated:
        yield f"{repeated} steps were repeated after a resume; the last of each counts"
