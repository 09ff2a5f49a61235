"""One neutral model of an offer of hardware, and how providers' names become known cards."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from pytest_prime_train.memory.gpus import all_gpus

PRICE_UNKNOWN = "price unknown"
SOLD_OUT = "sold out"
TAKEN = "taken"
NO_GPU = "no GPU"
UNKNOWN_GPU = "unknown GPU"
NOT_CUDA = "not CUDA"
NOT_VERIFIED = "not verified (default filter)"

_TOLERANCE = 0.07
# Beyond this a number is an error of the source, not a price of a machine.
_DEAREST = Decimal(1_000_000)
_NAME_CHARACTERS = 80


class Offer(NamedTuple):
    """Hardware that can be rented.

    Attributes:
        provider: ``prime``, ``vast`` or another source's name.
        upstream: Who owns the machines where the provider is a broker; ``""`` elsewhere.
        offer_id: What tells it from all other offers of its provider.
        name: What the provider calls it.
        gpu: The card's id, such as ``H100-80GB-SXM``; None where no known card is called so.
        gpu_name: The card's name at the provider.
        gpu_count: Cards of the whole offer, all nodes together.
        price_per_hour: For the whole offer; None where unknown.
        fetched_at: When the price was read or observed, ISO 8601 in UTC.
        spot: Whether the machine can be taken away at any time.
        currency: Of all prices of the offer.
        gpus: Every card that the name can mean; more than one where only the edition is open.
        vram_gib_per_gpu: Usable memory of the smallest of those cards.
        nodes: Machines of the offer.
        multi_node: Whether it is a cluster.
        internode_gbit: Network between its machines, Gbit/s.
        nvlink: Whether its cards are joined by NVLink; None where unknown.
        disk_price_gb_hour: For disk beyond what is included; None where unknown.
        disk_included_gb: Disk that the price includes.
        egress_price_gb: For traffic out of it; None where unknown.
        ingress_price_gb: For traffic into it.
        country: Two letters.
        region: As the provider names it.
        reliability: From 0 to 1.
        max_duration_hours: How long it can be had at most.
        min_charge_hours: Hours that are charged at least.
        stock: As the provider names it.
        verified: Whether the provider vouches for the host; None where it has no such mark.
        price_may_change: Whether the price can change after the order.
        machine: The machine's own id where it is known; several offers can share one.
        interruptible_from: What the cheapest interruptible use of an on-demand offer costs.
        per_gpu: Whether it is no machine but a price for one card, which any count multiplies.
        reasons: Why it is not ranked; empty where it is.
    """

    provider: str
    upstream: str
    offer_id: str
    name: str
    gpu: str | None
    gpu_name: str
    gpu_count: int
    price_per_hour: Decimal | None
    fetched_at: str
    spot: bool = False
    currency: str = "USD"
    gpus: tuple[str, ...] = ()
    vram_gib_per_gpu: float | None = None
    nodes: int = 1
    multi_node: bool = False
    internode_gbit: float | None = None
    nvlink: bool | None = None
    disk_price_gb_hour: Decimal | None = None
    disk_included_gb: int = 0
    egress_price_gb: Decimal | None = None
    ingress_price_gb: Decimal | None = None
    country: str | None = None
    region: str | None = None
    reliability: float | None = None
    max_duration_hours: float | None = None
    min_charge_hours: float = 0.0
    stock: str = "Available"
    verified: bool | None = None
    price_may_change: bool = False
    machine: str | None = None
    interruptible_from: Decimal | None = None
    per_gpu: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def rankable(self) -> bool:
        """Whether it can be ranked."""
        return not self.reasons

    @property
    def price_per_gpu_hour(self) -> Decimal | None:
        """For one of its cards."""
        if self.price_per_hour is None or not self.gpu_count:
            return None
        return self.price_per_hour / self.gpu_count


class SourceResult(NamedTuple):
    """What a source gave.

    Attributes:
        name: The source.
        fetched_at: When, ISO 8601 in UTC; of a snapshot its day.
        status: ``ok``, or ``partial`` or ``failed`` with the reason.
        offers: What it offers.
        notes: Items that could not be read, and other things to know.
    """

    name: str
    fetched_at: str
    status: str
    offers: list[Offer]
    notes: list[str]


class Parsed(NamedTuple):
    """What became of a provider's answer.

    Attributes:
        offers: One for each item that could be read.
        odd: What is wrong with each of the others, by their names.
    """

    offers: list[Offer]
    odd: list[str]


class OddItem(Exception):
    """An item of an answer that is no offer; the message says what is wrong with it."""


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def loads(text: str | bytes) -> Any:
    """JSON with exact decimals.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=lambda _: None)
    except (RecursionError, InvalidOperation) as error:
        raise ValueError("nested too deep, or a number out of range") from error


def decimal_of(value: Any) -> Decimal | None:
    """A price: a number, or a text that is one. None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*\d{1,12}(\.\d{1,30})?\s*", value):
        return None
    try:
        number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() and 0 <= number <= _DEAREST else None


def price_of(value: Any) -> Decimal | None:
    """The price of a machine, which is never 0."""
    number = decimal_of(value)
    return number if number else None


def number_of(value: Any) -> float | None:
    """A quantity from 0."""
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        if not 0 <= value <= 1e15:
            return None
        return float(value)
    return None


def count_of(item: dict[str, Any], key: str) -> int:
    """A whole number that the item has to have.

    Raises:
        OddItem: It has none.
    """
    value = item.get(key)
    number = number_of(value)
    if number is None or number != int(number) or number > 1_000_000:
        raise OddItem(f"{key} is {shown(value)}")
    return int(number)


def text_of(value: Any) -> str:
    """A text of the source on one line and of bounded length; ``""`` for everything else."""
    if not isinstance(value, str):
        return ""
    text: str = value
    if not text.isascii() or not text.isprintable():
        # A pattern of such ranges takes milliseconds to compile.
        text = "".join(one if _is_shown(one) else "?" for one in text)
    return text.strip()[:_NAME_CHARACTERS]


def _is_shown(character: str) -> bool:
    return " " <= character <= "~" or "\u00a0" <= character <= "\uffff"


def shown(value: Any) -> str:
    """A wrong value as a message shows it."""
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return repr(text_of(value))
    # Python refuses to print integers of thousands of digits.
    return "out of range" if isinstance(value, int) and abs(value) > 10**30 else str(value)[:40]


class _Aliases(NamedTuple):
    prime: dict[str, list[str]]
    vast: dict[str, list[str]]
    memory: dict[str, tuple[int, float]]
    catalogues: dict[str, dict[str, list[str]]]


@cache
def _aliases() -> _Aliases:
    text = (files(__package__) / "data" / "aliases.json").read_text(encoding="utf-8")
    data = json.loads(text)
    memory = {name: (mib, float(nominal)) for name, (mib, nominal) in data["memory"].items()}
    return _Aliases(data["prime"], data["vast"], memory, data["catalogues"])


def prime_cards(gpu_type: str, socket: str, memory_gb: float | None) -> tuple[str, ...]:
    """The known cards that Prime Intellect means by a type and a socket."""
    return _prime_cards(gpu_type, socket, memory_gb or 0.0)


def vast_cards(name: str, memory_mib: float | None) -> tuple[str, ...]:
    """The known cards that Vast.ai means by a name, decided by the memory."""
    return _vast_cards(name, memory_mib or 0.0)


def catalogue_cards(catalogue: str, name: str, memory_gb: float | None = None) -> tuple[str, ...]:
    """The known cards that a catalogue means by a name, for sources that other packages add.

    Args:
        catalogue: ``skypilot`` or ``gpuhunt``, whose names differ.
        name: As it stands there.
        memory_gb: Memory of one card in GB as vendors count, or in GiB; None where unknown.

    Returns:
        The slowest first; several where only the edition is open, none where the memory is.
    """
    aliases = _aliases()
    found = aliases.catalogues.get(catalogue, {}).get(name.strip().lower(), [])
    cards = [card for card in found if _has_gb(aliases.memory[card], memory_gb or 0.0)]
    sizes = [aliases.memory[card][1] for card in cards]
    if sizes and not _near(max(sizes), min(sizes)):
        return ()
    known = all_gpus()
    return tuple(sorted(cards, key=lambda card: (known[card].bf16_tflops or 0.0, card)))


@cache
def _prime_cards(gpu_type: str, socket: str, memory_gb: float) -> tuple[str, ...]:
    aliases = _aliases()
    found = aliases.prime.get(f"{gpu_type}|{socket}", [])
    return tuple(name for name in found if _has_gb(aliases.memory[name], memory_gb))


@cache
def _vast_cards(name: str, memory_mib: float) -> tuple[str, ...]:
    aliases = _aliases()
    found = aliases.vast.get(name.replace("_", " ").strip().lower(), [])
    # Without its memory a name that several cards share says nothing.
    if not memory_mib:
        return tuple(found) if len(found) == 1 else ()
    return tuple(card for card in found if _near(memory_mib, aliases.memory[card][0]))


def _has_gb(memory: tuple[int, float], asked: float) -> bool:
    mib, nominal = memory
    return not asked or _near(asked, nominal) or _near(asked, mib / 1024)


def _near(one: float, other: float) -> bool:
    return abs(one - other) < _TOLERANCE * other


def usable_gib(cards: Sequence[str]) -> float | None:
    """Usable memory of the smallest of the cards."""
    known = all_gpus()
    return min((known[name].usable_gib for name in cards), default=None)


def is_cuda(cards: Sequence[str]) -> bool:
    """Whether all of the cards run CUDA."""
    known = all_gpus()
    return all(known[name].cuda for name in cards)
