"""What a search for hardware is asked, and what it answers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_prime_train.cost.expected import ExpectedCost
from pytest_prime_train.cost.offers import Offer
from pytest_prime_train.memory.gpus import Gpu
from pytest_prime_train.memory.shapes import Verdict

if TYPE_CHECKING:
    from pytest_prime_train.cost.offers import SourceResult
    from pytest_prime_train.cost.splits import Split

SECONDS = 3600.0


class Filters(NamedTuple):
    """Which offers to look at; what a source filters is filtered here once more.

    Attributes:
        max_price: USD per hour of the whole offer at most.
        gpu: Only this card.
        spot: Only spot, or only on-demand machines; None for both.
        provider: Only this provider, or owner of the machines behind a broker.
        region: Only this country or region.
        min_reliability: From 0 to 1; offers of unknown reliability do not pass.
    """

    max_price: Decimal | None = None
    gpu: Gpu | None = None
    spot: bool | None = None
    provider: str | None = None
    region: str | None = None
    min_reliability: float | None = None


class Terms(NamedTuple):
    """What is taken for granted about losses.

    Attributes:
        spot_loss_hours: Mean hours until a spot machine is lost.
        on_demand_loss_hours: Mean hours until an on-demand machine fails.
        spot_from: Where the rate of spot machines comes from; ``""`` where it is assumed.
        on_demand_from: Where the rate of on-demand machines comes from, likewise.
        restart_hours: Billed hours from the machine being there to training going on.
        wait_hours: Unbilled hours until a lost machine is replaced.
        hours: Useful hours as measured, instead of the estimate from the config.
        steps: Steps of the run instead of the config's own.
    """

    spot_loss_hours: float = 8.0
    on_demand_loss_hours: float = 720.0
    spot_from: str = ""
    on_demand_from: str = ""
    restart_hours: float = 0.4
    wait_hours: float = 0.5
    hours: float | None = None
    steps: int | None = None


class Need(NamedTuple):
    """What a config needs on one card.

    Attributes:
        gpu: The card.
        verdict: Whether it fits.
        why: What is missing where it does not, or why nothing can be told.
        gpus: Cards of the whole run.
        nodes: Machines that the config spreads over.
        hours: Useful hours; None where unknown.
        low_hours: At the upper end of the speed's band.
        high_hours: At its lower end.
        ckpt_gb: One checkpoint.
        step_seconds: One step, at the pace of the slower half; None where unknown.
        trainer_seconds: What the trainer takes for one step.
        generation_seconds: What vLLM takes for the tokens of one step; None without vLLM.
    """

    gpu: str
    verdict: Verdict
    why: str
    gpus: int
    nodes: int
    hours: float | None
    low_hours: float | None
    high_hours: float | None
    ckpt_gb: float
    step_seconds: float | None
    trainer_seconds: float | None = None
    generation_seconds: float | None = None


class Ranked(NamedTuple):
    """An offer that the config can run on.

    Attributes:
        offer: The offer, with the count and price of the whole run's machines.
        need: What the config needs on its card.
        machines: Machines that a loss can hit.
        cost: The expected bill; None where the useful hours are unknown.
        low_usd: At a third of the loss rate and the upper end of the speed's band.
        high_usd: At three times the loss rate and the lower end of the speed's band, with dear
            traffic where its price is unknown.
        at_third: The bill at a third of the loss rate.
        at_thrice: The bill at three times the loss rate.
        break_even_loss_hours: Mean hours between losses below which the cheapest equal on-demand
            offer is cheaper; None on demand, or where there is none.
        why: What drives the bill.
    """

    offer: Offer
    need: Need
    machines: int
    cost: ExpectedCost | None = None
    low_usd: float | None = None
    high_usd: float | None = None
    at_third: float | None = None
    at_thrice: float | None = None
    break_even_loss_hours: float | None = None
    why: str = ""

    @property
    def interval_seconds(self) -> float | None:
        """Seconds of training between checkpoints with the smallest bill, in whole steps."""
        return None if self.cost is None else self.cost.interval_hours * SECONDS

    def as_json(self) -> dict[str, Any]:
        """The row of the stable document."""
        cost, price = self.cost, self.offer.price_per_hour
        return {
            "provider": self.offer.provider,
            "id": self.offer.offer_id,
            "gpu": self.need.gpu,
            "count": self.offer.gpu_count,
            "spot": self.offer.spot,
            "usd_per_hour": None if price is None else float(price),
            "hours": None if cost is None else rounded(cost.expected_wall_hours),
            "expected_cost_usd": None if cost is None else rounded(cost.expected_total),
            "low_usd": rounded(self.low_usd),
            "high_usd": rounded(self.high_usd),
            "checkpoint_interval_s": rounded(self.interval_seconds),
            "why": self.why,
            "upstream": self.offer.upstream,
            "country": self.offer.country,
            "region": self.offer.region,
            "reliability": self.offer.reliability,
            "fetched_at": self.offer.fetched_at,
            "billed_hours": None if cost is None else rounded(cost.expected_billed_hours),
            "losses": None if cost is None else rounded(cost.expected_interruptions),
            "usd_at_third_of_losses": rounded(self.at_third),
            "usd_at_thrice_the_losses": rounded(self.at_thrice),
            "break_even_loss_hours": rounded(self.break_even_loss_hours),
        }


class Rejected(NamedTuple):
    """Offers of one card that are not ranked for one reason."""

    gpu: str
    reason: str
    offers: int


class Found(NamedTuple):
    """The answer to a search.

    Attributes:
        ranked: The cheapest offers, the cheapest first.
        fitting: How many offers fit, also those that are not among the cheapest.
        rejected: The others, by card and reason.
        sources: Where offers came from, with their ages.
        fixes: Changes after which the config would fit, where nothing does.
        assumptions: What was taken for granted.
        splits: Other splits of the GPUs between training and inference that are faster.
    """

    ranked: list[Ranked]
    fitting: int
    rejected: list[Rejected]
    sources: list[SourceResult]
    fixes: list[str]
    assumptions: list[str]
    splits: list[Split]

    def as_json(self) -> dict[str, Any]:
        """The stable document of ``prime-train find --format json``."""
        return {
            "offers": [row.as_json() for row in self.ranked],
            "rejected": [
                {"gpu": row.gpu, "reason": row.reason, "offers": row.offers}
                for row in self.rejected
            ],
            "sources": [
                {
                    "name": source.name,
                    "fetched_at": source.fetched_at,
                    "status": source.status,
                    "age_days": age_days(source.fetched_at),
                    "notes": source.notes,
                }
                for source in self.sources
            ],
            "fitting": self.fitting,
            "would_fit": self.fixes,
            "splits": [split.as_json() for split in self.splits],
            "assumptions": self.assumptions,
        }


def rounded(value: float | None) -> float | None:
    """A figure of the document; JSON has no infinity, and a run that never ends has no bill."""
    return None if value is None or value > 1e15 else round(value, 4)


def age_days(moment: str) -> int | None:
    """Days since a moment in ISO 8601, of which the day can be missing; None where it is none."""
    text = moment if len(moment) != len("2026-06") else f"{moment}-01"
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max((datetime.now(UTC) - then).days, 0)
