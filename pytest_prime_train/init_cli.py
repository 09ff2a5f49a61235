"""``prime-train init``: a first config that was checked before it is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pytest_prime_train.findings import EXIT_CLEAN, EXIT_FINDINGS, UsageError
from pytest_prime_train.report.console import clean, complain, write

if TYPE_CHECKING:
    from pytest_prime_train.presets.wizard import Answers, Draft

T = TypeVar("T")


def init(
    path: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="File to write; rl.toml or sft.toml")
    ] = None,
    root: Annotated[
        str | None, typer.Option(metavar="rl|sft", help="What to train with; rl by default")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Such as Qwen/Qwen3-4B-Instruct-2507")
    ] = None,
    env: Annotated[
        str | None, typer.Option(metavar="ID", help="Environment to train in, for rl")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data set to train on, for sft")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="GPU", help="Such as H100-80GB or RTX4090-24GB")
    ] = None,
    num_gpus: Annotated[
        int | None, typer.Option(metavar="N", help="GPUs of the machine, 1 to 8")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Take a preset's machine and settings")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Steps of the run")] = None,
    seq_len: Annotated[
        int | None, typer.Option(metavar="TOKENS", min=16, help="As many as fit by default")
    ] = None,
    lora: Annotated[
        bool | None,
        typer.Option("--lora/--no-lora", help="Train an adapter; by default where it has to be"),
    ] = None,
    renderer: Annotated[
        str, typer.Option(metavar="NAME", help="For a model that none goes with by itself")
    ] = "",
    run_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the run and of its W&B project")
    ] = None,
    output_dir: Annotated[
        str, typer.Option(metavar="DIR", help="Where prime-rl is to write")
    ] = "outputs",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: what is not given is as proposed")
    ] = False,
    output: Annotated[str, typer.Option("--format", metavar="text|json")] = "text",
    version: Annotated[str | None, typer.Option("--prime-rl-version", metavar="VERSION")] = None,
) -> int:
    """Write a config for a model, a task and a machine; asks for what is not given."""
    from pytest_prime_train.checker import Checker, Options
    from pytest_prime_train.presets import wizard

    if output not in ("text", "json"):
        raise UsageError(f"--format: {output!r} is neither text nor json")
    asks = not yes and sys.stdin is not None and sys.stdin.isatty()
    ask = _Asking(asks)
    # A path that cannot be written is told before any question.
    if path is not None:
        _require_free(path)
    chosen = None if preset is None else wizard.known_preset(preset)
    if chosen is not None:
        root = _same("--root", root, chosen.root)
        gpu = _same("--gpu", None if gpu is None else wizard.usable_card(gpu).id, chosen.gpu)
        if num_gpus not in (None, chosen.gpus):
            raise UsageError(f"--num-gpus: preset {chosen.name} is for {chosen.gpus} GPUs")
        num_gpus = chosen.gpus
        if seq_len not in (None, chosen.seq_len) or lora not in (None, bool(chosen.lora_rank)):
            raise UsageError(f"--preset: {chosen.name} settles --seq-len and --lora itself")
    program = ask("What to train with, rl or sft", "rl", root, wizard.known_root)
    card = ask("GPU", wizard.DEFAULT_GPU, gpu, wizard.usable_card)
    count = ask(
        "GPUs in the machine",
        str(wizard.usual_count(card, program)),
        None if num_gpus is None else str(num_gpus),
        lambda text: wizard.known_count(text, program),
    )
    proposed = chosen.model if chosen else wizard.usual_model(card, program, count)
    name = ask("Model", proposed, model, lambda text: wizard.known_text("--model", text))
    option, given, other = ("--env", env, data) if program == "rl" else ("--data", data, env)
    if other is not None:
        raise UsageError(f"{'--data is for sft' if program == 'rl' else '--env is for rl'}")
    task = ask(
        "Environment" if program == "rl" else "Data set",
        wizard.DEFAULT_TASKS[program],
        given,
        lambda text: wizard.known_text(option, text),
    )
    length = ask(
        "Steps", str(wizard.DEFAULT_STEPS), None if steps is None else str(steps), _known_steps
    )
    called = ask(
        "Name of the run", wizard.usual_run_name(task, name), run_name, wizard.known_run_name
    )
    place = ask("File to write", f"{program}.toml", path, _require_free)
    answers = wizard.Answers(
        root=program,
        card=card,
        gpus=count,
        model=name,
        task=task,
        steps=length,
        run_name=called,
        output_dir=wizard.known_text("--output-dir", output_dir),
        seq_len=seq_len,
        lora=lora,
        preset=chosen,
        renderer=renderer and wizard.known_text("--renderer", renderer),
    )
    # The project that the file will belong to decides how it is judged.
    folder = os.path.dirname(os.path.abspath(place))
    checker = Checker(Options(root=program, version=version, baseline=""), folder)
    try:
        drafted = wizard.draft(answers, place, checker)
    except wizard.DoesNotFit as error:
        complain("prime-train", str(error))
        return EXIT_FINDINGS
    _create(place, drafted.text)
    if output == "json":
        from json import dumps

        write(sys.stdout, dumps(_document(place, answers, drafted), indent=2) + "\n")
    else:
        write(sys.stdout, _summary(place, answers, drafted))
    return EXIT_CLEAN


class _Asking:
    """Gives what was given, asks for the rest where there is somebody, and else proposes."""

    def __init__(self, asks: bool) -> None:
        self.asks = asks

    def __call__(
        self, question: str, proposed: str, given: str | None, known: Callable[[str], T]
    ) -> T:
        if given is not None:
            return known(given)
        while self.asks:
            text = _line(f"{question} [{clean(proposed)}]: ") or proposed
            try:
                return known(text)
            except UsageError as error:
                write(sys.stderr, f"{clean(str(error))}\n")
        return known(proposed)


def _line(question: str) -> str:
    """What is answered; questions are no part of the answer on standard output.

    Raises:
        Abort: Nobody answers any more.
    """
    write(sys.stderr, question)
    answer = sys.stdin.readline()
    if not answer:
        write(sys.stderr, "\n")
        raise typer.Abort
    return answer.strip()


def _same(option: str, given: str | None, settled: str) -> str:
    if given not in (None, settled):
        raise UsageError(f"{option}: the preset is for {settled}")
    return settled


def _known_steps(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10_000_000:
        raise UsageError(f"--steps: {text!r} is no number of steps")
    return int(text)


def _require_free(path: str) -> str:
    """The path, if a file can be written there that nobody loses anything by.

    Raises:
        UsageError: There is something already, or it is no name of a config.
    """
    if "\0" in path or not path.endswith(".toml"):
        raise UsageError(f"{clean(path)}: the config has to be a file that ends in .toml")
    if os.path.lexists(path):
        raise UsageError(f"{clean(path)}: there is such a file already; it is left as it is")
    return path


def _create(path: str, text: str) -> None:
    from pytest_prime_train.config.atomic import NotWritten, create

    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{clean(folder)}: {error.strerror or error}") from error
    try:
        create(path, text.encode())
    except NotWritten as error:
        raise UsageError(f"{clean(path)}: {error}") from error


def _document(path: str, answers: Answers, drafted: Draft) -> dict[str, object]:
    wishes = drafted.wishes
    return {
        "version": 1,
        "path": path,
        "written": True,
        "root": wishes.root,
        "model": wishes.model,
        "gpu": answers.card.id,
        "gpus": answers.gpus,
        "train_gpus": wishes.train_gpus,
        "infer_gpus": wishes.infer_gpus,
        "seq_len": wishes.seq_len,
        "lora_rank": wishes.lora_rank,
        "run_name": wishes.run_name,
        "preset": drafted.preset or None,
        "evidence": wishes.evidence,
        "verdict": drafted.verdict,
        "notes": drafted.notes,
        "findings": [
            {"id": one.id, "severity": one.severity, "message": one.message, "key": one.key}
            for one in drafted.findings
        ],
    }


def _summary(path: str, answers: Answers, drafted: Draft) -> str:
    wishes = drafted.wishes
    split = f"{wishes.train_gpus} train"
    split += f" and {wishes.infer_gpus} generate" if wishes.infer_gpus else ""
    how = "all weights" if wishes.lora_rank is None else f"LoRA of rank {wishes.lora_rank}"
    lines = [
        f"wrote {clean(path)}: {wishes.model} on {answers.gpus} x {answers.card.id}, {split}, "
        f"{wishes.seq_len} tokens, {how}",
        f"memory: {drafted.verdict} ({wishes.evidence})",
        *drafted.notes,
        *(f"{one.severity} {one.id}: {clean(one.message)}" for one in drafted.findings),
        f"next: prime-train validate {clean(path)}; "
        f"prime-train find {clean(path)} for where it costs least",
    ]
    return "\n".join(lines) + "\n"
