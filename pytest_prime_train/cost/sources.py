"""Where offers come from: the bundled prices, the local cache, and providers when asked to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from pytest_prime_train.cost.offers import Offer
from pytest_prime_train.cost.providers import prime_intellect, snapshot, vast
from pytest_prime_train.cost.providers.http import SourceResult

_FORMAT = 1
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
_LIVE: dict[str, Callable[[], SourceResult]] = {
    prime_intellect.NAME: prime_intellect.fetch,
    vast.NAME: vast.fetch,
}


def offline_sources() -> list[SourceResult]:
    """What is known without the network: the cache, and bundled prices of all other providers."""
    cached = read_cache()
    known = {result.name for result in cached}
    bundled = snapshot.fetch()
    others = [offer for offer in bundled.offers if offer.provider not in known]
    return [*cached, bundled._replace(offers=others)]


def refresh() -> list[SourceResult]:
    """Ask every provider, keep what they said, and fall back to what is known of the others."""
    asked = [fetch() for fetch in _LIVE.values()]
    answered = [result for result in asked if result.offers]
    if answered:
        fresh = {result.name for result in answered}
        kept = [result for result in read_cache() if result.name not in fresh]
        write_cache([*answered, *kept])
    fresh_names = {result.name for result in answered}
    known = [result for result in offline_sources() if result.name not in fresh_names]
    return [*asked, *known]


def cache_file() -> Path:
    """Where answers of providers are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "pytest-prime-train" / "offers.json"


def write_cache(results: list[SourceResult]) -> None:
    """Keep answers; where that is not possible, the next search has to ask again."""
    document = {
        "version": _FORMAT,
        "columns": list(Offer._fields),
        "sources": [
            {
                "name": result.name,
                "fetched_at": result.fetched_at,
                "status": result.status,
                "offers": [[_plain(value) for value in offer] for offer in result.offers],
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
        if document["version"] != _FORMAT or document["columns"] != list(Offer._fields):
            return []
        results = []
        for source in document["sources"]:
            name, moment, status = (str(source[key]) for key in ("name", "fetched_at", "status"))
            offers = [_offer(values) for values in source["offers"]]
            results.append(SourceResult(name, moment, status, offers, []))
        return results
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return []


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


def _offer(values: list[Any]) -> Offer:
    for index, name in enumerate(Offer._fields):
        if name in _DECIMALS and values[index] is not None:
            values[index] = Decimal(values[index])
        elif name in _TUPLES:
            values[index] = tuple(values[index])
    return Offer(*values)
