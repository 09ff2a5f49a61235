"""Prices that come with the package, each with the day it was observed on: works offline."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from pytest_prime_train.cost.offers import (
    NOT_CUDA,
    UNKNOWN_GPU,
    Offer,
    SourceResult,
    is_cuda,
    usable_gib,
)
from pytest_prime_train.memory.gpus import all_gpus

NAME = "snapshot"


def fetch() -> SourceResult:
    """The newest bundled price of each provider, card, kind of use and count."""
    data = _data()
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for values in data["rows"]:
        row = dict(zip(data["columns"], values, strict=True))
        key = (row["provider"], row["gpu"], row["mode"], row["gpus"])
        if key not in newest or row["observed_at"] > newest[key]["observed_at"]:
            newest[key] = row
    offers = [_offer(row) for row in newest.values()]
    days = sorted(offer.fetched_at for offer in offers)
    note = f"collected on {data['about']['as_of']}; the oldest price was observed in {days[0]}"
    return SourceResult(NAME, days[-1], "ok", offers, [note])


@cache
def _data() -> dict[str, Any]:
    folder = files("pytest_prime_train.cost") / "data"
    data: dict[str, Any] = json.loads(
        (folder / "snapshot.json").read_text(encoding="utf-8"), parse_float=Decimal
    )
    return data


def _offer(row: dict[str, Any]) -> Offer:
    cards = (row["gpu"],) if row["gpu"] in all_gpus() else ()
    count = row["gpus"] or 1
    reasons = () if cards and is_cuda(cards) else (NOT_CUDA if cards else UNKNOWN_GPU,)
    spot = row["mode"] == "spot"
    # "verda (datacrunch)" and the like: the note behind the name is the source's.
    provider = row["provider"].partition(" (")[0]
    return Offer(
        provider=provider,
        upstream=row["upstream"] or "",
        offer_id=f"{NAME}/{row['gpu']}/{row['gpus'] or 'any'}{'/spot' if spot else ''}",
        name=row["gpu"],
        gpu=row["gpu"] if cards else None,
        gpu_name=row["gpu"],
        gpu_count=count,
        price_per_hour=Decimal(row["usd_per_gpu_hour"]) * count,
        fetched_at=row["observed_at"],
        spot=spot,
        gpus=cards,
        vram_gib_per_gpu=usable_gib(cards),
        nodes=max(1, -(-count // 8)),
        multi_node=count > 8,
        per_gpu=row["gpus"] is None,
        reasons=reasons,
    )
