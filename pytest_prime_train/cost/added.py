"""Sources of offers that other packages add through the hook ``prime_offer_sources``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from pytest_prime_train.cost.offers import (
    NOT_CUDA,
    PRICE_UNKNOWN,
    UNKNOWN_GPU,
    Offer,
    SourceResult,
    is_cuda,
    now,
    text_of,
    usable_gib,
)
from pytest_prime_train.memory.gpus import all_gpus

OWN_NAMES = frozenset(("prime", "vast", "snapshot"))
_MOST_OFFERS = 1_000_000
_MOST_NOTES = 20


class OfferSource(NamedTuple):
    """A source of offers.

    Attributes:
        fetch: Gives what it offers; may raise anything, which is shown as its status.
        online: Whether it uses the network, and so is asked only where that is allowed.
    """

    fetch: Callable[[], SourceResult]
    online: bool = True


def added_sources(*, online: bool) -> dict[str, Callable[[], SourceResult]]:
    """Fetches of the sources of installed packages, each of which never raises.

    Args:
        online: Those that use the network, or those that do not.

    Returns:
        By name; a package that cannot be used is a source that says so.
    """
    from pytest_prime_train.hookspecs import added

    packages = added()
    found: dict[str, Callable[[], SourceResult]] = {}
    for package, sources in packages.call("prime_offer_sources").items():
        for name, source in _sources(package, sources):
            if isinstance(source, str):
                found[name] = _failing(name, source)
            elif source.online == online:
                found[name] = _guarded(name, source)
    if not online:
        for package, why in packages.broken.items():
            found.setdefault(package, _failing(package, f"the package cannot be used: {why}"))
    return found


def _sources(package: str, given: Any) -> Iterator[tuple[str, OfferSource | str]]:
    """The sources of a package, or what is wrong with them."""
    if not isinstance(given, dict):
        yield package, f"prime_offer_sources gave {type(given).__name__}, not a dict of sources"
        return
    for key, source in given.items():
        name = text_of(key)
        if not name or name in OWN_NAMES:
            yield f"{package}/{name}", f"{name!r} is no name that a source can have"
        elif not isinstance(source, OfferSource) or not callable(source.fetch):
            yield name, f"it is {type(source).__name__}, not an OfferSource"
        else:
            yield name, source


def _failing(name: str, why: str) -> Callable[[], SourceResult]:
    return lambda: SourceResult(name, now(), f"failed: {text_of(why)}", [], [])


def _guarded(name: str, source: OfferSource) -> Callable[[], SourceResult]:
    def fetch() -> SourceResult:
        try:
            result = source.fetch()
            if not isinstance(result, SourceResult):
                raise TypeError(f"it gave {type(result).__name__}, not a SourceResult")
            checked = list(_checked(result))
        except Exception as error:  # code of other packages, which can raise anything
            why = text_of(f"{type(error).__name__}: {error}")
            return SourceResult(name, now(), f"failed: {why}", [], [])
        offers = [offer for offer in checked if isinstance(offer, Offer)]
        odd = [note for note in checked if isinstance(note, str)]
        notes = [text_of(note) for note in [*result.notes, *odd] if text_of(note)]
        return SourceResult(
            name, text_of(result.fetched_at), text_of(result.status) or "ok", offers, notes
        )

    return fetch


def _checked(result: SourceResult) -> Iterator[Offer | str]:
    """Each offer as the ranking can rely on it, or what is wrong with it."""
    odd = 0
    for index, offer in enumerate(result.offers):
        if index >= _MOST_OFFERS:
            yield f"only the first {_MOST_OFFERS} offers are taken"
            return
        wrong = _wrong(offer)
        if not wrong:
            yield _known(offer)
            continue
        odd += 1
        if odd <= _MOST_NOTES:
            yield f"offer {index}: {wrong}"


def _wrong(offer: Any) -> str:
    if not isinstance(offer, Offer):
        return f"it is {type(offer).__name__}, not an Offer"
    for name in ("provider", "offer_id", "gpu_name", "fetched_at"):
        if not isinstance(getattr(offer, name), str) or not getattr(offer, name):
            return f"{name} has to be text"
    for name in ("gpu_count", "nodes"):
        value = getattr(offer, name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 1_000_000:
            return f"{name} has to be a whole number above 0"
    for name in ("price_per_hour", "disk_price_gb_hour", "egress_price_gb", "ingress_price_gb"):
        value = getattr(offer, name)
        if value is not None and not (
            isinstance(value, Decimal) and value.is_finite() and value >= 0
        ):
            return f"{name} has to be a Decimal of at least 0, or None"
    return ""


def _known(offer: Offer) -> Offer:
    """The offer with the reasons why it cannot be ranked, whether or not its source knows them."""
    known = all_gpus()
    cards = tuple(card for card in offer.gpus if card in known)
    reasons = list(offer.reasons)
    if not offer.price_per_hour and PRICE_UNKNOWN not in reasons:
        reasons.append(PRICE_UNKNOWN)
    if not cards and UNKNOWN_GPU not in reasons:
        reasons.append(UNKNOWN_GPU)
    elif cards and not is_cuda(cards) and NOT_CUDA not in reasons:
        reasons.append(NOT_CUDA)
    if offer.currency != "USD" and not any("currency" in reason for reason in reasons):
        reasons.append(f"currency {text_of(offer.currency)}")
    return offer._replace(
        price_per_hour=offer.price_per_hour or None,
        gpu=cards[0] if len(cards) == 1 else None,
        gpus=cards,
        vram_gib_per_gpu=usable_gib(cards),
        reasons=tuple(reasons),
    )
