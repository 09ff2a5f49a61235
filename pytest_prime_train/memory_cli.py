"""``prime-train memory``: whether a config fits a GPU, what takes the memory, what would fit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_prime_train.checker import Options
from pytest_prime_train.findings import EXIT_CLEAN, EXIT_FINDINGS, UsageError
from pytest_prime_train.report.console import write

if TYPE_CHECKING:
    from pytest_prime_train.memory.judge import Judgement

_BAR_CHARACTERS = 40


def memory(
    path: Annotated[str, typer.Argument(metavar="CONFIG", help="TOML file")],
    gpu: Annotated[str, typer.Option(metavar="GPU", help="Such as H100-80GB or RTX4090-24GB")],
    num_gpus: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="GPUs of the trainer")
    ] = None,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="List changes after which it fits")
    ] = False,
    output: Annotated[str, typer.Option("--format", metavar="text|json")] = "text",
    root: Annotated[str | None, typer.Option(metavar="ROOT")] = None,
    version: Annotated[str | None, typer.Option("--prime-rl-version", metavar="VERSION")] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Ask the Hugging Face hub for an unknown model")
    ] = False,
) -> int:
    """Estimate memory and speed of a config on a GPU."""
    from pytest_prime_train.estimates import judge_memory

    if output not in ("text", "json"):
        raise UsageError(f"--format: {output!r} is neither text nor json")
    options = Options(root=root, version=version)
    judged = judge_memory(path, gpu, num_gpus=num_gpus, options=options, online=online)
    if output == "json":
        from json import dumps

        write(sys.stdout, dumps(judged.estimate.as_json(), indent=2) + "\n")
    else:
        write(sys.stdout, _render(judged, what_if=what_if))
    return EXIT_FINDINGS if judged.estimate.verdict == "does-not-fit" else EXIT_CLEAN


def _render(judged: Judgement, *, what_if: bool) -> str:
    estimate, card = judged.estimate, judged.card
    document = estimate.as_json()
    lines = [f"{card.id}, {card.usable_gib:.1f} GiB usable: {estimate.verdict}"]
    trainer = document["trainer"]
    if trainer is not None and estimate.trainer is not None:
        outside = trainer["components"]["context"]
        peak, low, high = (trainer[key] + outside for key in ("peak_gib", "low_gib", "high_gib"))
        lines += ["", f"trainer: {peak:.1f} GiB per GPU (between {low:.1f} and {high:.1f})"]
        for name, gib in sorted(trainer["components"].items(), key=lambda item: -item[1]):
            bar = "█" * round(_BAR_CHARACTERS * gib / card.usable_gib)
            lines.append(f"  {name:<22}{gib:8.2f} GiB  {bar}".rstrip())
    server = document["inference"]
    if server is not None:
        lines += [
            "",
            f"inference: weights {server['weights_gib']:.1f} GiB, KV cache of "
            f"{server['kv_cache_tokens']} tokens, {server['max_concurrency']:.1f} requests of full "
            "length at once",
        ]
    speed = document["throughput"]
    if speed is not None:
        lines += [
            "",
            f"speed: {speed['tokens_per_s_per_gpu']:.0f} tokens/s per GPU (between "
            f"{speed['low']:.0f} and {speed['high']:.0f})",
        ]
    if what_if or estimate.verdict in ("does-not-fit", "tight"):
        fixes = [*judged.fixes, *judged.serving_fixes]
        lines += ["", "what would fit:"] if fixes else []
        lines += [f"  {fix} ({fix.verdict})" for fix in fixes]
    if estimate.verdict == "does-not-fit":
        from pytest_prime_train.cost.needs import gpus_of
        from pytest_prime_train.presets.suggest import suggestion

        said = suggestion(judged.card.id, judged.run.root, gpus_of(judged.run))
        lines += ["", said] if said else []
    if estimate.unknown:
        lines += ["", *estimate.unknown]
    if estimate.assumptions:
        lines += ["", "taken for granted:", *(f"  {note}" for note in estimate.assumptions)]
    return "\n".join(lines) + "\n"
