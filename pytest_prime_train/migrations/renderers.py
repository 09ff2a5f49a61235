"""Renderers: which one turns the messages of a model into tokens."""

from __future__ import annotations

from pytest_prime_train.findings import KeyPath
from pytest_prime_train.migrations.draft import Draft
from pytest_prime_train.migrations.words import dotted, show

# What the name of a model begins with, without its owner, and the renderer of its family.
_FAMILIES = (
    ("qwen3-vl", "qwen3-vl"),
    ("qwen3.5", "qwen3.5"),
    ("qwen3.6", "qwen3.6"),
    ("qwen3.8", "qwen3.8"),
    ("qwen3-coder", ""),
    ("qwen3", "qwen3"),
    ("glm-4.5", "glm-4.5"),
    ("glm-4.6", "glm-4.5"),
    ("glm-4.7", "glm-4.5"),
    ("glm-5.1", "glm-5.1"),
    ("glm-5", "glm-5"),
    ("minimax-m2", "minimax-m2"),
    ("nvidia-nemotron-3-ultra", "nemotron-3-ultra"),
    ("nvidia-nemotron-3", "nemotron-3"),
    ("nemotron-3", "nemotron-3"),
    ("gpt-oss", "gpt-oss"),
    ("kimi-k2.5", "kimi-k2.5"),
    ("kimi-k2", "kimi-k2"),
    ("deepseek-v3", "deepseek-v3"),
    ("llama-3", "llama-3"),
)
_DEFAULT_MODEL = "Qwen/Qwen3-0.6B"


def family_of(model: str) -> str:
    """The renderer of the family that a model's name points to; empty where it points to none.

    >>> family_of("PrimeIntellect/Qwen3-0.6B-Reverse-Text-SFT"), family_of("org/own-model")
    ('prime-qwen3', '')
    """
    owner, _, name = model.lower().rpartition("/")
    for start, renderer in _FAMILIES:
        if name.startswith(start):
            # Prime Intellect's own models of this family have a chat template of their own.
            return "prime-qwen3" if renderer == "qwen3" and owner == "primeintellect" else renderer
    return ""


def is_mapped(model: str) -> bool:
    """Whether prime-rl knows the renderer of a model by itself."""
    from pytest_prime_train.schema.data.renderer_models import MODELS

    return model in MODELS


def _model_of(draft: Draft, prefix: KeyPath) -> str | None:
    """The model whose tokens are rendered; ``None`` where the file does not say."""
    for path in (
        (*prefix, "tokenizer", "name"),
        ("tokenizer", "name"),
        (*prefix, "model", "name"),
        (*prefix, "student", "model", "name"),
        (*prefix, "student", "name"),
        ("model", "name"),
    ):
        name = draft.text_around(path)
        if name and name != "None":
            return name
    return None


def _names_model(draft: Draft, prefix: KeyPath, has_renderer: bool) -> bool:
    """Whether a file that is read over others chooses the model, and they no renderer."""
    if draft.has_around((*prefix, "renderer", "name")):
        return False
    if has_renderer:
        return True
    return any(
        draft.text(path)
        for path in ((*prefix, "tokenizer", "name"), (*prefix, "model", "name"), ("model", "name"))
    )


def opt_out(draft: Draft, prefix: KeyPath) -> None:
    """Keep the way without a renderer for a model that v0.6 knows none for."""
    if draft.target != "v0.6.0":
        return  # Later versions have no such way, and what is found for them is better.
    path = (*prefix, "renderer")
    model = _model_of(draft, prefix)
    if draft.get(path) is None and model is not None and not is_mapped(model):
        draft.add(path, "None")


def required(draft: Draft, prefix: KeyPath) -> None:
    """Name the renderer of a model that prime-rl does not know."""
    path = (*prefix, "renderer")
    node = draft.get(path)
    if node is not None and not node.is_table:
        draft.drop(path)
        node = None
    name = node.table.get("name") if node is not None else None
    if name is not None and name.value != "auto":
        return
    if draft.around is not None and not _names_model(draft, prefix, node is not None):
        return  # It is for the file below to say, or said there.
    model = _model_of(draft, prefix)
    if model is None or is_mapped(model):
        if node is not None and name is None and node.table:
            draft.add((*path, "name"), "auto")
        return
    family = family_of(model)
    if name is not None:
        draft.set(name, family or "default")
    else:
        draft.add((*path, "name"), family or "default")
    written = draft.get((*path, "name"))
    if family:
        draft.note(
            f"{dotted(path)}.name is {show(family)}, as the name of the model {show(model)} says",
            f'Write "default" where {show(model)} has a chat template of its own.',
            None,
            written,
        )
        return
    draft.needs_person(
        f'{dotted(path)}.name is "default", because prime-rl knows no renderer for the model '
        f"{show(model)}",
        f"Write the renderer of the family that {show(model)} was tuned from as "
        f"{dotted(path)}.name, such as qwen3, glm-4.5 or llama-3; default cannot call tools.",
        None,
        written,
    )


def thinking(draft: Draft, prefix: KeyPath) -> None:
    """Two switches about thoughts of earlier turns became one choice."""
    path = (*prefix, "renderer")
    for key, choice in (
        ("preserve_all_thinking", "all"),
        ("preserve_thinking_between_tool_calls", "tool_cycle"),
    ):
        node = draft.get((*path, key))
        if node is None:
            continue
        if node.value is True and draft.get((*path, "thinking_retention")) is None:
            draft.set(node, choice)
            draft.move((*path, key), (*path, "thinking_retention"))
        else:
            draft.drop((*path, key))


def sft(draft: Draft, prefix: KeyPath) -> None:
    """Name the renderer of a model of sft that prime-rl does not know."""
    from pytest_prime_train.migrations.draft import PARTS

    assert draft.root in PARTS
    path = (*prefix, "renderer")
    node = draft.get(path)
    if node is not None and not node.is_table:
        draft.drop(path)
        node = None
    name = node.table.get("name") if node is not None else None
    if name is not None and name.value not in ("auto", "default"):
        return
    data = draft.text(("data", "type"))
    model = draft.text(("tokenizer", "name")) or draft.text(("model", "name"))
    if data == "fake" or not model or is_mapped(model):
        return
    if draft.around is not None and draft.has_around((*path, "name")):
        return
    family = family_of(model)
    if not family:
        draft.needs_person(
            f"{dotted(path)}.name has to be chosen, because prime-rl knows no renderer for the "
            f"model {show(model)}, and sft takes no default one",
            f"Write the renderer of the family that {show(model)} was tuned from as "
            f"{dotted(path)}.name, such as qwen3, glm-4.5 or llama-3.",
            None,
            draft.get(path),
        )
        return
    if name is not None:
        draft.set(name, family)
    else:
        draft.add((*path, "name"), family)
    draft.note(
        f"{dotted(path)}.name is {show(family)}, as the name of the model {show(model)} says",
        "",
        None,
        draft.get((*path, "name")),
    )
