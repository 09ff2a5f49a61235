"""Rules of sft configs: data, online evaluation, renderer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said, shown

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block

_TRAIN, _INFER, _PER_NODE = (
    f"deployment.{key}" for key in ("num_train_gpus", "num_infer_gpus", "gpus_per_node")
)
_SENT, _MODEL = "weight_broadcast.type", "inference.vllm.model"
_TP, _DP = "inference.vllm.tensor_parallel_size", "inference.vllm.data_parallel_size"
_DATA = ("data", "val.data")


def _is_multi(sft: Block) -> bool:
    return bool(sft.get("deployment.type") == "multi_node")


def _sent(sft: Block) -> str:
    """How weights are sent to what evaluates: as written, or as prime-rl chooses."""
    from pytest_prime_train.schema.rules.weights import broadcast_type

    return broadcast_type(sft)


@rule(
    "sft-batch-micro",
    name="A batch that is no multiple of its micro batches",
    part="data",
    keys=("batch_size", "micro_batch_size"),
    needs=("batch_size", "micro_batch_size"),
    since="v0.2",
    recommendation="Make batch_size a multiple of micro_batch_size.",
    source="sft.py BaseDataConfig.validate_batch_size",
)
def _batch_micro(data: Block) -> Iterator[Problem]:
    batch, micro = data.get("batch_size"), data.get("micro_batch_size")
    if batch % micro:
        yield broken(
            data,
            ("micro_batch_size", "batch_size"),
            f"{said(data, 'batch_size')} is no multiple of {said(data, 'micro_batch_size')}",
            f"Set {key(data, 'batch_size')} = {-(-batch // micro) * micro}.",
        )


@rule(
    "sft-subsets-splits",
    name="Lists of data that differ in length",
    part="data",
    keys=("type",),
    needs=("subsets", "splits"),
    since="v0.2",
    recommendation="Give subsets, splits and probabilities one element for each part of the data.",
    source="sft.py SFTDataConfig.validate_subsets_and_splits",
)
def _subsets_splits(data: Block) -> Iterator[Problem]:
    for one, other in (
        ("subsets", "splits"),
        ("subsets", "probabilities"),
        ("splits", "probabilities"),
    ):
        first, second = data.get(one), data.get(other)
        if first is not None and second is not None and len(first) != len(second):
            yield broken(
                data,
                (other, one),
                f"{key(data, one)} has {len(first)} elements and {key(data, other)} {len(second)}",
                f"Give {key(data, other)} {len(first)} elements, one for each of {key(data, one)}.",
            )


@rule(
    "sft-inference-needs-eval",
    name="An inference server that nothing asks",
    part="sft",
    keys=("inference", "eval"),
    needs=("inference",),
    since="HEAD",
    recommendation="Add an eval table, or remove the inference table.",
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _inference_needs_eval(sft: Block) -> Iterator[Problem]:
    if sft.get("inference") is not None and sft.get("eval") is None:
        yield broken(
            sft,
            ("inference",),
            "[inference] serves evaluation only, and there is no table [eval]",
            "Add [eval] with a source, or remove [inference].",
        )


@rule(
    "sft-eval-nixl",
    name="Evaluation with a weight transfer that it does not have",
    part="sft",
    keys=("eval", "weight_broadcast"),
    needs=("weight_broadcast",),
    since="HEAD",
    recommendation='Set weight_broadcast.type = "nccl" or "filesystem".',
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_nixl(sft: Block) -> Iterator[Problem]:
    if sft.get(_SENT) == "nixl" and sft.get("eval") is not None:
        yield broken(
            sft,
            (_SENT,),
            f"{said(sft, _SENT)} cannot send weights to what evaluates",
            f'Set {_SENT} = "filesystem".',
        )


@rule(
    "sft-eval-lora-broadcast",
    name="LoRA with a weight transfer that cannot carry it",
    part="sft",
    keys=("eval", "weight_broadcast", "model.lora"),
    needs=("weight_broadcast",),
    since="HEAD",
    recommendation='Set weight_broadcast.type = "filesystem".',
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_lora_broadcast(sft: Block) -> Iterator[Problem]:
    if sft.get("eval") is None or sft.get("model.lora") is None:
        return
    if _sent(sft) != "filesystem":
        yield broken(
            sft,
            (_SENT, "model.lora"),
            f"{said(sft, _SENT)} cannot carry the adapters of {key(sft, 'model.lora')}",
            f'Set {_SENT} = "filesystem".',
        )


@rule(
    "sft-eval-retrigger",
    name="Evaluation that is repeated without its weights",
    part="sft",
    keys=("eval", "weight_broadcast"),
    needs=("retrigger_on_resume",),
    since="HEAD",
    recommendation='Set weight_broadcast.type = "filesystem".',
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_retrigger(sft: Block) -> Iterator[Problem]:
    if sft.get("eval.retrigger_on_resume") and _sent(sft) != "filesystem":
        yield broken(
            sft,
            ("eval.retrigger_on_resume", _SENT),
            f"{said(sft, 'eval.retrigger_on_resume')} reads weights from files, and they are sent "
            f"by {_sent(sft)}",
            f'Set {_SENT} = "filesystem", or eval.retrigger_on_resume = false.',
        )


@rule(
    "sft-eval-multi-inference",
    name="Evaluation on several nodes without what it needs",
    part="sft",
    keys=("eval", "inference", "deployment.type"),
    needs=("deployment",),
    since="HEAD",
    recommendation="Add an inference table, num_infer_nodes of at least 1, and leave its router.",
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_multi_inference(sft: Block) -> Iterator[Problem]:
    if not _is_multi(sft) or sft.get("eval") is None:
        return
    if sft.get("inference") is None:
        yield broken(
            sft,
            ("inference", "deployment.type"),
            f"evaluation with {said(sft, 'deployment.type')} needs a table [inference]",
            "Add [inference], or remove [eval].",
        )
        return
    if sft.get("deployment.num_infer_nodes") < 1:
        yield broken(
            sft,
            ("deployment.num_infer_nodes",),
            f"evaluation needs a node, and {said(sft, 'deployment.num_infer_nodes')}",
            "Set deployment.num_infer_nodes = 1.",
        )
    if sft.get("inference.router") is None:
        yield broken(
            sft,
            ("inference.router",),
            f"{said(sft, 'deployment.type')} needs a router before its engines, and "
            f"{said(sft, 'inference.router')}",
            "Remove inference.router for its default.",
        )


@rule(
    "sft-eval-model-equal",
    name="Two models, one trained and one evaluated",
    part="sft",
    keys=("eval", "inference.vllm.model", "model.name"),
    needs=("inference",),
    since="HEAD",
    recommendation="Remove inference.vllm.model; it follows model.name.",
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_model_equal(sft: Block) -> Iterator[Problem]:
    # A written model.name is copied to where the server's is not written.
    if not sft.written(_MODEL) or sft.get("eval") is None:
        return
    if sft.get(_MODEL) != sft.get("model.name"):
        yield broken(
            sft,
            (_MODEL,),
            f"{said(sft, _MODEL)} is not {said(sft, 'model.name')}",
            f"Remove {_MODEL}; it follows model.name.",
        )


@rule(
    "sft-eval-tp-divides",
    name="GPUs that do not divide into copies of the model",
    part="sft",
    keys=("eval", "deployment.type", "inference.vllm.tensor_parallel_size"),
    needs=("inference",),
    since="HEAD",
    recommendation="Make the inference GPUs a multiple of tensor_parallel_size.",
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_tp_divides(sft: Block) -> Iterator[Problem]:
    if sft.get("eval") is None or sft.get("inference") is None:
        return
    from pytest_prime_train.schema.rules.deployment import data_parallel_size

    gpus_key, tensor = (_PER_NODE if _is_multi(sft) else _INFER), sft.get(_TP)
    gpus = sft.get(gpus_key)
    if not _is_multi(sft) and gpus == data_parallel_size(sft.config.inference) * tensor:
        return
    if tensor == 0 or gpus % tensor:
        cure = f"Set {_TP} = 1."
        if tensor and not _is_multi(sft):
            cure = f"Set {gpus_key} = {max(-(-gpus // tensor), 1) * tensor}, or {_TP} = 1."
        yield broken(
            sft,
            (_TP, gpus_key),
            f"{said(sft, gpus_key)} is no multiple of {said(sft, _TP)}",
            cure,
        )


@rule(
    "sft-eval-gpu-sum",
    name="More GPUs than the node has",
    part="sft",
    keys=("eval", "deployment.num_train_gpus", "deployment.gpus_per_node"),
    needs=("inference",),
    since="HEAD",
    recommendation="Lower num_train_gpus or num_infer_gpus, or raise gpus_per_node.",
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_gpu_sum(sft: Block) -> Iterator[Problem]:
    if sft.get("eval") is None or sft.get("inference") is None or _is_multi(sft):
        return
    total = sft.get(_TRAIN) + sft.get(_INFER)
    if total > sft.get(_PER_NODE):
        yield broken(
            sft,
            (_TRAIN, _INFER, _PER_NODE),
            f"{said(sft, _TRAIN, _INFER)} are {total} GPUs, more than {said(sft, _PER_NODE)}",
            f"Set {_TRAIN} and {_INFER} to at most {sft.get(_PER_NODE)} together, or "
            f"{_PER_NODE} = {total}.",
        )


@rule(
    "sft-eval-port",
    name="Evaluation that asks at another port than is served",
    part="sft",
    keys=("eval", "inference.server.port"),
    needs=("base_url",),
    since="HEAD",
    recommendation="Remove eval.client.base_url; it follows inference.server.",
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_port(sft: Block) -> Iterator[Problem]:
    url, port = "eval.client.base_url", "inference.server.port"
    if sft.get("inference") is None or _is_multi(sft) or not sft.written(url):
        return
    from urllib.parse import urlsplit

    try:
        asked = urlsplit(sft.get(url)).port
    except ValueError:
        asked = None
    if asked != sft.get(port):
        yield broken(
            sft,
            (url,),
            f"{said(sft, url)} is not at {said(sft, port)}",
            f"Remove {url}; it follows inference.server.",
        )


@rule(
    "sft-eval-no-inference",
    name="Evaluation on a server that prime-rl does not start",
    part="sft",
    keys=("eval", "inference"),
    needs=("eval",),
    since="HEAD",
    severity="warning",
    gotcha="sft-online-eval-no-server",
    why="Without a server at eval.client.base_url the evaluation waits until its time is up.",
    recommendation="Start a server at eval.client.base_url, or add an inference table.",
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_no_inference(sft: Block) -> Iterator[Problem]:
    if sft.get("eval") is not None and sft.get("inference") is None and not _is_multi(sft):
        yield broken(
            sft,
            ("eval",),
            f"[eval] asks the server at {said(sft, 'eval.client.base_url')}, which prime-rl does "
            "not start, as there is no table [inference]",
            "Start a server there, or add [inference].",
        )


@rule(
    "sft-eval-no-max-steps",
    name="Evaluation of a run without an end",
    part="sft",
    keys=("eval", "deployment.type", "max_steps"),
    needs=("deployment",),
    since="HEAD",
    severity="warning",
    gotcha="sft-eval-job-never-ends",
    why="The job that evaluates keeps its nodes until its time is up.",
    recommendation="Set max_steps.",
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_no_max_steps(sft: Block) -> Iterator[Problem]:
    if _is_multi(sft) and sft.get("eval") is not None and sft.get("max_steps") is None:
        yield broken(
            sft,
            ("max_steps",),
            f"{said(sft, 'max_steps')}, so the job of [eval] never sees the last weights and "
            "keeps its nodes",
            "Set max_steps to the steps that are wanted.",
        )


@rule(
    "sft-eval-lora-warning",
    name="LoRA with a server that prime-rl does not start",
    part="sft",
    keys=("model.lora", "eval", "inference"),
    needs=("lora",),
    since="HEAD",
    severity="warning",
    gotcha="lora-external-server-flags",
    why="A server without adapters refuses the first one that the trainer sends.",
    recommendation="Start the server with --enable-lora and --max-lora-rank.",
    source="sft.py SFTConfig.auto_setup_online_eval",
)
def _eval_lora_warning(sft: Block) -> Iterator[Problem]:
    if sft.get("model.lora") is None or sft.get("eval") is None:
        return
    if sft.get("inference") is None:
        yield broken(
            sft,
            ("model.lora",),
            f"{key(sft, 'model.lora')} needs an inference server that takes adapters, and there "
            "is no table [inference]",
            f"Start the server with --enable-lora --max-lora-rank {sft.get('model.lora.rank')}, "
            "or add [inference].",
        )


@rule(
    "sft-nccl-needs-inference",
    name="Weights sent to a server that prime-rl does not start",
    part="sft",
    keys=("weight_broadcast", "inference"),
    needs=("weight_broadcast",),
    since="HEAD",
    severity="warning",
    why="prime-rl takes the file, and the launcher stops.",
    recommendation='Set weight_broadcast.type = "filesystem", or add an inference table.',
    source="src/prime_rl/entrypoints/sft.py",
)
def _nccl_needs_inference(sft: Block) -> Iterator[Problem]:
    if sft.get(_SENT) == "nccl" and sft.get("inference") is None:
        yield broken(
            sft,
            (_SENT,),
            f"{said(sft, _SENT)} needs a table [inference], and there is none",
            f'Set {_SENT} = "filesystem", or add [inference].',
        )


@rule(
    "sft-typed-renderer",
    name="A renderer that cannot tell what to train on",
    part="sft",
    keys=("renderer.name", "tokenizer.name", "model.name"),
    needs=("name",),
    since="v0.8.0",
    recommendation="Set renderer.name to the renderer of the model's family.",
    source="sft.py SFTConfig.validate_typed_renderer",
)
def _typed_renderer(sft: Block) -> Iterator[Problem]:
    renderer = sft.get("renderer.name")
    if renderer not in ("auto", "default"):
        return
    if sft.get("data.type") == "fake" and sft.get("val") is None:
        return
    cure = 'Set renderer.name = "qwen3", or the renderer of the family the model was tuned from.'
    if renderer == "default":
        message = f"{said(sft, 'renderer.name')} cannot tell which tokens to train on"
        yield broken(sft, ("renderer.name",), message, cure)
        return
    from pytest_prime_train.schema.data.renderer_models import MODELS

    named = "tokenizer.name" if sft.get("tokenizer.name") else "model.name"
    if sft.get(named) not in MODELS:
        yield broken(
            sft,
            ("renderer.name",),
            f"{said(sft, 'renderer.name')} finds no renderer for {named} = "
            f"{shown(sft.get(named))}: only models published under their own name are known",
            cure,
        )


@rule(
    "sft-cp-seq-len",
    name="Sequences that do not divide among GPUs",
    part="sft",
    keys=("model.cp", "data.seq_len"),
    needs=("cp",),
    since="v0.2",
    recommendation="Make seq_len a multiple of cp.",
    source="sft.py SFTConfig.validate_cp_seq_len",
)
def _cp_seq_len(sft: Block) -> Iterator[Problem]:
    degree = sft.get("model.cp")
    for data in _DATA:
        length = sft.get(f"{data}.seq_len")
        if degree > 1 and length is not None and length % degree:
            yield broken(
                sft,
                ("model.cp", f"{data}.seq_len"),
                f"{said(sft, f'{data}.seq_len')} is no multiple of {said(sft, 'model.cp')}",
                f"Set {data}.seq_len = {-(-length // degree) * degree}.",
            )


@rule(
    "sft-cp-micro",
    name="Context parallelism with several sequences at once",
    part="sft",
    keys=("model.cp", "data.micro_batch_size"),
    needs=("cp",),
    since="v0.2",
    recommendation="Set micro_batch_size = 1.",
    source="sft.py SFTConfig.validate_cp_micro_batch_size",
)
def _cp_micro(sft: Block) -> Iterator[Problem]:
    if sft.get("model.cp") > 1:
        yield from _one_at_a_time(sft, "model.cp")


@rule(
    "sft-vlm-micro",
    name="A vision model with several sequences at once",
    part="sft",
    keys=("model.vlm", "data.micro_batch_size"),
    needs=("vlm",),
    since="v0.8.0",
    recommendation="Set micro_batch_size = 1.",
    source="sft.py SFTConfig.validate_vlm_constraints",
)
def _vlm_micro(sft: Block) -> Iterator[Problem]:
    if sft.get("model.vlm") is not None:
        yield from _one_at_a_time(sft, "model.vlm")


def _one_at_a_time(sft: Block, because: str) -> Iterator[Problem]:
    for data in _DATA:
        micro = f"{data}.micro_batch_size"
        if sft.get(micro) not in (1, None):
            yield broken(
                sft,
                (micro, because),
                f"{said(sft, micro)}, and {said(sft, because)} takes one sequence at a time",
                f"Set {micro} = 1.",
            )
