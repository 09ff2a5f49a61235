"""Prime Intellect: GPU availability of many clouds behind one API.

Units of its answers: ``prices`` per hour of the whole configuration, ``disk.pricePerUnit`` per GB
and hour, ``gpuMemory`` in GB as vendors count, ``interconnect`` in Gbit/s.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pytest_prime_train.cost.offers import (
    NO_GPU,
    NOT_CUDA,
    PRICE_UNKNOWN,
    SOLD_OUT,
    UNKNOWN_GPU,
    OddItem,
    Offer,
    Parsed,
    count_of,
    decimal_of,
    is_cuda,
    now,
    number_of,
    price_of,
    prime_cards,
    shown,
    text_of,
    usable_gib,
)
from pytest_prime_train.cost.providers.http import Client, SourceError, SourceResult, clean_key

NAME = "prime"
_BASE = "https://api.primeintellect.ai"
_PAGE_SIZE = 100
# More pages than any answer has; totalCount alone must not decide when reading ends.
_MOST_PAGES = 400
_GPUS_PER_NODE = 8


def parse(items: Any, *, multi_node: bool = False, fetched_at: str = "") -> Parsed:
    """Offers of an answer's ``items``.

    Args:
        items: The list.
        multi_node: Whether it comes from the endpoint of clusters.
        fetched_at: When it was received.
    """
    if not isinstance(items, list):
        return Parsed([], [f"items is {shown(items)}, not a list"])
    offers, odd = [], []
    for index, item in enumerate(items):
        name = text_of(item.get("cloudId")) if isinstance(item, dict) else ""
        try:
            offers.append(_offer(item, multi_node, fetched_at or now()))
        except OddItem as error:
            odd.append(f"item {index}{f' ({name})' if name else ''}: {error}")
    return Parsed(offers, odd)


def _offer(item: Any, multi_node: bool, fetched_at: str) -> Offer:
    if not isinstance(item, dict):
        raise OddItem(f"it is {shown(item)}, not an offer")
    name = text_of(item.get("cloudId"))
    if not name:
        raise OddItem("it has no cloudId")
    gpu_type = text_of(item.get("gpuType"))
    if not gpu_type:
        raise OddItem("it has no gpuType")
    prices = item.get("prices")
    if not isinstance(prices, dict):
        raise OddItem(f"prices is {shown(prices)}")
    disk = item.get("disk")
    if not isinstance(disk, dict):
        disk = {}
    count = count_of(item, "gpuCount")
    socket = text_of(item.get("socket"))
    cards = prime_cards(gpu_type, socket, number_of(item.get("gpuMemory"))) if count else ()
    community = prices.get("communityPrice")
    price = price_of(prices.get("onDemand") if community is None else community)
    currency = text_of(prices.get("currency")) or "USD"
    stock = text_of(item.get("stockStatus")) or "Available"
    spot = item.get("isSpot") is True
    included = number_of(disk.get("defaultCount")) if disk.get("defaultIncludedInPrice") else None
    place = text_of(item.get("dataCenter"))
    reasons = []
    if price is None:
        reasons.append(PRICE_UNKNOWN)
    if stock == "Unavailable":
        reasons.append(SOLD_OUT)
    if not count:
        reasons.append(NO_GPU)
    elif not cards:
        reasons.append(UNKNOWN_GPU)
    elif not is_cuda(cards):
        reasons.append(NOT_CUDA)
    if currency != "USD":
        reasons.append(f"currency {currency}")
    return Offer(
        provider=NAME,
        upstream=text_of(item.get("provider")),
        # cloudId alone is shared by data centres, counts and kinds of use.
        offer_id=f"{name}/{place or '-'}/{count}{'/spot' if spot else ''}",
        name=name,
        gpu=cards[0] if len(cards) == 1 else None,
        gpu_name=f"{gpu_type} {socket}".strip(),
        gpu_count=count,
        price_per_hour=price,
        fetched_at=fetched_at,
        spot=spot,
        currency=currency,
        gpus=cards,
        vram_gib_per_gpu=usable_gib(cards),
        nodes=max(1, -(-count // _GPUS_PER_NODE)) if multi_node else 1,
        multi_node=multi_node,
        internode_gbit=number_of(item.get("interconnect")),
        nvlink=socket.startswith("SXM") if socket else None,
        disk_price_gb_hour=decimal_of(disk.get("pricePerUnit")),
        disk_included_gb=int(included or 0),
        country=text_of(item.get("country")) or None,
        region=text_of(item.get("region")) or None,
        min_charge_hours=number_of(item.get("prepaidTime")) or 0.0,
        stock=stock,
        # Community clouds are no unverified hosts: each is a company that the broker took on.
        verified=None,
        price_may_change=prices.get("isVariable") is True,
        reasons=tuple(reasons),
    )


def fetch(client: Client | None = None) -> SourceResult:
    """All offers, single machines and clusters.

    Returns:
        What came; where a page failed, what came before it, and the status says so.
    """
    fetched_at = now()
    offers: list[Offer] = []
    notes: list[str] = []
    failures: list[str] = []
    answered = False
    try:
        caller = client or _client()
    except SourceError as error:
        return SourceResult(NAME, fetched_at, f"failed: {error}", [], [])
    with caller:
        for path, clusters in (("gpus", False), ("multi-node", True)):
            try:
                for items in _pages(caller, path):
                    answered = True
                    parsed = parse(items, multi_node=clusters, fetched_at=fetched_at)
                    offers += parsed.offers
                    notes += parsed.odd
            except SourceError as error:
                failures.append(f"{path}: {error}")
                if error.final:
                    break
    status = "ok"
    if failures:
        status = f"{'partial' if answered else 'failed'}: {'; '.join(failures)}"
    return SourceResult(NAME, fetched_at, status, offers, notes)


def _client() -> Client:
    key = api_key()
    if not key:
        raise SourceError("no key: set PRIME_API_KEY, or log in with prime's own command")
    return Client(NAME, _base(), key)


def _pages(client: Client, path: str) -> Any:
    seen = 0
    for page in range(1, _MOST_PAGES + 1):
        query = {"page": str(page), "page_size": str(_PAGE_SIZE)}
        answer = client.get_json(f"/api/v1/availability/{path}", query)
        if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
            raise SourceError(f"page {page} has no list of items")
        items = answer["items"]
        yield items
        seen += len(items)
        total = number_of(answer.get("totalCount"))
        # An empty page ends it, whatever totalCount promises.
        if not items or total is None or seen >= total:
            return


def api_key() -> str:
    """The key of Prime Intellect's own tools; ``""`` where there is none.

    Raises:
        SourceError: It has characters that no key has.
    """
    key = os.environ.get("PRIME_API_KEY") or _stored("api_key")
    return clean_key(key, "PRIME_API_KEY or ~/.prime/config.json")


def _base() -> str:
    base = (
        os.environ.get("PRIME_API_BASE_URL")
        or os.environ.get("PRIME_BASE_URL")
        or _stored("base_url")
        or _BASE
    )
    return base.rstrip("/").removesuffix("/api/v1")


def _stored(name: str) -> str:
    """A value of the tools' config file, which is only ever read."""
    folder = Path(os.path.expanduser("~")) / ".prime"
    config = _read(folder / "config.json")
    context = os.environ.get("PRIME_CONTEXT") or config.get("current_environment")
    if isinstance(context, str) and context != "production" and context.isidentifier():
        config = {**config, **_read(folder / "environments" / f"{context}.json")}
    value = config.get(name)
    return value if isinstance(value, str) else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
