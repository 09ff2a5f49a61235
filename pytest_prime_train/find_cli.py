"""``prime-train find``: the cheapest hardware a config fits on, by the bill of the finished run."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_prime_train.checker import Options, load_config
from pytest_prime_train.findings import EXIT_CLEAN, EXIT_FINDINGS, UsageError
from pytest_prime_train.report.console import write

if TYPE_CHECKING:
    from pytest_prime_train.cost.found import Found, Ranked
    from pytest_prime_train.cost.splits import Split

_REASONS = 12


def find(
    path: Annotated[str, typer.Argument(metavar="CONFIG", help="TOML file")],
    max_price: Annotated[
        str | None, typer.Option(metavar="USD", help="Per hour of the whole offer at most")
    ] = None,
    gpu: Annotated[str | None, typer.Option(metavar="GPU", help="Only this GPU")] = None,
    spot: Annotated[
        bool | None, typer.Option("--spot/--on-demand", help="Only one of the two kinds")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this provider, or owner behind it")
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="Only this country (US) or region")
    ] = None,
    min_reliability: Annotated[
        float | None, typer.Option(metavar="SHARE", min=0, max=1, help="Such as 0.98")
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask Prime Intellect and Vast.ai for today's offers")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="Rows; 0 for all")] = 20,
    hours: Annotated[
        float | None, typer.Option(metavar="H", help="Hours of work as measured, on every GPU")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Steps instead of the config's own")
    ] = None,
    spot_loss_hours: Annotated[
        float | None,
        typer.Option(
            metavar="H", help="Mean hours until a spot machine is lost; your own runs tell, or 8"
        ),
    ] = None,
    on_demand_loss_hours: Annotated[
        float | None,
        typer.Option(
            metavar="H", help="Mean hours until an on-demand machine fails; likewise, or 720"
        ),
    ] = None,
    output: Annotated[str, typer.Option("--format", metavar="text|json")] = "text",
    root: Annotated[str | None, typer.Option(metavar="ROOT")] = None,
    version: Annotated[str | None, typer.Option("--prime-rl-version", metavar="VERSION")] = None,
) -> int:
    """Rank the offers that a config fits by what its completed run costs."""
    from pytest_prime_train.cost.find import find_offers
    from pytest_prime_train.cost.found import Filters
    from pytest_prime_train.cost.losses import own_terms
    from pytest_prime_train.cost.offers import price_of
    from pytest_prime_train.cost.sources import offline_sources
    from pytest_prime_train.cost.sources import refresh as ask
    from pytest_prime_train.memory.judge import known_card

    if output not in ("text", "json"):
        raise UsageError(f"--format: {output!r} is neither text nor json")
    most: Decimal | None = None
    if max_price is not None and (most := price_of(max_price)) is None:
        raise UsageError(f"--max-price: {max_price!r} is no amount of USD")
    for name, value in (
        ("--hours", hours),
        ("--spot-loss-hours", spot_loss_hours),
        ("--on-demand-loss-hours", on_demand_loss_hours),
    ):
        if value is not None and not 0 < value < 1e9:
            raise UsageError(f"{name}: {value} is no number of hours above 0")
    filters = Filters(
        max_price=most,
        gpu=None if gpu is None else known_card(gpu),
        spot=spot,
        provider=provider,
        region=region,
        min_reliability=min_reliability,
    )
    terms = own_terms(
        spot_loss_hours=spot_loss_hours, on_demand_loss_hours=on_demand_loss_hours
    )._replace(hours=hours, steps=steps)
    config = load_config(path, Options(root=root, version=version))
    sources = ask() if refresh else offline_sources()
    found = find_offers(config, sources, filters=filters, terms=terms, path=path, limit=limit)
    if output == "json":
        from json import dumps

        write(sys.stdout, dumps(found.as_json(), indent=2) + "\n")
    else:
        write(sys.stdout, _render(found))
    return EXIT_CLEAN if found.ranked else EXIT_FINDINGS


def _render(found: Found) -> str:
    from pytest_prime_train.cost.found import age_days

    lines: list[str] = []
    if found.ranked:
        lines.append(f"{found.fitting} offers fit; the cheapest completed runs:")
        for rank, row in enumerate(found.ranked, 1):
            lines += _lines(rank, row, age_days(row.offer.fetched_at))
        for split in found.splits:
            lines += _split_lines(split)
    else:
        lines.append("no offer fits")
        lines += [f"  would fit {fix}" for fix in found.fixes]
    if found.rejected:
        lines += ["", "not ranked:"]
        lines += [f"  {row.offers} x {row.gpu}: {row.reason}" for row in found.rejected[:_REASONS]]
        left = len(found.rejected) - _REASONS
        lines += [f"  and {left} more reasons (--format json)"] if left > 0 else []
    lines += ["", "prices from:"]
    for source in found.sources:
        days = age_days(source.fetched_at)
        age = "" if days is None else f", {days} days old"
        lines.append(f"  {source.name} of {source.fetched_at}{age}: {source.status}")
        lines += [f"    {note}" for note in source.notes[:_REASONS]]
    lines += ["", "taken for granted:", *(f"  {note}" for note in found.assumptions)]
    return "\n".join(lines) + "\n"


def _split_lines(split: Split) -> list[str]:
    now, then = split.now, split.then
    lines = [
        "",
        f"a faster split of {split.gpus} x {split.gpu}: {' and '.join(split.edits)}",
        f"     a step takes {then.step_seconds:.0f} s instead of {now.step_seconds:.0f} s: "
        f"training {then.trainer_seconds:.0f} s on {then.train_gpus}, generation "
        f"{then.generation_seconds:.0f} s on {then.infer_gpus} (now {now.trainer_seconds:.0f} s on "
        f"{now.train_gpus}, {now.generation_seconds:.0f} s on {now.infer_gpus})",
    ]
    if now.usd is not None and then.usd is not None:
        lines.append(
            f"     the completed run is expected to cost ${then.usd:.2f} instead of ${now.usd:.2f}"
        )
    return lines


def _lines(rank: int, row: Ranked, age: int | None) -> list[str]:
    offer = row.offer
    kind = "spot" if offer.spot else "on-demand"
    owner = f"{offer.provider}/{offer.upstream}" if offer.upstream else offer.provider
    price = f"${offer.price_per_hour:.2f}/h, price of {offer.fetched_at[:10]}"
    if age is not None:
        price += f", {age} days old"
    head = f"{rank:>3}. {offer.gpu_count} x {row.need.gpu} {kind} at {owner} ({offer.offer_id})"
    if row.cost is None:
        return [f"{head}: {price}", f"     {row.why}"]
    bill = f"${row.cost.expected_total:.2f}"
    if row.low_usd is not None and row.high_usd is not None:
        bill += f" (${row.low_usd:.2f} to ${row.high_usd:.2f})"
    minutes = row.cost.interval_hours * 60
    lines = [
        f"{head}: {bill}",
        f"     {price}; {row.cost.expected_wall_hours:.1f} h; checkpoint every {minutes:.0f} min",
        f"     {row.why}",
    ]
    if offer.spot and row.at_third is not None and row.at_thrice is not None:
        lines.append(
            f"     a third of the losses ${row.at_third:.2f}, as assumed "
            f"${row.cost.expected_total:.2f}, three times the losses ${row.at_thrice:.2f}; "
            + (
                "no equal on-demand offer is known to break even with"
                if row.break_even_loss_hours is None
                else f"breaks even with on-demand at a loss every {row.break_even_loss_hours:.1f} h"
            )
        )
    return lines
