"""``prime-train profile``: which half of a run is slow, what curing it brings, and how."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_prime_train.findings import EXIT_CLEAN, UsageError
from pytest_prime_train.report.console import write

if TYPE_CHECKING:
    from pytest_prime_train.profiler.api import Profile
    from pytest_prime_train.profiler.idle import Price

_FORMATS = ("text", "json", "html")


def profile(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN [OTHER]",
            help="A run's directory, its metrics.jsonl, a wandb-history.jsonl, a W&B run file or "
            "directory, or ENTITY/PROJECT/RUN of W&B's server; two to compare them",
        ),
    ],
    output: Annotated[str, typer.Option("--format", metavar="text|json|html")] = "text",
    to: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Write there instead")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The run's config; remedies are checked in it"),
    ] = None,
    patch: Annotated[
        bool, typer.Option("--patch", help="Print the remedies as a patch for the config")
    ] = False,
    gpu: Annotated[
        str | None, typer.Option(metavar="GPU", help="Such as H100-80GB, for memory and price")
    ] = None,
    price: Annotated[
        float | None,
        typer.Option("--usd-per-gpu-hour", metavar="USD", min=0.0, help="Price of a GPU"),
    ] = None,
    engine_metrics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|URL", help="Scrapes of an engine's /metrics, where W&B is missing"
        ),
    ] = None,
) -> int:
    """Say where a run's time goes, and which change of its config would bring more steps."""
    if output not in _FORMATS:
        raise UsageError(f"--format: {output!r} is none of {', '.join(_FORMATS)}")
    if len(sources) > 2:
        raise UsageError("at most two runs can be compared")
    if patch and (len(sources) > 1 or output != "text"):
        raise UsageError("--patch prints the patch of one run, and nothing else")
    from pytest_prime_train.profiler.api import profile as make

    cost = _price(price, gpu)
    made = [
        make(
            source,
            config=config,
            gpu=gpu,
            engine_metrics=(engine_metrics or ()) if number == 0 else (),
            price=cost,
        )
        for number, source in enumerate(sources)
    ]
    text = _patch_of(made[0]) if patch else _render(made, output)
    if to is None:
        write(sys.stdout, text)
    else:
        _write(to, text)
    return EXIT_CLEAN


def _render(made: list[Profile], output: str) -> str:
    from pytest_prime_train.profiler.text import render, render_comparison

    first = made[0].diagnosis
    if len(made) == 1:
        if output == "html":
            from pytest_prime_train.profiler.page import render_page

            return render_page(made[0])
        if output == "json":
            return _json(first.as_json())
        return render(first)
    if output == "html":
        raise UsageError("two runs are compared as text or json")
    from pytest_prime_train.profiler.compare import compare

    comparison = compare(made[0], made[1])
    return _json(comparison.as_json()) if output == "json" else render_comparison(comparison)


def _json(document: dict[str, object]) -> str:
    from json import dumps

    return dumps(document, indent=2, allow_nan=False) + "\n"


def _patch_of(made: Profile) -> str:
    if made.patch is None:
        if not made.diagnosis.remedies:
            raise UsageError(f"nothing to change: {made.diagnosis.verdict}")
        raise UsageError("--patch needs the run's TOML config: name it with --config")
    text = made.patch.diff()
    if not text:
        raise UsageError("none of the remedies can be written into the config as it is")
    return text


def _price(usd: float | None, gpu: str | None) -> Price | None:
    from pytest_prime_train.profiler.idle import Price, known_price

    if usd is not None:
        return Price(usd, "as given")
    return None if gpu is None else known_price(gpu)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, "utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--output: {path!r} cannot be written: {reason}") from error
