"""What becomes of providers' answers: every example offer, and answers that are wrong."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_prime_train.cost.offers import Offer, Parsed, decimal_of, loads, price_of
from pytest_prime_train.cost.providers import prime_intellect, vast

FETCHED = "2026-11-24T12:00:00Z"


def parse(path: Path) -> Parsed:
    answer = loads(path.read_text(encoding="utf-8"))
    if path.name.startswith("prime"):
        clusters = "multi_node" in path.name
        return prime_intellect.parse(answer["items"], multi_node=clusters, fetched_at=FETCHED)
    return vast.parse(answer, bid="_bid" in path.name, fetched_at=FETCHED)


@pytest.fixture(scope="module")
def examples(shared: Path) -> Path:
    return shared / "cost" / "examples"


@pytest.fixture(scope="module")
def mapped(examples: Path) -> list[tuple[Offer, dict[str, Any]]]:
    expected = json.loads((examples / "expected_offers.json").read_text())["offers"]
    parsed = {name: parse(examples / name) for name in {one["file"] for one in expected}}
    assert [one.odd for one in parsed.values() if one.odd] == []
    return [(parsed[one["file"]].offers[one["index"]], one) for one in expected]


def test_every_example_is_mapped(mapped: list[tuple[Offer, dict[str, Any]]]) -> None:
    assert len(mapped) == 44
    assert sum(offer.rankable for offer, _ in mapped) == 33
    same = ("provider", "spot", "gpu_count", "currency", "country", "stock", "disk_included_gb")
    other = ("multi_node", "rankable", "reliability", "max_duration_hours", "min_charge_hours")
    for offer, expected in mapped:
        for name in (*same, *other):
            assert getattr(offer, name) == expected[name], (name, expected)
        assert list(offer.reasons) == expected["reasons"]
        wanted = expected["gpu"]
        assert (offer.gpu if not isinstance(wanted, list) else list(offer.gpus)) == wanted
        for name in ("price_may_change", "upstream", "region", "internode_gbit"):
            if name in expected and expected["provider"] == "prime":
                assert getattr(offer, name) == expected[name], (name, expected)
        for name in (
            "vram_gib_per_gpu",
            "price_per_hour",
            "price_per_gpu_hour",
            "disk_price_gb_hour",
            "egress_price_gb",
            "interruptible_from",
        ):
            value, wanted = getattr(offer, name), expected.get(name)
            if name == "interruptible_from" and expected["provider"] == "prime":
                continue
            assert (value is None) == (wanted is None), (name, expected)
            assert value is None or float(value) == pytest.approx(wanted, abs=1e-6), expected
        identity = offer.name if expected["provider"] == "prime" else int(offer.offer_id)
        assert identity == expected["offer"]
        if "machine" in expected:
            assert offer.machine == str(expected["machine"])


def test_offers_are_told_apart(mapped: list[tuple[Offer, dict[str, Any]]]) -> None:
    ids = [(offer.provider, offer.offer_id, offer.spot) for offer, _ in mapped]
    assert len(ids) == len(set(ids))


def test_prices_are_exact_decimals(mapped: list[tuple[Offer, dict[str, Any]]]) -> None:
    prices = {offer.name: offer.price_per_hour for offer, _ in mapped if offer.provider == "prime"}
    assert str(prices["ex-h200-8"]) == "21.344"
    assert all(isinstance(price, Decimal) for price in prices.values() if price is not None)


def test_odd_items_are_reported_by_name() -> None:
    good = {
        "cloudId": "good",
        "gpuType": "H100_80GB",
        "socket": "SXM5",
        "gpuCount": 8,
        "prices": {"onDemand": "16.6"},
    }
    parsed = prime_intellect.parse([good, {**good, "cloudId": "bad", "gpuCount": "eight"}, 7])
    assert [offer.name for offer in parsed.offers] == ["good"]
    assert parsed.odd == [
        "item 1 (bad): gpuCount is 'eight'",
        "item 2: it is 7, not an offer",
    ]


@pytest.mark.parametrize("value", ["Contact us", "1e3", "NaN", "-1", "", True, None, [], -1.0])
def test_what_is_no_price(value: object) -> None:
    assert decimal_of(value) is None


@pytest.mark.parametrize("value", [0, 0.0, "0.00", Decimal(0)])
def test_nothing_is_free(value: object) -> None:
    assert price_of(value) is None


def json_values() -> st.SearchStrategy[Any]:
    numbers = st.one_of(
        st.integers(),
        st.integers(min_value=10**400, max_value=10**5000),
        st.floats(),
        st.decimals(allow_nan=False),
    )
    simple = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=20))
    return st.recursive(simple, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


def spoiled(items: list[dict[str, Any]]) -> st.SearchStrategy[list[Any]]:
    """Example items of which keys are missing or have values of any kind."""

    @st.composite
    def build(draw: st.DrawFn) -> Any:
        item = dict(draw(st.sampled_from(items)))
        for key in draw(st.lists(st.sampled_from(sorted(item)), max_size=4)):
            if draw(st.booleans()):
                item.pop(key, None)
                continue
            old = item.get(key)
            if isinstance(old, dict) and old and draw(st.booleans()):
                item[key] = {**old, draw(st.sampled_from(sorted(old))): draw(json_values())}
            else:
                item[key] = draw(json_values())
        return item

    return st.lists(st.one_of(build(), json_values()), max_size=5)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_answer_of_prime_raises(examples: Path, data: st.DataObject) -> None:
    items = loads((examples / "prime_availability.json").read_text())["items"]
    answer = data.draw(st.one_of(spoiled(items), json_values()))
    check(prime_intellect.parse(answer, multi_node=data.draw(st.booleans())), answer)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_answer_of_vast_raises(examples: Path, data: st.DataObject) -> None:
    items = loads((examples / "vast_bundles.json").read_text())["offers"]
    offers = data.draw(st.one_of(spoiled(items), json_values()))
    check(vast.parse({"offers": offers}, bid=data.draw(st.booleans())), offers)


def check(parsed: Parsed, answer: Any) -> None:
    """Each item is an offer or odd, and what can be ranked has a card and a price."""
    items = len(answer) if isinstance(answer, list) else 1
    assert len(parsed.offers) + len(parsed.odd) == items
    for offer in parsed.offers:
        if offer.rankable:
            assert offer.gpus
            assert offer.price_per_hour
            assert offer.gpu_count > 0


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_anything_is_json_or_a_value_error(content: bytes) -> None:
    try:
        loads(content)
    except ValueError:
        return


def test_nesting_without_end_is_no_json() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        loads("[" * 200_000)
