"""Rules that today's prime-rl does not have any more; the keys they are about are gone as well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said, shown

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block


@rule(
    "orch-student-renderer-auto",
    name="A student whose renderer is not known",
    part="orchestrator",
    keys=("renderer.name", "student.model.name"),
    needs=("student", "model", "tokenizer", "name"),
    since="v0.6.0",
    recommendation="Set renderer.name to the renderer of the model's family, or to default.",
    source="orchestrator.py OrchestratorConfig.validate_renderer_auto_resolves",
)
def _student_renderer_auto(orchestrator: Block) -> Iterator[Problem]:
    if orchestrator.get("renderer.name") != "auto":
        return
    teacher = orchestrator.get("teacher") is not None
    if teacher and orchestrator.get("training_mode") == "sft":
        return  # The teacher answers, and nothing is rendered.
    from pytest_prime_train.schema.data.renderer_models import MODELS

    named = "tokenizer.name" if orchestrator.get("tokenizer.name") else "student.model.name"
    model = orchestrator.get(named)
    if model not in MODELS:
        renderer = key(orchestrator, "renderer.name")
        yield broken(
            orchestrator,
            (named, "renderer.name"),
            f'{renderer} = "auto" finds no renderer for {shown(model)}',
            f'Set {renderer} to the renderer of the model\'s family, or to "default".',
        )


@rule(
    "sft-renderer-vlm",
    name="A renderer for a model that sees",
    part="sft",
    keys=("renderer", "model.vlm", "loss_impl"),
    needs=("vlm",),
    since="v0.6.0",
    recommendation="Remove renderer.",
    source="sft.py SFTConfig.validate_renderer_vs_vlm",
)
def _renderer_vlm(sft: Block) -> Iterator[Problem]:
    if sft.get("renderer") is not None and sft.get("model.vlm") is not None:
        yield broken(
            sft,
            ("renderer", "model.vlm"),
            "renderer works on text alone, and model.vlm says that the model sees",
            f"Remove {key(sft, 'renderer')}.",
        )


@rule(
    "trainer-offload-runs",
    name="An optimizer in the host's memory for several runs",
    part="trainer",
    keys=("max_concurrent_runs", "model.optim_cpu_offload"),
    needs=("max_concurrent_runs",),
    since="v0.5.0",
    recommendation="Set model.optim_cpu_offload = false, or max_concurrent_runs = 1.",
    source="trainer.py TrainerConfig.validate_optim_cpu_offload_single_run",
)
def _offload_runs(trainer: Block) -> Iterator[Problem]:
    if trainer.get("model.optim_cpu_offload") and (trainer.get("max_concurrent_runs") or 0) > 1:
        yield broken(
            trainer,
            ("max_concurrent_runs", "model.optim_cpu_offload"),
            f"{said(trainer, 'max_concurrent_runs')} does not go with "
            f"{said(trainer, 'model.optim_cpu_offload')}",
            f"Set {key(trainer, 'model.optim_cpu_offload')} = false.",
        )


@rule(
    "trainer-adapter-without-lora",
    name="An adapter to be saved, and none to be trained",
    part="trainer",
    keys=("ckpt.weights.save_adapter_separately", "model.lora"),
    needs=("save_adapter_separately",),
    since="v0.3.0",
    recommendation="Add a table model.lora, or remove ckpt.weights.save_adapter_separately.",
    source="trainer.py TrainerConfig.validate_lora_adapter_saving",
)
def _adapter_without_lora(trainer: Block) -> Iterator[Problem]:
    separate = "ckpt.weights.save_adapter_separately"
    if trainer.get(separate) and trainer.get("model.lora") is None:
        yield broken(
            trainer,
            (separate, "model.lora"),
            f"{said(trainer, separate)} needs an adapter, and model.lora is not set",
            f"Remove {key(trainer, separate)}, or add [{key(trainer, 'model.lora')}].",
        )


@rule(
    "inf-llmd-returns-experts",
    name="Experts of each token through the llm-d router",
    part="inference",
    keys=("enable_return_routed_experts", "router.type"),
    needs=("enable_return_routed_experts",),
    since="v0.8.0",
    recommendation='Set router.type = "vllm-router".',
    source="inference.py InferenceConfig",
)
def _llmd_returns_experts(inference: Block) -> Iterator[Problem]:
    if inference.get("enable_return_routed_experts") and inference.get("router.type") == "llm-d":
        yield broken(
            inference,
            ("router.type", "enable_return_routed_experts"),
            f"{said(inference, 'router.type')} does not hand on "
            f"{said(inference, 'enable_return_routed_experts')}",
            f'Set {key(inference, "router.type")} = "vllm-router".',
        )


@rule(
    "orch-env-without-id",
    name="An environment that names nothing",
    part="orchestrator",
    keys=("train.env.taskset", "train.env.id"),
    needs=("env",),
    since="v0.7.0",
    recommendation="Set taskset.id of the environment.",
    source="orchestrator.py EnvConfig.validate_env",
)
def _env_without_id(orchestrator: Block) -> Iterator[Problem]:
    for name in ("train.env", "eval.env"):
        for number, item in enumerate(orchestrator.get(name) or ()):
            taskset = item.get("taskset")
            if item.get("id") is None and not (taskset or {}).get("id"):
                yield broken(
                    orchestrator,
                    (f"{name}.{number}.id", f"{name}.{number}.taskset.id"),
                    f"{key(orchestrator, f'{name}.{number}')} names no environment",
                    f"Set {key(orchestrator, f'{name}.{number}.taskset.id')}.",
                )


@rule(
    "orch-eval-without-env",
    name="An evaluation of nothing",
    part="orchestrator",
    keys=("eval.env", "train.env"),
    needs=("eval",),
    since="v0.6.0",
    recommendation="Add [[eval.env]], or remove eval.",
    source="orchestrator.py EvalConfig.validate_non_empty_envs",
)
def _eval_without_env(orchestrator: Block) -> Iterator[Problem]:
    if orchestrator.get("eval") is not None and not orchestrator.get("eval.env"):
        yield broken(
            orchestrator,
            ("eval.env", "eval"),
            f"{key(orchestrator, 'eval')} has no environment",
            f"Add [[{key(orchestrator, 'eval.env')}]], or remove {key(orchestrator, 'eval')}.",
        )
