"""Offers of the catalogues that SkyPilot and gpuhunt keep, for ``prime-train find``.

Neither is needed: a catalogue that is not on this machine adds no source.

- SkyPilot writes ``~/.sky/catalogs/VERSION/CLOUD/vms.csv`` when it is first used. Its prices are
  per machine; ``SpotPrice`` is empty or 0 where it is unknown.
- gpuhunt reads CSV files from ``GPUHUNT_CATALOG_DIR``, and without it asks the network, which
  ``prime-train find --refresh`` alone does.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pytest_prime_train.cost.added import OfferSource
from pytest_prime_train.cost.offers import (
    Offer,
    SourceResult,
    catalogue_cards,
    now,
    price_of,
)
from pytest_prime_train.hookspecs import hookimpl


@hookimpl
def prime_offer_sources() -> dict[str, OfferSource]:
    """The catalogues that there are on this machine."""
    sources = {}
    if _sky_files():
        sources["skypilot"] = OfferSource(fetch_skypilot, online=False)
    if find_spec("gpuhunt") is not None:
        kept = bool(os.environ.get("GPUHUNT_CATALOG_DIR"))
        sources["gpuhunt"] = OfferSource(fetch_gpuhunt, online=not kept)
    return sources


def _sky_files() -> list[Path]:
    """The catalogue of each cloud, of the newest version that is there."""
    folder = Path(os.path.expanduser("~")) / ".sky" / "catalogs"
    newest: dict[str, Path] = {}
    for path in sorted(folder.glob("v*/*/vms.csv"), key=lambda one: (len(one.parts[-3]), one)):
        newest[path.parent.name] = path
    return list(newest.values())


def fetch_skypilot() -> SourceResult:
    """Machines with GPUs of every cloud whose catalogue is kept."""
    offers: list[Offer] = []
    notes: list[str] = []
    for path in _sky_files():
        fetched_at = _day(path)
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    offers += _sky_offers(path.parent.name, row, fetched_at)
        except (OSError, ValueError, csv.Error) as error:
            notes.append(f"{path.parent.name}: {error}")
    status = "ok" if not notes else "partial: a catalogue cannot be read"
    return SourceResult("skypilot", now(), status, offers, notes)


def _day(path: Path) -> str:
    """When a file was written: that is how old its prices are at least."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sky_offers(cloud: str, row: dict[str, str | None], fetched_at: str) -> Iterator[Offer]:
    name, machine = row.get("AcceleratorName") or "", row.get("InstanceType") or ""
    count = price_of(row.get("AcceleratorCount") or "")
    if not name or count is None or count != int(count):
        return
    cards = _sky_cards(name, row.get("GpuInfo") or "", int(count))
    for column, spot in (("Price", False), ("SpotPrice", True)):
        price = price_of(row.get(column) or "")
        if price is None:
            continue
        region = row.get("Region") or ""
        yield Offer(
            provider=cloud,
            upstream="",
            offer_id=f"{machine or name}/{region or 'any'}{'/spot' if spot else ''}",
            name=machine,
            gpu=None,
            gpu_name=name,
            gpu_count=int(count),
            price_per_hour=price,
            fetched_at=fetched_at,
            spot=spot,
            gpus=cards,
            region=region or None,
        )


def _sky_cards(name: str, told: str, count: int) -> tuple[str, ...]:
    """The cards that a row can mean; its memory is that of one in some clouds, of all in others."""
    cards = catalogue_cards("skypilot", name)
    for size in map(float, re.findall(r"InMiB\D{1,4}(\d{4,8})", told)):
        for mib in (size, size / count):
            cards = cards or catalogue_cards("skypilot", name, mib / 1024)
    return cards


def fetch_gpuhunt() -> SourceResult:
    """Machines with GPUs of the providers in gpuhunt's own catalogue."""
    kept = os.environ.get("GPUHUNT_CATALOG_DIR")
    catalogue = import_module("gpuhunt").Catalog(auto_reload=not kept)
    wanted = None
    fetched_at = now()
    if kept:
        files = sorted(Path(kept).glob("*.csv"))
        wanted = [path.stem for path in files]
        fetched_at = min((_day(path) for path in files), default=fetched_at)
    offers = []
    for item in catalogue.query(provider=wanted, min_gpu_count=1) if wanted != [] else []:
        name = item.gpu_name or ""
        offers.append(
            Offer(
                provider=item.provider,
                upstream="",
                offer_id=f"{item.instance_name}/{item.location}{'/spot' if item.spot else ''}",
                name=item.instance_name,
                gpu=None,
                gpu_name=name or "unnamed",
                gpu_count=item.gpu_count,
                price_per_hour=price_of(Decimal(str(item.price))),
                fetched_at=fetched_at,
                spot=item.spot,
                gpus=catalogue_cards("gpuhunt", name, item.gpu_memory),
                disk_included_gb=int(item.disk_size or 0),
                region=item.location or None,
            )
        )
    return SourceResult("gpuhunt", fetched_at, "ok", offers, [])
