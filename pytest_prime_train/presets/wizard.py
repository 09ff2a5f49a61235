"""From what a user wants to train to a config that was checked: what ``prime-train init`` does."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from pytest_prime_train.checker import Checker
from pytest_prime_train.config.document import Document
from pytest_prime_train.findings import Finding, UsageError
from pytest_prime_train.memory.gpus import Gpu
from pytest_prime_train.models.facts import Unknown
from pytest_prime_train.models.find import find
from pytest_prime_train.presets.choose import settings_for
from pytest_prime_train.presets.facts import Preset, all_presets, excluded, nearest, presets_of
from pytest_prime_train.presets.text import VERSIONS, Wishes, config_text
from pytest_prime_train.schema.versions import NEWEST

ROOTS = ("rl", "sft")
DEFAULT_GPU = "H100-80GB"
DEFAULT_STEPS = 500
# The smallest of prime-rl's own examples, for who only wants to see a run.
DEFAULT_TASKS = {
    "rl": "reverse-text",
    "sft": "willcb/R1-reverse-wikipedia-paragraphs-v1-1000",
}

# An rl run can take the model's own chat template; sft has to know which tokens to train on.
_NO_RENDERER = "rule-orch-renderer-auto"
_NO_TYPED_RENDERER = "rule-sft-typed-renderer"
_MOST_GPUS = 8
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Answers(NamedTuple):
    """What a user wants.

    Attributes:
        root: ``rl`` or ``sft``.
        card: The card.
        gpus: How many of them, in one machine.
        model: Hub name or path.
        task: In ``rl`` the environment, in ``sft`` the data set.
        steps: Optimizer steps.
        run_name: Name of the run.
        output_dir: Where prime-rl writes.
        seq_len: Tokens of a sequence; None for as many as fit.
        lora: Whether an adapter is trained; None where only memory decides.
        preset: The preset to start from; None for settings of the answers' own.
        renderer: What turns messages into tokens; ``""`` for what goes with the model.
    """

    root: str
    card: Gpu
    gpus: int
    model: str
    task: str
    steps: int
    run_name: str
    output_dir: str
    seq_len: int | None = None
    lora: bool | None = None
    preset: Preset | None = None
    renderer: str = ""


class Draft(NamedTuple):
    """A config to be written.

    Attributes:
        text: The config.
        wishes: What it is made of.
        preset: The preset that its settings are; ``""`` where they were worked out.
        verdict: ``fits``, or ``unknown`` where nothing can be told of the model.
        notes: What the user should know.
        findings: What the checks say of it, infos included.
    """

    text: str
    wishes: Wishes
    preset: str
    verdict: str
    notes: list[str]
    findings: tuple[Finding, ...]


class DoesNotFit(Exception):
    """The model cannot be trained on the machine, with what could be instead."""


def known_root(text: str) -> str:
    """The program that a user means.

    Raises:
        UsageError: It is neither ``rl`` nor ``sft``.
    """
    if text not in ROOTS:
        raise UsageError(f"--root: {text!r} is neither rl nor sft")
    return text


def usable_card(name: str) -> Gpu:
    """The card that a user means, if prime-rl can train on it.

    Raises:
        UsageError: None is called so, or it lacks what prime-rl needs.
    """
    from pytest_prime_train.memory.judge import known_card

    card = known_card(name)
    without = excluded().get(card.id)
    if without is not None:
        raise UsageError(f"--gpu: prime-rl cannot train there: {without.reason}")
    return card


def known_count(value: str | int, root: str) -> int:
    """The number of cards that a user means.

    Raises:
        UsageError: It is none that one machine has, or too few for the program.
    """
    try:
        count = int(value)
    except ValueError:
        count = 0
    least = 2 if root == "rl" else 1
    if not least <= count <= _MOST_GPUS:
        why = ": the trainer and vLLM need one each" if count == 1 else ""
        raise UsageError(f"--num-gpus: {value} is not between {least} and {_MOST_GPUS}{why}")
    return count


def known_preset(name: str) -> Preset:
    """The preset that a user means.

    Raises:
        UsageError: None is called so.
    """
    found = all_presets().get(name)
    if found is None:
        from pytest_prime_train.schema.suggest import did_you_mean

        raise UsageError(
            f"--preset: none is called {name!r}{did_you_mean(name, list(all_presets()))}"
        )
    return found


def known_run_name(text: str) -> str:
    """The name of a run, which becomes the name of a folder.

    Raises:
        UsageError: It cannot be one.
    """
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"--run-name: {text!r} is no name of a run: letters, digits, '.', '_' and '-'"
        )
    return text


def known_text(option: str, text: str) -> str:
    """A value that stands in the config as it is.

    Raises:
        UsageError: It is empty, or has characters that cannot be seen.
    """
    if not text.strip() or not text.isprintable() or len(text) > 500:
        raise UsageError(f"{option}: {text[:40]!r} is empty, too long or not printable")
    return text.strip()


def usual_count(card: Gpu, root: str) -> int:
    """The largest machine of a card that there is a preset for."""
    preset = nearest(card.id, root)
    return preset.gpus if preset is not None else max(*card.gpus_per_node, 2)


def usual_model(card: Gpu, root: str, gpus: int) -> str:
    """The model of a machine's preset."""
    preset = nearest(card.id, root, gpus)
    return preset.model if preset is not None else "Qwen/Qwen3-0.6B"


def usual_run_name(task: str, model: str) -> str:
    """A name out of the task and the model."""
    parts = [part.rsplit("/", 1)[-1] for part in (task, model)]
    text = re.sub(r"[^a-z0-9.]+", "-", "-".join(parts).lower()).strip("-.")
    return text[:60].strip("-.") or "run"


def draft(answers: Answers, path: str, checker: Checker) -> Draft:
    """The config for what a user wants, checked as every other config is.

    Args:
        answers: What the user wants.
        path: Where it is to be written; relative model paths start from its folder.
        checker: How the project judges.

    Raises:
        DoesNotFit: The model does not fit the machine, even with an adapter.
        UsageError: The project's version of prime-rl would refuse the config.
    """
    version = checker.schema.version
    if version not in VERSIONS:
        raise UsageError(
            f"configs are written for prime-rl {' and '.join(VERSIONS)}, and this folder is judged "
            f"by {version}; say --prime-rl-version, or migrate afterwards; nothing was written"
        )
    answers = answers._replace(preset=answers.preset or _implied(answers, version))
    name = answers.preset.name if answers.preset is not None and version == NEWEST else ""
    wishes, verdict, notes = _wishes(answers, Path(os.path.dirname(path)), version)
    judge = checker.with_infos()
    text = config_text(wishes)
    report = judge.check_document(Document(path, text.encode()))
    if not wishes.renderer and any(one.id == _NO_RENDERER for one in report.findings):
        wishes = wishes._replace(renderer="default")
        text = config_text(wishes)
        report = judge.check_document(Document(path, text.encode()))
    # What else is found, such as a bill over the project's budget, is the user's to judge.
    errors = (one for one in report.findings if one.category == "schema")
    refused = next((one for one in errors if one.severity == "error"), None)
    if refused is not None and refused.id == _NO_TYPED_RENDERER:
        raise UsageError(
            f"--renderer: {refused.message}; give the one of the model's family, such as qwen3; "
            "nothing was written"
        )
    if refused is not None:
        raise UsageError(
            f"prime-rl {checker.schema.version}, by which this folder is judged, would not take "
            f"the config: {refused.message} ({refused.id}); nothing was written"
        )
    return Draft(text, wishes, name, verdict, notes, report.findings)


def _wishes(answers: Answers, base: Path, version: str) -> tuple[Wishes, str, list[str]]:
    """What the config is made of, whether it fits, and what is to be said of it."""
    machine = f"{answers.gpus} x {answers.card.id}"
    wishes = Wishes(
        root=answers.root,
        model=answers.model,
        task=answers.task,
        train_gpus=1,
        steps=answers.steps,
        run_name=answers.run_name,
        output_dir=answers.output_dir,
        renderer=answers.renderer,
        version=version,
        made_for=machine,
    )
    newest = version == NEWEST  # which presets are made for
    if newest and answers.preset is not None and answers.model == answers.preset.model:
        preset = answers.preset
        wishes = _like(preset, wishes)._replace(
            made_for=f"{machine}, preset {preset.name}", evidence=preset.evidence
        )
        return wishes, "fits", []
    facts = find(answers.model, base=base)
    if isinstance(facts, Unknown):
        near = answers.preset or nearest(answers.card.id, answers.root, answers.gpus)
        note = f"whether it fits is unknown: {str(facts).removeprefix('unknown: ')}"
        if near is not None:
            wishes = _like(near, wishes)
        else:
            trains = max(answers.gpus // 2, 1) if answers.root == "rl" else answers.gpus
            infer = answers.gpus - trains if answers.root == "rl" else 0
            wishes = wishes._replace(train_gpus=trains, infer_gpus=infer)
        if answers.seq_len is not None:
            wishes = wishes._replace(seq_len=answers.seq_len)
        said = "no estimate, as nothing is known of the model: try it on one step first"
        return wishes._replace(evidence=said), "unknown", [note]
    if answers.lora:
        wishes = wishes._replace(lora_rank=16)
    lengths = (answers.seq_len,) if answers.seq_len is not None else ()
    choice = settings_for(wishes, answers.card, answers.gpus, lengths=lengths, base=base)
    if choice is None or (answers.lora is False and choice.wishes.lora_rank):
        raise DoesNotFit(_instead(answers))
    notes = []
    if answers.preset is not None and answers.model == answers.preset.model:
        notes.append(
            f"preset {answers.preset.name} is for prime-rl {NEWEST}: its settings were worked out "
            f"again for {version}"
        )
    if choice.wishes.lora_rank and not answers.lora:
        notes.append("an adapter is trained, as not all weights would fit")
    return choice.wishes._replace(evidence="the package's estimate of memory"), "fits", notes


def _implied(answers: Answers, version: str) -> Preset | None:
    """The preset that the answers amount to."""
    if answers.seq_len is not None or answers.lora is not None or version != NEWEST:
        return None
    near = nearest(answers.card.id, answers.root, answers.gpus)
    same = near is not None and near.gpus == answers.gpus and near.model == answers.model
    return near if same else None


def _like(preset: Preset, wishes: Wishes) -> Wishes:
    return wishes._replace(
        train_gpus=preset.train_gpus,
        infer_gpus=preset.infer_gpus,
        seq_len=preset.seq_len,
        lora_rank=preset.lora_rank,
        settings=preset.settings,
    )


def _instead(answers: Answers) -> str:
    how = "with all its weights trained" if answers.lora is False else "even with an adapter"
    length = "" if answers.seq_len is None else f" and {answers.seq_len} tokens"
    said = f"{answers.model} does not fit {answers.gpus} x {answers.card.id} {how}{length}"
    other = presets_of(answers.card.id, answers.root)
    if other:
        listed = ", ".join(f"{one.name} ({one.model})" for one in other)
        said += f"; what fits this card: {listed}"
    return f"{said}; nothing was written"
