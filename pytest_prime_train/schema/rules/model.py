"""Rules of the trainer's model block, in rl, trainer and sft configs alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block

_CUSTOM = ("custom", "auto")


@rule(
    "model-trust-remote-impl",
    name="Remote code with prime-rl's own implementation",
    part="trainer.model",
    keys=("trust_remote_code", "impl"),
    needs=("trust_remote_code",),
    since="v0.2",
    recommendation='Set impl = "hf" or "auto", or remove trust_remote_code.',
    source="trainer.py ModelConfig.trust_remote_code_only_with_hf",
)
def _trust_remote_impl(model: Block) -> Iterator[Problem]:
    if model.get("trust_remote_code") and model.get("impl") not in ("hf", "auto"):
        yield broken(
            model,
            ("trust_remote_code", "impl"),
            f"{said(model, 'trust_remote_code')} works only with the implementation of Hugging "
            f"Face, but {said(model, 'impl')}",
            f'Set {key(model, "impl")} = "auto", or {key(model, "trust_remote_code")} = false.',
        )


@rule(
    "model-vlm-custom-impl",
    name="A vision model without prime-rl's own implementation",
    part="trainer.model",
    keys=("vlm", "impl"),
    needs=("vlm",),
    since="v0.8.0",
    recommendation='Set impl = "custom"; "auto" is not enough.',
    source="trainer.py ModelConfig.vlm_only_with_custom_impl",
)
def _vlm_custom_impl(model: Block) -> Iterator[Problem]:
    if model.get("vlm") is not None and model.get("impl") != "custom":
        impl = key(model, "impl")
        yield Problem(
            model.home("impl"),
            f'a block {key(model, "vlm")} needs {impl} = "custom", but {said(model, "impl")}',
            f'Set {impl} = "custom".',
            "value",
        )


@rule(
    "model-vlm-cp-ulysses",
    name="A vision model with ring attention",
    part="trainer.model",
    keys=("vlm", "cp", "cp_style"),
    needs=("vlm",),
    since="v0.8.0",
    recommendation='Set cp_style = "ulysses", or cp = 1.',
    source="trainer.py ModelConfig.vlm_cp_requires_ulysses",
)
def _vlm_cp_ulysses(model: Block) -> Iterator[Problem]:
    if model.get("vlm") is None or model.get("cp") <= 1 or model.get("cp_style") == "ulysses":
        return
    style = key(model, "cp_style")
    yield broken(
        model,
        ("cp_style", "cp"),
        f'with a vision model {said(model, "cp")} needs {style} = "ulysses", but '
        f"{said(model, 'cp_style')}",
        f'Set {style} = "ulysses", or {key(model, "cp")} = 1.',
    )


@rule(
    "model-cp-attn",
    name="Context parallelism without a flash attention",
    part="trainer.model",
    keys=("cp", "attn"),
    needs=("cp",),
    since="v0.2",
    recommendation='Set attn = "flash_attention_2" or a later one, or cp = 1.',
    source="trainer.py ModelConfig.validate_cp",
)
def _cp_attn(model: Block) -> Iterator[Problem]:
    attn = model.get("attn")
    if model.get("cp") > 1 and attn in ("eager", "sdpa"):
        yield broken(
            model,
            ("attn", "cp"),
            f"{said(model, 'cp')} needs a flash attention, but {said(model, 'attn')}",
            f'Set {key(model, "attn")} = "flash_attention_2", or {key(model, "cp")} = 1.',
        )


@rule(
    "model-cp-impl",
    name="Context parallelism with the implementation of Hugging Face",
    part="trainer.model",
    keys=("cp", "impl"),
    needs=("cp",),
    since="v0.8.0",
    recommendation='Set impl = "custom" or "auto", or cp = 1.',
    source="trainer.py ModelConfig.validate_cp",
)
def _cp_impl(model: Block) -> Iterator[Problem]:
    if model.get("cp") > 1 and model.get("impl") not in _CUSTOM:
        yield broken(
            model,
            ("cp", "impl"),
            f"{said(model, 'cp')} needs prime-rl's own implementation, but {said(model, 'impl')}",
            f'Set {key(model, "impl")} = "auto", or {key(model, "cp")} = 1.',
        )


@rule(
    "model-ac-selective-targets",
    name="Selective activation checkpointing of nothing",
    part="trainer.model.ac",
    keys=("mode", "targets"),
    needs=("targets",),
    since="v0.5.0",
    recommendation='Name a target, such as targets = ["norm"], or set mode = "full".',
    source="trainer.py ActivationCheckpointConfig.validate_selective_targets",
)
def _ac_selective_targets(ac: Block) -> Iterator[Problem]:
    if ac.get("mode") == "selective" and not ac.get("targets"):
        yield broken(
            ac,
            ("targets", "mode"),
            f"{said(ac, 'mode')} checkpoints what {key(ac, 'targets')} names, and it is empty",
            f'Set {key(ac, "targets")} = ["norm"], or {key(ac, "mode")} = "full".',
        )


@rule(
    "model-ac-selective-impl",
    name="Selective activation checkpointing with the implementation of Hugging Face",
    part="trainer.model",
    keys=("ac.mode", "impl"),
    needs=("impl",),
    since="v0.5.0",
    recommendation='Set impl = "custom" or "auto", or ac.mode = "full".',
    source="trainer.py ModelConfig.selective_ac_only_with_custom_impl",
)
def _ac_selective_impl(model: Block) -> Iterator[Problem]:
    if model.get("impl") not in _CUSTOM and model.get("ac.mode") == "selective":
        yield broken(
            model,
            ("ac.mode", "impl"),
            f"{said(model, 'ac.mode')} needs prime-rl's own implementation, but "
            f"{said(model, 'impl')}",
            f'Set {key(model, "ac.mode")} = "full", or {key(model, "impl")} = "auto".',
        )


@rule(
    "model-fsdp-offload-xor-optim-offload",
    name="Two kinds of offloading at once",
    part="trainer.model",
    keys=("fsdp_cpu_offload", "optim_cpu_offload"),
    needs=("fsdp_cpu_offload",),
    since="v0.4.0",
    recommendation="With fsdp_cpu_offload set optim_cpu_offload = false and no full_offload.",
    source="trainer.py ModelConfig.cpu_offload_mutual_exclusion",
)
def _fsdp_offload(model: Block) -> Iterator[Problem]:
    if not model.get("fsdp_cpu_offload"):
        return
    if model.get("optim_cpu_offload"):
        yield broken(
            model,
            ("optim_cpu_offload", "fsdp_cpu_offload"),
            f"{said(model, 'fsdp_cpu_offload')} offloads the optimizer already, and "
            f"{said(model, 'optim_cpu_offload')}",
            f"Set {key(model, 'optim_cpu_offload')} = false.",
        )
    if model.get("full_offload") is not None:
        yield broken(
            model,
            ("full_offload", "fsdp_cpu_offload"),
            f"{said(model, 'fsdp_cpu_offload')} and {key(model, 'full_offload')} exclude each "
            "other",
            f"Set {key(model, 'full_offload')} = false, or "
            f"{key(model, 'fsdp_cpu_offload')} = false.",
        )


@rule(
    "model-full-offload-xor-optim-offload",
    name="Full offloading beside that of the optimizer",
    part="trainer.model",
    keys=("full_offload", "optim_cpu_offload"),
    needs=("full_offload",),
    since="HEAD",
    recommendation="Set optim_cpu_offload = false; it is true by default.",
    source="trainer.py ModelConfig.cpu_offload_mutual_exclusion",
)
def _full_offload(model: Block) -> Iterator[Problem]:
    if model.get("full_offload") is not None and model.get("optim_cpu_offload"):
        yield broken(
            model,
            ("optim_cpu_offload", "full_offload"),
            f"{key(model, 'full_offload')} offloads the optimizer already, and "
            f"{said(model, 'optim_cpu_offload')}",
            f"Set {key(model, 'optim_cpu_offload')} = false.",
        )


@rule(
    "model-fa4-impl",
    name="An attention that the implementation of Hugging Face does not have",
    part="trainer.model",
    keys=("attn", "impl"),
    needs=("impl",),
    since="v0.4.0",
    recommendation='With impl = "hf" set attn = "flash_attention_2" or "flash_attention_3".',
    source="trainer.py ModelConfig.flash_attention_4_only_with_custom_impl",
)
def _fa4_impl(model: Block) -> Iterator[Problem]:
    if model.get("impl") in _CUSTOM:
        return
    attn = model.get("attn")
    # Before "auto" only flash attention 4 itself was refused, by the name "fa4".
    if attn in ("flash_attention_4", "fa4") or (attn == "auto" and _takes_auto(model)):
        yield broken(
            model,
            ("attn", "impl"),
            f"{said(model, 'attn')} may be flash attention 4, which {said(model, 'impl')} does "
            "not have",
            f'Set {key(model, "attn")} = "flash_attention_2", or {key(model, "impl")} = "auto".',
        )


def _takes_auto(model: Block) -> bool:
    from pytest_prime_train.schema.versions import VERSIONS

    return VERSIONS.index(model.config.version) >= VERSIONS.index("v0.8.0")


@rule(
    "model-quant-impl",
    name="Quantized training with the implementation of Hugging Face",
    part="trainer.model",
    keys=("quantization", "impl"),
    needs=("quantization",),
    since="v0.6.0",
    recommendation='Set impl = "custom" or "auto".',
    source="trainer.py ModelConfig.quantization_only_with_custom_impl",
)
def _quant_impl(model: Block) -> Iterator[Problem]:
    if model.get("impl") not in _CUSTOM and model.get("quantization") is not None:
        yield broken(
            model,
            ("impl", "quantization"),
            f"{said(model, 'quantization.type')} needs prime-rl's own implementation, but "
            f"{said(model, 'impl')}",
            f'Set {key(model, "impl")} = "auto", or remove {key(model, "quantization")}.',
        )


@rule(
    "model-deepep-needs-ep",
    name="DeepEP without expert parallelism",
    part="trainer.model",
    keys=("ep_comm_backend", "ep"),
    needs=("ep_comm_backend",),
    since="v0.6.0",
    recommendation='Set ep above 1 or to "auto", or ep_comm_backend = "torch".',
    source="trainer.py ModelConfig.validate_ep_comm_backend",
)
def _deepep_needs_ep(model: Block) -> Iterator[Problem]:
    ep = model.get("ep")
    if model.get("ep_comm_backend") != "torch" and type(ep) is int and ep <= 1:
        yield broken(
            model,
            ("ep_comm_backend", "ep"),
            f"{said(model, 'ep_comm_backend')} needs more than one expert-parallel rank, but "
            f"{said(model, 'ep')}",
            f'Set {key(model, "ep_comm_backend")} = "torch", or {key(model, "ep")} = "auto".',
        )


@rule(
    "model-mxfp8-torch-backend",
    name="MXFP8 with DeepEP",
    part="trainer.model",
    keys=("quantization.type", "ep_comm_backend"),
    needs=("quantization",),
    since="v0.8.0",
    recommendation='Set ep_comm_backend = "torch".',
    source="trainer.py ModelConfig.mxfp8_only_with_torch_ep_backend",
)
def _mxfp8_torch_backend(model: Block) -> Iterator[Problem]:
    if model.get("ep_comm_backend") != "torch" and model.get("quantization.type") == "mxfp8":
        yield broken(
            model,
            ("ep_comm_backend", "quantization.type"),
            f"{said(model, 'quantization.type')} cannot be used with "
            f"{said(model, 'ep_comm_backend')}",
            f'Set {key(model, "ep_comm_backend")} = "torch".',
        )


@rule(
    "model-ep-impl",
    name="Expert parallelism with the implementation of Hugging Face",
    part="trainer",
    keys=("model.ep", "model.impl"),
    needs=("impl",),
    since="v0.4.0",
    recommendation='Set ep = 1, or impl = "custom" or "auto".',
    source="trainer.py TrainerConfig.ep_only_with_custom_impl",
)
def _ep_impl(trainer: Block) -> Iterator[Problem]:
    if trainer.get("model.impl") not in _CUSTOM and trainer.get("model.ep") not in (1, "auto"):
        yield broken(
            trainer,
            ("model.ep", "model.impl"),
            f"{said(trainer, 'model.ep')} needs prime-rl's own implementation, but "
            f"{said(trainer, 'model.impl')}",
            f'Set {key(trainer, "model.ep")} = 1, or {key(trainer, "model.impl")} = "auto".',
        )


@rule(
    "trainer-router-replay-impl",
    name="Router replay with the implementation of Hugging Face",
    part="trainer",
    roots=("rl", "trainer"),
    keys=("enable_router_replay", "model.impl"),
    needs=("enable_router_replay",),
    since="v0.5.0",
    recommendation='Set model.impl = "custom" or "auto".',
    source="trainer.py TrainerConfig.router_replay_only_with_custom_impl",
)
def _router_replay_impl(trainer: Block) -> Iterator[Problem]:
    if trainer.get("enable_router_replay") and trainer.get("model.impl") not in _CUSTOM:
        yield broken(
            trainer,
            ("enable_router_replay", "model.impl"),
            f"{said(trainer, 'enable_router_replay')} needs prime-rl's own implementation, but "
            f"{said(trainer, 'model.impl')}",
            f'Set {key(trainer, "model.impl")} = "auto", or '
            f"{key(trainer, 'enable_router_replay')} = false.",
        )


@rule(
    "vlm-bf16",
    name="A vision model in float32",
    part="trainer",
    keys=("model.vlm", "model.optimization_dtype", "model.reduce_dtype"),
    needs=("vlm",),
    since="v0.5.0",
    recommendation='Set optimization_dtype = "bfloat16" and reduce_dtype = "bfloat16".',
    source="trainer.py TrainerConfig.vlms_require_bfloat16",
)
def _vlm_bf16(trainer: Block) -> Iterator[Problem]:
    if trainer.get("model.vlm") is None:
        return
    for name in ("model.optimization_dtype", "model.reduce_dtype"):
        if trainer.get(name) != "bfloat16":
            yield broken(
                trainer,
                (name,),
                f"a vision model trains in bfloat16, as its inference does, but "
                f"{said(trainer, name)}",
                f'Set {key(trainer, name)} = "bfloat16".',
            )


@rule(
    "vlm-unfrozen-lora",
    name="LoRA with a vision encoder that is to be trained",
    part="trainer",
    keys=("model.vlm.freeze_vision_encoder", "model.lora"),
    needs=("freeze_vision_encoder",),
    since="v0.6.0",
    recommendation="Set freeze_vision_encoder = true, or remove the lora block.",
    source="trainer.py TrainerConfig.vlm_freeze_incompatible_with_lora",
)
def _vlm_unfrozen_lora(trainer: Block) -> Iterator[Problem]:
    frozen = trainer.get("model.vlm.freeze_vision_encoder")
    if frozen is False and trainer.get("model.lora") is not None:
        yield broken(
            trainer,
            ("model.vlm.freeze_vision_encoder", "model.lora"),
            f"LoRA freezes everything but its adapters, and "
            f"{said(trainer, 'model.vlm.freeze_vision_encoder')}",
            f"Set {key(trainer, 'model.vlm.freeze_vision_encoder')} = true, or remove "
            f"{key(trainer, 'model.lora')}.",
        )
