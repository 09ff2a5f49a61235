"""The offers that a config can run on, ranked by what its completed run is expected to cost."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from pytest_prime_train.config.resolve import Config
from pytest_prime_train.cost.expected import ExpectedCost, expected_cost
from pytest_prime_train.cost.offers import Offer
from pytest_prime_train.cost.providers.http import SourceResult
from pytest_prime_train.memory.from_config import RunShape, read_run
from pytest_prime_train.memory.gpus import Gpu, all_gpus
from pytest_prime_train.memory.run import RunEstimate, estimate_run
from pytest_prime_train.memory.shapes import GIB, Verdict
from pytest_prime_train.memory.what_if import what_would_fit

BAND = 3.0
"""Loss rates are published nowhere: bills are shown for the rate divided and multiplied by this."""
SHOWN = 20
"""Offers that are ranked by default."""

# Assumptions where neither the config nor the offer says; all are printed with the answer.
_DISK_WRITE_GB_S = 1.0
_EGRESS_IF_UNKNOWN = 0.02
_OTHER_DISK_GB = 100.0
_KEPT_CHECKPOINTS = 3
_SECONDS = 3600.0
_IN_A_NODE = 8


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
        restart_hours: Billed hours from the machine being there to training going on.
        wait_hours: Unbilled hours until a lost machine is replaced.
        hours: Useful hours as measured, instead of the estimate from the config.
        steps: Steps of the run instead of the config's own.
    """

    spot_loss_hours: float = 8.0
    on_demand_loss_hours: float = 720.0
    restart_hours: float = 0.4
    wait_hours: float = 0.5
    hours: float | None = None
    steps: int | None = None


_ALL = Filters()
_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Need:
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
        step_seconds: One step; None where unknown.
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


@dataclass(frozen=True, slots=True)
class Ranked:
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
        return None if self.cost is None else self.cost.interval_hours * _SECONDS

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
            "hours": None if cost is None else _rounded(cost.expected_wall_hours),
            "expected_cost_usd": None if cost is None else _rounded(cost.expected_total),
            "low_usd": _rounded(self.low_usd),
            "high_usd": _rounded(self.high_usd),
            "checkpoint_interval_s": _rounded(self.interval_seconds),
            "why": self.why,
            "upstream": self.offer.upstream,
            "country": self.offer.country,
            "region": self.offer.region,
            "reliability": self.offer.reliability,
            "fetched_at": self.offer.fetched_at,
            "billed_hours": None if cost is None else _rounded(cost.expected_billed_hours),
            "losses": None if cost is None else _rounded(cost.expected_interruptions),
            "usd_at_third_of_losses": _rounded(self.at_third),
            "usd_at_thrice_the_losses": _rounded(self.at_thrice),
            "break_even_loss_hours": _rounded(self.break_even_loss_hours),
        }


@dataclass(frozen=True, slots=True)
class Rejected:
    """Offers of one card that are not ranked for one reason."""

    gpu: str
    reason: str
    offers: int


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a search.

    Attributes:
        ranked: The cheapest offers, the cheapest first.
        fitting: How many offers fit, also those that are not among the cheapest.
        rejected: The others, by card and reason.
        sources: Where offers came from, with their ages.
        fixes: Changes after which the config would fit, where nothing does.
        assumptions: What was taken for granted.
    """

    ranked: list[Ranked]
    fitting: int
    rejected: list[Rejected]
    sources: list[SourceResult]
    fixes: list[str] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)

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
            "assumptions": self.assumptions,
        }


def find_offers(
    config: Config,
    sources: Sequence[SourceResult],
    *,
    filters: Filters = _ALL,
    terms: Terms = _TERMS,
    path: str = "",
    limit: int = SHOWN,
) -> Found:
    """Rank offers by the expected cost of the completed run.

    Args:
        config: The resolved config.
        sources: Where offers come from.
        filters: Which of them to look at.
        terms: What is taken for granted about losses.
        path: The config's file; relative model paths start from its folder.
        limit: How many to rank; 0 for all.
    """
    search = _Search(config, filters, terms, path)
    offers = [offer for source in sources for offer in source.offers]
    fitting = search.fitting(offers)
    ranked = search.rank(fitting, limit)
    fixes = [] if ranked else search.fixes(offers)
    rejected = [
        Rejected(gpu, reason, count)
        for (gpu, reason), count in sorted(search.rejected.items(), key=_weight)
    ]
    return Found(ranked, search.fits, rejected, list(sources), fixes, search.assumptions(ranked))


def _weight(item: tuple[tuple[str, str], int]) -> tuple[bool, int]:
    """What nobody asked for comes last, and what concerns most offers first."""
    (_, reason), count = item
    return "asked for" in reason, -count


class _Search:
    def __init__(self, config: Config, filters: Filters, terms: Terms, path: str) -> None:
        self.config = config
        self.filters = filters
        self.terms = terms
        self.base = Path(os.path.dirname(path))
        self.rejected: Counter[tuple[str, str]] = Counter()
        self.fits = 0
        self._needs: dict[str, Need] = {}
        self._notes: dict[str, list[str]] = {}
        # (gpu, count) -> what the cheapest on-demand machine costs
        self._on_demand: dict[tuple[str, int], Decimal] = {}

    def need(self, gpu: str) -> Need:
        """What the config needs on a card."""
        known = self._needs.get(gpu)
        if known is None:
            known = self._needs[gpu] = self._read_need(all_gpus()[gpu])
        return known

    def _read_need(self, card: Gpu) -> Need:
        run = read_run(self.config, card, base=self.base)
        estimate = estimate_run(run, card)
        self._notes[card.id] = [
            note for note in estimate.assumptions if not note.startswith("not validated")
        ]
        steps = self.terms.steps or self.config.steps
        step = estimate.step_seconds
        hours = low = high = self.terms.hours
        if hours is None and steps is not None and step is not None and estimate.throughput:
            speed = estimate.throughput
            hours = steps * step / _SECONDS
            low = hours * speed.tokens_per_s_per_gpu / speed.high
            high = hours * speed.tokens_per_s_per_gpu / speed.low
        return Need(
            gpu=card.id,
            verdict=estimate.verdict,
            why=_shortage(estimate, card),
            gpus=_gpus_of(run),
            nodes=_nodes_of(run),
            hours=hours,
            low_hours=low,
            high_hours=high,
            ckpt_gb=(estimate.checkpoint_bytes or 0.0) / 1e9,
            step_seconds=step,
        )

    def fitting(self, offers: Iterable[Offer]) -> list[tuple[float, int, Offer, Need]]:
        """Offers that the config fits, each with a bill that theirs cannot fall below."""
        fitting = []
        reject = self.rejected
        offers = list(offers)
        self._know_on_demand(offers)
        for index, offer in enumerate(offers):
            reason = self._unfit(offer)
            if reason:
                reject[offer.gpu or offer.gpu_name, reason] += 1
                continue
            need = self.need(offer.gpus[0])
            if offer.per_gpu:
                offer = _scaled(offer, need)
            price = offer.price_per_hour
            if price is None:
                continue
            hours = max(need.hours or 1.0, offer.min_charge_hours)
            fitting.append((float(price) * hours, index, offer, need))
        kept = []
        for row in fitting:
            offer = row[2]
            reason = self._dominated(offer) or self._too_dear(offer)
            if reason:
                reject[offer.gpu or offer.gpu_name, reason] += 1
            else:
                kept.append(row)
        self.fits = len(kept)
        return kept

    def _know_on_demand(self, offers: Iterable[Offer]) -> None:
        """Find the cheapest on-demand offers, also where only spot was asked for."""
        known, asked = self._on_demand, self.filters.gpu
        for offer in offers:
            if offer.spot or offer.reasons or offer.price_per_hour is None:
                continue
            gpu, count, price = offer.gpus[0], offer.gpu_count, offer.price_per_hour
            if asked is not None and asked.id not in offer.gpus:
                continue
            if offer.per_gpu:
                count = max(self.need(gpu).gpus, 1)
                price *= count
            cheapest = known.get((gpu, count))
            if cheapest is None or price < cheapest:
                known[gpu, count] = price

    def _unfit(self, offer: Offer) -> str:
        """Why an offer is out; ``""`` where it is not."""
        if offer.reasons:
            return ", ".join(offer.reasons)
        filters = self.filters
        if filters.gpu is not None and filters.gpu.id not in offer.gpus:
            return "another GPU than asked for"
        if filters.spot is not None and offer.spot != filters.spot:
            return "on-demand, asked for spot" if filters.spot else "spot, asked for on-demand"
        if filters.provider and filters.provider not in (offer.provider, offer.upstream):
            return "another provider than asked for"
        if filters.region and not _is_in(offer, filters.region):
            return "outside the region asked for"
        if filters.min_reliability is not None:
            if offer.reliability is None:
                return "reliability unknown"
            if offer.reliability < filters.min_reliability:
                return f"reliability below {filters.min_reliability:g}"
        need = self.need(offer.gpus[0])
        if need.verdict not in ("fits", "tight"):
            return need.why
        if offer.per_gpu:
            return "" if need.nodes == 1 else f"the config needs {need.nodes} machines as a cluster"
        if offer.gpu_count < need.gpus:
            return f"{offer.gpu_count} of {need.gpus} GPUs"
        if offer.nodes > 1 and need.nodes == 1:
            return "a cluster, while the config is for one machine"
        if offer.nodes < need.nodes:
            return f"the config needs {need.nodes} machines as a cluster"
        lasts = offer.max_duration_hours
        if lasts is not None and need.hours is not None and lasts < need.hours:
            return f"it ends before the {need.hours:.0f} hours of work are done"
        return ""

    def _dominated(self, offer: Offer) -> str:
        if not offer.spot or offer.price_per_hour is None:
            return ""
        equal = self._on_demand.get((offer.gpus[0], offer.gpu_count))
        if equal is not None and offer.price_per_hour >= equal:
            return "spot that is not cheaper than on-demand"
        return ""

    def _too_dear(self, offer: Offer) -> str:
        most = self.filters.max_price
        if most is not None and offer.price_per_hour is not None and offer.price_per_hour > most:
            return f"dearer than {most} USD/h"
        return ""

    def rank(self, rows: list[tuple[float, int, Offer, Need]], limit: int) -> list[Ranked]:
        """The cheapest; the others are left as soon as even their lower bound is dearer."""
        heapq.heapify(rows)
        limit = limit or len(rows)
        best: list[tuple[float, int, Offer, Need, ExpectedCost | None]] = []
        worst: list[float] = []  # the bills in `best`, negated: its dearest first
        while rows:
            bound, index, offer, need = heapq.heappop(rows)
            if len(worst) >= limit and bound > -worst[0]:
                break
            cost = self._bill(offer, need)
            total = bound if cost is None else cost.expected_total
            if cost is not None and _ends_early(offer, cost):
                self.fits -= 1
                reason = f"it ends before the {cost.expected_wall_hours:.0f} expected hours"
                self.rejected[offer.gpu or offer.gpu_name, reason] += 1
                continue
            best.append((total, index, offer, need, cost))
            heapq.heappush(worst, -total)
            if len(worst) > limit:
                heapq.heappop(worst)
        best.sort(key=lambda row: row[:2])
        return [self._row(offer, need, cost) for _, _, offer, need, cost in best[:limit]]

    def _bill(
        self,
        offer: Offer,
        need: Need,
        *,
        rate_factor: float = 1.0,
        hours: float | None = None,
        egress: float = 0.0,
        interval: float | None = None,
    ) -> ExpectedCost | None:
        hours = need.hours if hours is None else hours
        if hours is None or offer.price_per_hour is None:
            return None
        terms = self.terms
        mean = terms.spot_loss_hours if offer.spot else terms.on_demand_loss_hours
        disk = _disk_gb(need)
        beyond = max(disk - offer.disk_included_gb, 0.0)
        known = offer.egress_price_gb
        inputs = {
            "useful_hours": hours,
            "price_per_hour": float(offer.price_per_hour),
            "machines": offer.nodes,
            "preempt_rate_per_machine_hour": rate_factor / mean,
            "ckpt_hours": need.ckpt_gb / _DISK_WRITE_GB_S / _SECONDS,
            "restart_hours": terms.restart_hours,
            "wait_hours": terms.wait_hours,
            "disk_gb": beyond,
            "disk_price_gb_hour": float(offer.disk_price_gb_hour or 0),
            "ckpt_gb": need.ckpt_gb,
            "upload_price_gb": egress if known is None else float(known),
            "download_price_gb": float(offer.ingress_price_gb or 0),
            "min_charge_hours": offer.min_charge_hours,
        }
        cost = expected_cost(**inputs, interval_hours=interval)  # type: ignore[arg-type]
        if interval is None and need.step_seconds and need.step_seconds < hours * _SECONDS:
            # Checkpoints fall on whole steps.
            step = need.step_seconds / _SECONDS
            whole = min(max(round(cost.interval_hours / step), 1) * step, hours)
            cost = expected_cost(**inputs, interval_hours=whole)  # type: ignore[arg-type]
        return cost

    def _row(self, offer: Offer, need: Need, cost: ExpectedCost | None) -> Ranked:
        if cost is None:
            why = "ranked by its price: how long the run takes is unknown (max_steps, --hours)"
            return Ranked(offer, need, offer.nodes, why=why)
        # The interval is chosen before the rate is known, so it stays while the rate varies.
        chosen = cost.interval_hours
        third = self._bill(offer, need, rate_factor=1 / BAND, interval=chosen)
        thrice = self._bill(offer, need, rate_factor=BAND, interval=chosen)
        low = self._bill(offer, need, rate_factor=1 / BAND, hours=need.low_hours, interval=chosen)
        high = self._bill(
            offer,
            need,
            rate_factor=BAND,
            hours=need.high_hours,
            egress=_EGRESS_IF_UNKNOWN,
            interval=chosen,
        )
        even = self._break_even(offer, need)
        return Ranked(
            offer,
            need,
            offer.nodes,
            cost,
            low_usd=None if low is None else min(low.expected_total, cost.expected_total),
            high_usd=None if high is None else max(high.expected_total, cost.expected_total),
            at_third=None if third is None else third.expected_total,
            at_thrice=None if thrice is None else thrice.expected_total,
            break_even_loss_hours=even,
            why=_why(offer, need, cost, even),
        )

    def _break_even(self, offer: Offer, need: Need) -> float | None:
        """Mean hours between losses of a machine below which equal on-demand is cheaper."""
        equal = self._on_demand.get((offer.gpus[0], offer.gpu_count))
        if not offer.spot or equal is None:
            return None
        steady = self._bill(offer._replace(spot=False, price_per_hour=equal), need)
        if steady is None:
            return None

        def gains(mean: float) -> bool:
            factor = self.terms.spot_loss_hours / mean
            cost = self._bill(offer, need, rate_factor=factor)
            return cost is not None and cost.expected_total < steady.expected_total

        rare, often = 1e5, 1e-2
        if not gains(rare):
            return None
        for _ in range(40):
            middle = (rare * often) ** 0.5
            rare, often = (middle, often) if gains(middle) else (rare, middle)
        return rare

    def fixes(self, offers: Iterable[Offer]) -> list[str]:
        """What would make the config fit the largest card on offer that it does not fit."""
        known = all_gpus()
        wanted = self.filters.gpu
        names = {offer.gpus[0] for offer in offers if not offer.reasons}
        if wanted is not None:
            names &= {wanted.id}
        short = [name for name in names if self.need(name).verdict == "does-not-fit"]
        if not short or any(self.need(name).verdict in ("fits", "tight") for name in names):
            return []
        card = max((known[name] for name in short), key=lambda gpu: (gpu.usable_gib, gpu.id))
        run = read_run(self.config, card, base=self.base)
        return [f"on {card.id}: {fix}" for fix in what_would_fit(run, card)[:3]]

    def assumptions(self, ranked: Sequence[Ranked]) -> list[str]:
        """What was taken for granted, in sentences; of estimates that on the cheapest card."""
        if not ranked:
            return []
        terms = self.terms
        own = [
            f"a spot machine is lost every {terms.spot_loss_hours:g} h and an on-demand one every "
            f"{terms.on_demand_loss_hours:g} h; nobody publishes this, so use your own "
            "(--spot-loss-hours, --on-demand-loss-hours)",
            f"{terms.restart_hours:g} billed h to start again and {terms.wait_hours:g} h to wait "
            "for a machine after each loss",
            f"checkpoints are written at {_DISK_WRITE_GB_S:g} GB/s, {_KEPT_CHECKPOINTS} of them "
            f"are kept beside {_OTHER_DISK_GB:g} GB, and each is uploaded once",
        ]
        if terms.hours is None:
            own.append("a step takes as long as the trainer's own part; waiting is not in it")
        return [*own, *self._notes[ranked[0].need.gpu]]


def _rounded(value: float | None) -> float | None:
    # JSON has no infinity: a run that never ends has no bill.
    return None if value is None or value > 1e15 else round(value, 4)


def _disk_gb(need: Need) -> float:
    return _OTHER_DISK_GB + _KEPT_CHECKPOINTS * need.ckpt_gb


def _ends_early(offer: Offer, cost: ExpectedCost) -> bool:
    lasts = offer.max_duration_hours
    return lasts is not None and lasts < cost.expected_wall_hours


def _gpus_of(run: RunShape) -> int:
    """Cards of the whole run."""
    count = run.trainer.num_gpus if run.trainer is not None else 0
    if run.inference is not None:
        server = run.inference
        count += server.tensor_parallel * server.data_parallel * server.replicas
    return count


def _nodes_of(run: RunShape) -> int:
    count = _gpus_of(run)
    least = -(-count // max(run.gpus_per_node, _IN_A_NODE))
    return max(run.train_nodes, least, 1)


def _scaled(offer: Offer, need: Need) -> Offer:
    """A price for one card as a machine with as many as the config needs."""
    price = offer.price_per_hour
    count = max(need.gpus, 1)
    return offer._replace(gpu_count=count, price_per_hour=None if price is None else price * count)


def _shortage(estimate: RunEstimate, card: Gpu) -> str:
    """Why a card does not do, by how much where that is known."""
    if estimate.verdict == "unknown":
        return "; ".join(estimate.unknown) or "unknown: nothing can be told of its memory"
    if not card.cuda or not card.bf16:
        return f"without {'CUDA' if not card.cuda else 'bf16'}"
    memory, server = estimate.trainer, estimate.inference
    if memory is not None and estimate.trainer_verdict == "does-not-fit":
        needed = memory.peak_gib + memory.outside_bytes / GIB
        return (
            f"the trainer needs {needed:.1f} GiB per GPU, {needed - card.usable_gib:.1f} more than "
            f"the {card.usable_gib:.1f} that it has"
        )
    if server is not None and estimate.inference_verdict == "does-not-fit":
        return (
            f"vLLM has {server.budget_bytes / GIB:.1f} GiB per GPU, of which the weights take "
            f"{server.weights_bytes / GIB:.1f}: too few remain for one request of full length"
        )
    return ""


def _is_in(offer: Offer, region: str) -> bool:
    wanted = region.lower()
    return wanted in ((offer.country or "").lower(), (offer.region or "").lower())


def _why(offer: Offer, need: Need, cost: ExpectedCost, even: float | None) -> str:
    """What drives the bill, the largest first."""
    parts = []
    overhead = cost.expected_billed_hours - (need.hours or 0.0)
    parts.append(f"{need.hours or 0.0:.1f} h of work and {overhead:.1f} h of overhead")
    if cost.expected_interruptions >= 0.05:
        parts.append(f"{cost.expected_interruptions:.1f} losses")
    if cost.expected_billed_hours < offer.min_charge_hours:
        parts.append(f"{offer.min_charge_hours:g} h are charged at least")
    if cost.cost_transfer > 0.05 * cost.expected_total:
        parts.append(f"traffic ${cost.cost_transfer:.2f}")
    if cost.cost_disk > 0.05 * cost.expected_total:
        parts.append(f"disk ${cost.cost_disk:.2f}")
    if offer.egress_price_gb is None:
        parts.append("price of traffic unknown")
    if offer.gpu_count > need.gpus:
        parts.append(f"{offer.gpu_count - need.gpus} of {offer.gpu_count} GPUs idle")
    if offer.per_gpu:
        parts.append("price of one GPU times the count")
    if offer.price_may_change:
        parts.append("the price may change")
    if need.verdict == "tight":
        parts.append("memory is tight")
    if len(offer.gpus) > 1:
        parts.append(f"edition open: {' or '.join(offer.gpus)}")
    if even is not None:
        parts.append(f"cheaper than on-demand while losses are over {even:.1f} h apart")
    return ", ".join(parts)


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
