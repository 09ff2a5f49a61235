"""Offers sorted once, for many configs that are each asked for their cheapest ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from pytest_prime_train.cost.find import Search, ends_early, scaled
from pytest_prime_train.cost.losses import own_terms
from pytest_prime_train.cost.offers import Offer, SourceResult
from pytest_prime_train.memory.gpus import all_gpus

_TRIED_KINDS = 8
_TRIED_OFFERS = 3


class Market:
    """Offers of one session, by kind of machine.

    Attributes:
        sources: Where they come from.
        terms: What is taken for granted about losses.
    """

    def __init__(self, sources: Sequence[SourceResult]) -> None:
        self.sources = list(sources)
        self.terms = own_terms()
        known = all_gpus()
        kinds: dict[tuple[str, int, int, bool], list[tuple[Decimal, int, Offer]]] = {}
        steady: dict[tuple[str, int], Decimal] = {}
        number = 0
        for source in self.sources:
            for offer in source.offers:
                price = offer.price_per_hour
                if offer.reasons or price is None:
                    continue
                card = offer.gpus[0]
                number += 1
                kind = (card, offer.gpu_count, offer.nodes, offer.per_gpu)
                kinds.setdefault(kind, []).append((price, number, offer))
                if not offer.spot:
                    per_card = price / offer.gpu_count
                    key = (card, 0 if offer.per_gpu else offer.gpu_count)
                    steady[key] = min(per_card, steady.get(key, per_card))
        self._steady = steady
        # What a machine's arithmetic costs tells which kinds are worth trying first.
        self._kinds = [
            [offer for _, _, offer in sorted(offers)[:_TRIED_OFFERS]]
            for _, _, offers in sorted(
                (
                    float(min(offers)[0]) / (count * (known[card].bf16_tflops or 1.0)),
                    (card, count, nodes, per_gpu),
                    offers,
                )
                for (card, count, nodes, per_gpu), offers in kinds.items()
            )
        ]

    def has_within(self, search: Search, budget: float, cards: set[str]) -> bool:
        """Whether one of the offers that are likely to be cheap stays within a budget.

        Args:
            search: The config.
            budget: USD for the completed run.
            cards: Cards that it may use; none stand for all.

        Returns:
            True where one does; False says nothing about the other offers.
        """
        tried = 0
        for offers in self._kinds:
            if cards and cards.isdisjoint(offers[0].gpus):
                continue
            need = search.needs.of(offers[0].gpus[0])
            if need.verdict not in ("fits", "tight"):
                continue
            for offer in self._takeable(search, offers):
                cost = search.bill(offer, need)
                if cost is None:
                    return False
                if cost.expected_total <= budget and not ends_early(offer, cost):
                    return True
            tried += 1
            if tried >= _TRIED_KINDS:
                return False
        return False

    def _takeable(self, search: Search, offers: list[Offer]) -> Iterator[Offer]:
        """Offers that the ranking would take as well."""
        for offer in offers:
            if search.unfit(offer):
                continue
            if offer.per_gpu:
                offer = scaled(offer, search.needs.of(offer.gpus[0]))
            if offer.spot and self._is_dear(offer):
                continue
            yield offer

    def _is_dear(self, offer: Offer) -> bool:
        """Whether on-demand machines of the same kind cost no more than spot."""
        price = offer.price_per_gpu_hour
        for key in ((offer.gpus[0], offer.gpu_count), (offer.gpus[0], 0)):
            steady = self._steady.get(key)
            if price is None or (steady is not None and price >= steady):
                return True
        return False
