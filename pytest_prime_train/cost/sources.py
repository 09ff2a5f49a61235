"""Where offers come from: the bundled prices, the local cache, and providers when asked to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from pytest_prime_train.cost.offers import Offer, SourceResult
from pytest_prime_train.cost.providers import snapshot

_FORMAT = 2
_ADDED = "prime_train"
"""Entry-point group of packages that add something: ``hookspecs.GROUP``, which is not loaded."""
_DECIMALS = frozenset(
    (
        "price_per_hour",
        "disk_price_gb_hour",
        "egress_price_gb",
        "ingress_price_gb",
        "interruptible_from",
    )
)
_TUPLES = frozenset(("gpus", "reasons"))


def offline_sources() -> list[SourceResult]:
    """What is known without the network.

    Returns:
        The cache, what other packages read from the disk, and the bundled prices of every
        provider that neither of the two has.
    """
    cached = read_cache()
    added = [fetch() for fetch in _added(online=False)]
    known = {result.name for result in cached}
    known |= {offer.provider for result in added for offer in result.offers}
    bundled = snapshot.fetch()
    others = [offer for offer in bundled.offers if offer.provider not in known]
    return [*cached, *added, bundled._replace(offers=others)]


def refresh() -> list[SourceResult]:
    """Ask every provider, keep what they said, and fall back to what is known of the others."""
    from pytest_prime_train.cost.providers import prime_intellect, vast

    live = [prime_intellect.fetch, vast.fetch, *_added(online=True)]
    asked = [fetch() for fetch in live]
    answered = [result for result in asked if result.offers]
    if answered:
        fresh = {result.name for result in answered}
        kept = [result for result in read_cache() if result.name not in fresh]
        write_cache([*answered, *kept])
    fresh_names = {result.name for result in answered}
    known = [result for result in offline_sources() if result.name not in fresh_names]
    return [*asked, *known]


def _added(*, online: bool) -> list[Callable[[], SourceResult]]:
    """Fetches of other packages; most installations have none, and need not load what asks them."""
    from importlib.metadata import entry_points

    if not entry_points(group=_ADDED):
        return []
    from pytest_prime_train.cost.added import added_sources

    return list(added_sources(online=online).values())


def cache_file() -> Path:
    """Where answers of providers are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "pytest-prime-train" / "offers.json"


def write_cache(results: list[SourceResult]) -> None:
    """Keep answers; where that is not possible, the next search has to ask again."""
    document = {
        "version": _FORMAT,
        "sources": [
            {
                "name": result.name,
                "fetched_at": result.fetched_at,
                "status": result.status,
                "offers": len(result.offers),
                "columns": _packed(result.offers),
            }
            for result in results
        ],
    }
    path = cache_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another process never reads half a file.
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
        part.replace(path)
    except OSError:
        return


def read_cache() -> list[SourceResult]:
    """What was kept; nothing where the file is missing, broken or another version's."""
    try:
        document = json.loads(cache_file().read_text(encoding="utf-8"))
        if document["version"] != _FORMAT:
            return []
        results = []
        for source in document["sources"]:
            name, moment, status = (str(source[key]) for key in ("name", "fetched_at", "status"))
            offers = _unpacked(source["columns"], source["offers"])
            results.append(SourceResult(name, moment, status, offers, []))
        return results
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return []


def _packed(offers: list[Offer]) -> dict[str, list[Any]]:
    """Offers by column: the different values of each, and which of them each offer has.

    Most columns have few values, so that of many offers little has to be read again.
    """
    columns = {}
    for name, values in zip(Offer._fields, zip(*offers, strict=True), strict=False):
        numbers: dict[Any, int] = {}
        places = [numbers.setdefault(value, len(numbers)) for value in values]
        known = [str(value) if isinstance(value, Decimal) else value for value in numbers]
        columns[name] = [known, places if len(known) > 1 else []]
    return columns


def _unpacked(columns: dict[str, Any], count: int) -> list[Offer]:
    """The offers of columns.

    Raises:
        ValueError: A column is missing or of another length.
    """
    if not count:
        return []
    unpacked = []
    for name in Offer._fields:
        known, places = columns[name]
        if name in _DECIMALS:
            known = [None if value is None else Decimal(value) for value in known]
        elif name in _TUPLES:
            known = [tuple(value) for value in known]
        if len(known) == 1:
            unpacked.append([known[0]] * count)
        else:
            unpacked.append([known[place] for place in places])
    return [Offer._make(values) for values in zip(*unpacked, strict=True)]
