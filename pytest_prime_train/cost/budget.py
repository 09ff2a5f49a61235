"""Whether the completed run of a config stays within a budget. Imported where one was given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pytest_prime_train.config.resolve import Config
from pytest_prime_train.cost.find import Search, find_offers
from pytest_prime_train.cost.found import Filters, Ranked, age_days
from pytest_prime_train.cost.market import Market
from pytest_prime_train.cost.offers import Offer
from pytest_prime_train.findings import Problem, UsageError
from pytest_prime_train.memory.gpus import Gpu

BUDGET_ID = "cost-budget"
_ALL = Filters()


class Bill(NamedTuple):
    """A config against a budget.

    Attributes:
        problems: That it is exceeded; nothing where it is not, or cannot be told.
        unknown: What cannot be told; ``""`` where everything can.
    """

    problems: list[Problem]
    unknown: str


def known_budget(text: str, source: str) -> float:
    """The USD that a user wrote.

    Raises:
        UsageError: It is no amount above 0.
    """
    from pytest_prime_train.cost.offers import price_of

    amount = price_of(text)
    if amount is None:
        raise UsageError(f"{source}: {text!r} is no amount of USD above 0")
    return float(amount)


def judge_budget(
    config: Config,
    budget: float,
    cards: Iterable[Gpu],
    market: Market,
    *,
    path: str = "",
) -> Bill:
    """Compare the expected bill on a run's own cards with a budget.

    Args:
        config: The resolved config.
        budget: USD at most.
        cards: Cards that the run may use; none stand for every card on offer.
        market: The offers.
        path: The config's file.
    """
    own = {card.id for card in cards}
    # Most configs stay within it, and one offer is enough to know.
    if market.has_within(Search(config, _ALL, market.terms, path), budget, own):
        return Bill([], "")
    sources, terms = market.sources, market.terms
    found = find_offers(config, sources, terms=terms, path=path, limit=1)
    fitting = found.ranked
    if own and not (fitting and fitting[0].need.gpu in own):
        ours = [
            source._replace(offers=[offer for offer in source.offers if _uses(offer, own)])
            for source in sources
        ]
        fitting = find_offers(config, ours, terms=terms, path=path, limit=1).ranked
    where = " or ".join(sorted(own)) or "any GPU"
    if not fitting:
        reason = next((row.reason for row in found.rejected if not own or row.gpu in own), "")
        return Bill(
            [], f"no offer with {where} is known that fits{f': {reason}' if reason else ''}"
        )
    best = fitting[0]
    if best.cost is None:
        return Bill([], "how long the run takes is unknown, so its bill is as well")
    total = best.cost.expected_total
    if total <= budget:
        return Bill([], "")
    key = config.trainer.home("max_steps")
    message = (
        f"the completed run is expected to cost ${total:.2f}{_band(best)} on {_name(best)}, "
        f"${total - budget:.2f} over the budget of ${budget:.2f} "
        f"(price of {best.offer.fetched_at[:10]}{_age(best)})"
    )
    cheapest = found.ranked[0]
    if cheapest is not best and cheapest.cost is not None:
        cure = f"Take {_name(cheapest)}, expected to cost ${cheapest.cost.expected_total:.2f}"
        over = cheapest.cost.expected_total > budget
        cure += ", which is over the budget as well." if over else "."
    else:
        steps = config.steps or 0
        fits = int(steps * budget / total)
        cure = f"Nothing cheaper fits; about {fits} of the {steps} steps are within the budget."
    return Bill([Problem(key, message, cure, id=BUDGET_ID, severity="error")], "")


def _uses(offer: Offer, cards: set[str]) -> bool:
    return not cards.isdisjoint(offer.gpus)


def _name(row: Ranked) -> str:
    kind = "spot" if row.offer.spot else "on-demand"
    return f"{row.offer.gpu_count} x {row.need.gpu} {kind} at {row.offer.provider}"


def _band(row: Ranked) -> str:
    if row.low_usd is None or row.high_usd is None:
        return ""
    return f" (between ${row.low_usd:.2f} and ${row.high_usd:.2f})"


def _age(row: Ranked) -> str:
    days = age_days(row.offer.fetched_at)
    return "" if days is None else f", {days} days old"
