"""GPU hours that were paid and not used."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import NamedTuple

from pytest_prime_train.findings import UsageError
from pytest_prime_train.metrics import RunMetrics
from pytest_prime_train.profiler.context import RunContext
from pytest_prime_train.profiler.diagnosis import Idle
from pytest_prime_train.profiler.evidence import Evidence
from pytest_prime_train.profiler.steady import median


class Price(NamedTuple):
    """What a GPU costs an hour.

    Attributes:
        usd: US dollars.
        source: Where that is known from.
    """

    usd: float
    source: str


def known_price(name: str) -> Price:
    """The usual price of a card on demand, by the prices that come with the package.

    Args:
        name: The card, as users write it.

    Raises:
        UsageError: No card is called so, or it has no price.
    """
    from pytest_prime_train.cost.providers.snapshot import fetch
    from pytest_prime_train.memory.judge import known_card

    card = known_card(name)
    offers = [
        (float(offer.price_per_gpu_hour), offer.fetched_at)
        for offer in fetch().offers
        if offer.gpu == card.id and not offer.spot and offer.price_per_gpu_hour is not None
    ]
    if not offers:
        raise UsageError(
            f"--gpu: no price of {card.id} comes with the package; give it with --usd-per-gpu-hour"
        )
    day = max(moment for _, moment in offers)[:10]
    usd = median([price for price, _ in offers])
    return Price(usd, f"median of {len(offers)} prices of {card.id} on demand, as of {day}")


def idle_time(
    run: RunMetrics, evidence: Evidence, context: RunContext, price: Price | None
) -> Idle:
    """Add up what stood still.

    Args:
        run: All of its steps, start-up and repeated ones included.
        evidence: Shares of the steady steps.
        context: Numbers of GPUs.
        price: What one costs.
    """
    seconds = run.trainer.column("time/step")
    waits = run.trainer.column("time/wait_for_batch")
    total = _sum(seconds)
    repeated = [index for index, alive in enumerate(run.trainer.live) if not alive]
    trainer = _hours(_sum(waits) * context.train_gpus)
    engines = _hours(total * evidence.producer_idle * context.infer_gpus)
    known = [hours for hours in (trainer, engines) if hours is not None]
    usd = sum(known) * price.usd if price is not None and known else None
    return Idle(
        hours=total / 3600,
        trainer_gpu_hours=trainer,
        inference_gpu_hours=engines,
        repeated_steps=len(repeated),
        repeated_hours=_sum([seconds[index] for index in repeated]) / 3600,
        usd=usd,
        usd_per_gpu_hour=price.usd if price is not None else None,
        price_source=price.source if price is not None else "",
    )


def _sum(values: Iterable[float]) -> float:
    return sum(value for value in values if value > 0)


def _hours(gpu_seconds: float) -> float | None:
    return gpu_seconds / 3600 if isfinite(gpu_seconds) else None
