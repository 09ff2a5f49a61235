"""Vast.ai: machines of many hosts, on demand or to be bid for.

Units of its answers: ``dph_total`` and ``min_bid`` per hour of the whole offer, ``storage_cost``
per GB and month, ``gpu_ram`` in MiB, ``duration`` in seconds.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from pytest_prime_train.cost.expected import HOURS_PER_MONTH
from pytest_prime_train.cost.offers import (
    NO_GPU,
    NOT_CUDA,
    NOT_VERIFIED,
    PRICE_UNKNOWN,
    TAKEN,
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
    shown,
    text_of,
    usable_gib,
    vast_cards,
)
from pytest_prime_train.cost.providers.http import Client, SourceError, SourceResult, clean_key

NAME = "vast"
ALLOCATED_GB = 5
"""Disk that a search prices into every offer."""

_BASE = "https://console.vast.ai"
_LIMIT = 5000
# What is returned without an account, whatever limit was asked for.
_SILENT_LIMIT = 64
_MONTH = Decimal(int(HOURS_PER_MONTH))
_COUNTRY = re.compile(r"[A-Z]{2}")


def parse(answer: Any, *, bid: bool = False, fetched_at: str = "") -> Parsed:
    """Offers of an answer.

    Args:
        answer: The whole answer, or its list of offers.
        bid: Whether it answers a search for interruptible machines.
        fetched_at: When it was received.
    """
    items = answer.get("offers") if isinstance(answer, dict) else answer
    if not isinstance(items, list):
        return Parsed([], [f"offers is {shown(items)}, not a list"])
    offers, odd = [], []
    for index, item in enumerate(items):
        try:
            offers.append(_offer(item, bid, fetched_at or now()))
        except OddItem as error:
            name = shown(item["id"]) if isinstance(item, dict) and "id" in item else ""
            odd.append(f"offer {index}{f' ({name})' if name else ''}: {error}")
    return Parsed(offers, odd)


def _offer(item: Any, bid: bool, fetched_at: str) -> Offer:
    if not isinstance(item, dict):
        raise OddItem(f"it is {shown(item)}, not an offer")
    identity = item.get("id")
    if isinstance(identity, bool) or not isinstance(identity, (int, str)) or identity == "":
        raise OddItem("it has no id")
    gpu_name = text_of(item.get("gpu_name"))
    if not gpu_name:
        raise OddItem("it has no gpu_name")
    count = count_of(item, "num_gpus")
    cards = vast_cards(gpu_name, number_of(item.get("gpu_ram"))) if count else ()
    storage = decimal_of(item.get("storage_cost"))
    lowest = price_of(item.get("min_bid"))
    price = price_of(item.get("dph_total"))
    if bid:
        price = None if lowest is None else lowest + _storage(item, storage)
    free = item.get("rentable") is not False and item.get("rented") is not True
    verified = item.get("verification") == "verified" or item.get("verified") is True
    reasons = []
    if price is None:
        reasons.append(PRICE_UNKNOWN)
    if not free:
        reasons.append(TAKEN)
    if not count:
        reasons.append(NO_GPU)
    elif not cards:
        reasons.append(UNKNOWN_GPU)
    elif not is_cuda(cards):
        reasons.append(NOT_CUDA)
    if not verified:
        reasons.append(NOT_VERIFIED)
    seconds = number_of(item.get("duration"))
    region, country = _place(item.get("geolocation"))
    machine = item.get("machine_id")
    nvlink = number_of(item.get("bw_nvlink"))
    return Offer(
        provider=NAME,
        upstream="",
        offer_id=shown(identity).strip("'"),
        name=gpu_name,
        gpu=cards[0] if len(cards) == 1 else None,
        gpu_name=gpu_name,
        gpu_count=count,
        price_per_hour=price,
        fetched_at=fetched_at,
        spot=bid,
        gpus=cards,
        vram_gib_per_gpu=usable_gib(cards),
        nvlink=None if nvlink is None else nvlink > 0,
        disk_price_gb_hour=None if storage is None else storage / _MONTH,
        disk_included_gb=ALLOCATED_GB,
        egress_price_gb=decimal_of(item.get("inet_up_cost")),
        ingress_price_gb=decimal_of(item.get("inet_down_cost")),
        country=country,
        region=region,
        reliability=_share(item.get("reliability2", item.get("reliability"))),
        max_duration_hours=None if seconds is None else seconds / 3600,
        stock="Available" if free else "Unavailable",
        verified=verified,
        machine=None if machine is None else shown(machine).strip("'"),
        interruptible_from=lowest,
        reasons=tuple(reasons),
    )


def _storage(item: dict[str, Any], storage: Decimal | None) -> Decimal:
    """The disk's part of an hour's price, which comes on top of a bid."""
    told = decimal_of(item.get("storage_total_cost"))
    if told is not None:
        return told
    return Decimal(0) if storage is None else storage * ALLOCATED_GB / _MONTH


def _share(value: Any) -> float | None:
    number = number_of(value)
    return number if number is not None and number <= 1 else None


def _place(value: Any) -> tuple[str | None, str | None]:
    """Region and country of "Region, CC"; either can be missing."""
    parts = [part.strip() for part in text_of(value).split(",")]
    country = next((part for part in parts[1:] if _COUNTRY.fullmatch(part)), None)
    return parts[0] or None, country


def fetch(client: Client | None = None) -> SourceResult:
    """Offers on demand and to be bid for, of verified hosts and others, which are not ranked.

    Returns:
        What came; where one of the two searches failed, what the other found.
    """
    fetched_at = now()
    offers: list[Offer] = []
    notes: list[str] = []
    failures: list[str] = []
    answered = False
    try:
        caller = client or Client(NAME, os.environ.get("VAST_URL") or _BASE, api_key())
    except SourceError as error:
        return SourceResult(NAME, fetched_at, f"failed: {error}", [], [])
    with caller:
        for kind in ("on-demand", "bid"):
            # Filters are few: what a search does not know it drops, so all is checked again here.
            query = {
                "type": kind,
                "rentable": {"eq": True},
                "verified": {"eq": True},
                "order": [["dph_total", "asc"]],
                "limit": _LIMIT,
                "allocated_storage": float(ALLOCATED_GB),
            }
            try:
                answer = caller.post_json("/api/v0/bundles/", query)
                if not isinstance(answer, dict) or not isinstance(answer.get("offers"), list):
                    raise SourceError("the answer has no list of offers")
            except SourceError as error:
                failures.append(f"{kind}: {error}")
                if error.final:
                    break
                continue
            answered = True
            parsed = parse(answer, bid=kind == "bid", fetched_at=fetched_at)
            offers += parsed.offers
            notes += parsed.odd
            if len(answer["offers"]) in (_SILENT_LIMIT, _LIMIT):
                notes.append(f"{kind}: the answer has as many offers as one can have, so some lack")
    status = "ok"
    if failures:
        status = f"{'partial' if answered else 'failed'}: {'; '.join(failures)}"
    return SourceResult(NAME, fetched_at, status, offers, notes)


def api_key() -> str:
    """The key of Vast.ai's own tools; ``""`` where there is none, which a search does not need.

    Raises:
        SourceError: It has characters that no key has.
    """
    key = os.environ.get("VAST_API_KEY", "")
    if not key:
        home = Path(os.path.expanduser("~"))
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        for path in (settings / "vastai" / "vast_api_key", home / ".vast_api_key"):
            try:
                key = path.read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue
            break
    return clean_key(key, "VAST_API_KEY or vast_api_key")
