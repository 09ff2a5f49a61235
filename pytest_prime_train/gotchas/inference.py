"""Models that prime-rl does not train or serve the way the config asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem, format_key
from pytest_prime_train.gotchas.registry import gotcha

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config

_CATEGORY = "inference"

_VISION_WORDS = (
    "vl",
    "vision",
    "llava",
    "pixtral",
    "paligemma",
    "internvl",
    "qvq",
    "idefics",
)
# Names of the models whose type is qwen3_5 or qwen3_5_moe.
_WITH_VLM_CLASS = ("qwen3.5", "qwen3.6", "qwen3.8")
# Families whose models are of other types, whoever publishes them. Names that say only what a model
# is for, and families whose members rest on other families, settle nothing.
_WITHOUT_VLM_CLASS = (
    "qwen2",
    "qwen3-",
    "qvq",
    "llama",
    "llava",
    "gemma",
    "mistral",
    "ministral",
    "mixtral",
    "pixtral",
    "internvl",
    "idefics",
    "smolvlm",
    "phi-",
    "glm-",
    "gpt-oss",
    "kimi",
)


@gotcha(
    id="vl-model-without-vlm-block",
    name="Vision-language checkpoint without [model.vlm]",
    severity="warning",
    category=_CATEGORY,
    hours_lost=0.5,
    hours_basis="one start of a run",
    since="0.2",
    roots=("rl", "trainer"),
    keys=("trainer.model.name", "model.name", "model.vlm"),
    needs=("name",),
    why="Without [model.vlm] the vision encoder is frozen and only text is trained: the first "
    "sample with an image raises in the trainer, and models without a class of prime-rl's own "
    "take the slow path without context and expert parallelism.",
    recommendation="Use the text-only sibling of the model, or Qwen3.5 with [model.vlm], "
    'impl = "custom" and bfloat16 dtypes.',
    evidence=(
        "prime-rl trainer/rl/train.py: Received multimodal samples but [model.vlm] is not set",
        "prime-rl trainer/model.py: configure_trainable_parameters, get_model",
    ),
    confidence="verified-in-source",
    detected_by="runtime-fatal",
)
def vl_model_without_vlm_block(config: Config) -> Iterator[Problem]:
    trainer = config.trainer
    name = trainer.get("model.name")
    if type(name) is not str or not _names_vision(name) or trainer.get("model.vlm") is not None:
        return
    key = trainer.home("model.name")
    yield Problem(
        key,
        f"{name} reads images, but [model.vlm] is not set, so it is trained on text alone",
        f'Set {format_key(key)} to a text-only model, or to a Qwen3.5 such as "Qwen/Qwen3.5-4B" '
        "and add [model.vlm].",
        part="value",
    )


@gotcha(
    id="vlm-block-on-unsupported-model",
    name="[model.vlm] on a family without a class of prime-rl's own",
    severity="error",
    category=_CATEGORY,
    hours_lost=1.0,
    hours_basis="one start of a run, queue and download included",
    since="0.8",
    roots=("rl", "sft", "trainer"),
    keys=("model.vlm", "trainer.model.vlm", "trainer.model.name"),
    needs=("vlm",),
    why="Training with images needs a model class of prime-rl's own, which only Qwen3.5 (dense and "
    "MoE) has; for others every rank raises after the launch, with the machines rented.",
    recommendation="Delete [model.vlm], or use a Qwen3.5 model.",
    evidence=(
        "prime-rl docs/advanced.md, Multimodal training, Supported Families",
        "prime-rl trainer/model.py: get_model raises unless get_custom_vlm_cls has the model type",
        "prime-rl trainer/models/__init__.py: the types are qwen3_5 and qwen3_5_moe",
    ),
    confidence="verified-in-source",
    detected_by="runtime-fatal",
)
def vlm_block_on_unsupported_model(config: Config) -> Iterator[Problem]:
    trainer = config.trainer
    if trainer.get("model.vlm") is None:
        return
    name = trainer.get("model.name")
    if type(name) is not str:
        return
    lower = name.lower()
    if any(family in lower for family in _WITH_VLM_CLASS):
        return
    key = trainer.home("model.vlm")
    if _is_of_other_family(lower):
        yield Problem(
            key,
            f"prime-rl cannot train {name} with {format_key(key)}: its type has no VLM class there",
            f"Delete [{format_key(key)}], or set {format_key(trainer.home('model.name'))} to a "
            'Qwen3.5 such as "Qwen/Qwen3.5-4B".',
        )
        return
    # The type in the model's own config.json decides, which a folder or a fine-tune hides.
    yield Problem(
        key,
        f"{format_key(key)} works with models of type qwen3_5 and qwen3_5_moe alone, and the name "
        f"{name} does not say that it is one",
        f"If model_type in the config.json of {name} is another, delete [{format_key(key)}].",
        severity="warning",
    )


def _names_vision(name: str) -> bool:
    """Whether a part of a model's name is one of the words, perhaps with a number behind it."""
    parts = name.lower().replace("/", "-").replace("_", "-").split("-")
    for part in parts:
        for word in _VISION_WORDS:
            if part.startswith(word) and (
                len(part) == len(word) or part[len(word)] in "0123456789."
            ):
                return True
    return False


def _is_of_other_family(lower: str) -> bool:
    """Whether a repository of the hub has a name that settles what its models are not."""
    return (
        lower.count("/") == 1
        and lower[0] not in "/.~"
        and any(family in lower for family in _WITHOUT_VLM_CLASS)
    )
