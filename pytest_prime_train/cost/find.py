"""The offers that a config can run on, ranked by what its completed run is expected to cost."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_prime_train.config.resolve import Config
from pytest_prime_train.cost.expected import ExpectedCost, expected_cost
from pytest_prime_train.cost.found import (
    SECONDS,
    Filters,
    Found,
    Need,
    Ranked,
    Rejected,
    Terms,
)
from pytest_prime_train.cost.needs import Needs
from pytest_prime_train.cost.offers import Offer

if TYPE_CHECKING:
    from pytest_prime_train.cost.offers import SourceResult

BAND = 3.0
"""Loss rates are published nowhere: bills are shown for the rate divided and multiplied by this."""
SHOWN = 20
"""Offers that are ranked by default."""

# Assumptions where neither the config nor the offer says; all are printed with the answer.
_DISK_WRITE_GB_S = 1.0
_EGRESS_IF_UNKNOWN = 0.02
_OTHER_DISK_GB = 100.0
_KEPT_CHECKPOINTS = 3

_ALL = Filters()
_TERMS = Terms()


class Candidate(NamedTuple):
    """An offer that fits, as the ranking takes it.

    Attributes:
        bound: A bill that its own cannot fall below, in USD.
        place: Its place among all offers, so that equal bills have an order.
        offer: The offer, with the count and price of the whole run's machines.
        need: What the config needs on its card.
    """

    bound: float
    place: int
    offer: Offer
    need: Need


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
    search = Search(config, filters, terms, path)
    offers = [offer for source in sources for offer in source.offers]
    fitting = search.fitting(offers)
    ranked = search.rank(fitting, limit)
    fixes = [] if ranked else search.fixes(offers)
    rejected = [
        Rejected(gpu, reason, count)
        for (gpu, reason), count in sorted(search.rejected.items(), key=_weight)
    ]
    from pytest_prime_train.cost.splits import better_splits

    return Found(
        ranked,
        search.fits,
        rejected,
        list(sources),
        fixes,
        search.assumptions(ranked),
        better_splits(search, ranked),
    )


def _weight(item: tuple[tuple[str, str], int]) -> tuple[bool, int]:
    """What nobody asked for comes last, and what concerns most offers first."""
    (_, reason), count = item
    return "asked for" in reason, -count


class Search:
    """One config against offers, under filters and terms."""

    def __init__(self, config: Config, filters: Filters, terms: Terms, path: str) -> None:
        self.config = config
        self.filters = filters
        self.terms = terms
        self.needs = Needs(config, terms, Path(os.path.dirname(path)))
        self.rejected: Counter[tuple[str, str]] = Counter()
        self.fits = 0
        # (gpu, count) -> what the cheapest on-demand machine costs
        self._on_demand: dict[tuple[str, int], Decimal] = {}

    def fitting(self, offers: Iterable[Offer]) -> list[Candidate]:
        """Offers that the config fits, each with a bill that theirs cannot fall below."""
        fitting = []
        reject = self.rejected
        offers = list(offers)
        self._know_on_demand(offers)
        for index, offer in enumerate(offers):
            reason = self.unfit(offer)
            if reason:
                reject[offer.gpu or offer.gpu_name, reason] += 1
                continue
            need = self.needs.of(offer.gpus[0])
            if offer.per_gpu:
                offer = scaled(offer, need)
            price = offer.price_per_hour
            if price is None:
                continue
            hours = max(need.hours or 1.0, offer.min_charge_hours)
            fitting.append(Candidate(float(price) * hours, index, offer, need))
        kept = []
        for row in fitting:
            offer = row.offer
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
                count = max(self.needs.of(gpu).gpus, 1)
                price *= count
            cheapest = known.get((gpu, count))
            if cheapest is None or price < cheapest:
                known[gpu, count] = price

    def unfit(self, offer: Offer) -> str:
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
        need = self.needs.of(offer.gpus[0])
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

    def rank(self, rows: list[Candidate], limit: int) -> list[Ranked]:
        """The cheapest; the others are left as soon as even their lower bound is dearer."""
        heapq.heapify(rows)
        limit = limit or len(rows)
        best: list[tuple[float, int, Offer, Need, ExpectedCost | None]] = []
        worst: list[float] = []  # the bills in `best`, negated: its dearest first
        while rows:
            bound, index, offer, need = heapq.heappop(rows)
            if len(worst) >= limit and bound > -worst[0]:
                break
            cost = self.bill(offer, need)
            total = bound if cost is None else cost.expected_total
            if cost is not None and ends_early(offer, cost):
                self.fits -= 1
                reason = f"it ends before the {cost.expected_wall_hours:.0f} expected hours"
                self.rejected[offer.gpu or offer.gpu_name, reason] += 1
                continue
            best.append((total, index, offer, need, cost))
            heapq.heappush(worst, -total)
            if len(worst) > limit:
                heapq.heappop(worst)
        best.sort(key=lambda row: row[:2])
        return [self.row(offer, need, cost) for _, _, offer, need, cost in best[:limit]]

    def bill(
        self,
        offer: Offer,
        need: Need,
        *,
        rate_factor: float = 1.0,
        hours: float | None = None,
        egress: float = 0.0,
        interval: float | None = None,
    ) -> ExpectedCost | None:
        """What the completed run costs on an offer; None where its hours are unknown.

        Args:
            offer: The offer, with the count and price of the whole run's machines.
            need: What the config needs on its card.
            rate_factor: Times the rate of losses.
            hours: Useful hours instead of the need's.
            egress: USD per GB out of the machines where the offer does not say.
            interval: Useful hours between checkpoints; None for those of the smallest bill.
        """
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
            "ckpt_hours": need.ckpt_gb / _DISK_WRITE_GB_S / SECONDS,
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
        if interval is None and need.step_seconds and need.step_seconds < hours * SECONDS:
            # Checkpoints fall on whole steps.
            step = need.step_seconds / SECONDS
            whole = min(max(round(cost.interval_hours / step), 1) * step, hours)
            cost = expected_cost(**inputs, interval_hours=whole)  # type: ignore[arg-type]
        return cost

    def row(self, offer: Offer, need: Need, cost: ExpectedCost | None) -> Ranked:
        """An offer with its bill, how far that can be off, and what drives it."""
        if cost is None:
            why = "ranked by its price: how long the run takes is unknown (max_steps, --hours)"
            return Ranked(offer, need, offer.nodes, why=why)
        # The interval is chosen before the rate is known, so it stays while the rate varies.
        chosen = cost.interval_hours
        third = self.bill(offer, need, rate_factor=1 / BAND, interval=chosen)
        thrice = self.bill(offer, need, rate_factor=BAND, interval=chosen)
        low = self.bill(offer, need, rate_factor=1 / BAND, hours=need.low_hours, interval=chosen)
        high = self.bill(
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
        steady = self.bill(offer._replace(spot=False, price_per_hour=equal), need)
        if steady is None:
            return None

        def gains(mean: float) -> bool:
            factor = self.terms.spot_loss_hours / mean
            cost = self.bill(offer, need, rate_factor=factor)
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
        from pytest_prime_train.memory.gpus import all_gpus
        from pytest_prime_train.memory.what_if import what_would_fit

        known = all_gpus()
        wanted = self.filters.gpu
        names = {offer.gpus[0] for offer in offers if not offer.reasons}
        if wanted is not None:
            names &= {wanted.id}
        short = [name for name in names if self.needs.of(name).verdict == "does-not-fit"]
        if not short or any(self.needs.of(name).verdict in ("fits", "tight") for name in names):
            return []
        card = max((known[name] for name in short), key=lambda gpu: (gpu.usable_gib, gpu.id))
        run = self.needs.run(card)
        return [f"on {card.id}: {fix}" for fix in what_would_fit(run, card)[:3]]

    def assumptions(self, ranked: Sequence[Ranked]) -> list[str]:
        """What was taken for granted, in sentences; of estimates that on the cheapest card."""
        if not ranked:
            return []
        terms = self.terms
        known = "; ".join(said for said in (terms.spot_from, terms.on_demand_from) if said)
        own = [
            f"a spot machine is lost every {terms.spot_loss_hours:.3g} h and an on-demand one "
            f"every {terms.on_demand_loss_hours:.3g} h"
            + (f", by {known}" if known else "")
            + (
                ""
                if terms.spot_from and terms.on_demand_from
                else "; nobody publishes this, so use your own (--spot-loss-hours, "
                "--on-demand-loss-hours)"
            ),
            f"{terms.restart_hours:g} billed h to start again and {terms.wait_hours:g} h to wait "
            "for a machine after each loss",
            f"checkpoints are written at {_DISK_WRITE_GB_S:g} GB/s, {_KEPT_CHECKPOINTS} of them "
            f"are kept beside {_OTHER_DISK_GB:g} GB, and each is uploaded once",
        ]
        if terms.hours is None and ranked[0].need.generation_seconds is None:
            own.append("a step takes as long as the trainer's own part; waiting is not in it")
        return [*own, *self.needs.notes(ranked[0].need.gpu)]


def _disk_gb(need: Need) -> float:
    return _OTHER_DISK_GB + _KEPT_CHECKPOINTS * need.ckpt_gb


def ends_early(offer: Offer, cost: ExpectedCost) -> bool:
    """Whether an offer cannot be had for as long as its run is expected to take."""
    lasts = offer.max_duration_hours
    return lasts is not None and lasts < cost.expected_wall_hours


def scaled(offer: Offer, need: Need) -> Offer:
    """A price for one card as a machine with as many as the config needs."""
    price = offer.price_per_hour
    count = max(need.gpus, 1)
    return offer._replace(gpu_count=count, price_per_hour=None if price is None else price * count)


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
