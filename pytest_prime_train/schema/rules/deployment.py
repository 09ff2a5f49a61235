"""Rules of how many GPUs and nodes a run has, and who gets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.weights import broadcast_type
from pytest_prime_train.schema.rules.words import broken, key, said

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block

_TRAIN, _INFER, _PER_NODE = (
    f"deployment.{key}" for key in ("num_train_gpus", "num_infer_gpus", "gpus_per_node")
)
_NODES = "deployment.num_infer_nodes"
_TP, _DP = "inference.vllm.tensor_parallel_size", "inference.vllm.data_parallel_size"
_DP_LOCAL = "inference.vllm.data_parallel_size_local"
_GROUP = "deployment.nodes_per_fsdp_group"


def inference_nodes(rl: Block) -> int:
    """Nodes of inference that the inference table itself stands for."""
    kind = rl.get("inference.deployment.type")
    if kind is None:
        return 0
    if kind == "multi_node":
        return int(rl.get("inference.deployment.num_nodes"))
    if kind == "disaggregated":
        return sum(
            (rl.get(f"inference.deployment.{role}_nodes_per_replica") or 1)
            * (rl.get(f"inference.deployment.num_{role}_replicas") or 1)
            for role in ("prefill", "decode")
        )
    return 1


def infer_nodes(rl: Block) -> int:
    """Nodes of inference per replica of a multi-node run."""
    nodes = rl.get(_NODES)
    return inference_nodes(rl) if nodes is None else int(nodes)


def data_parallel_size(inference: Block) -> int:
    """Copies of the model that the inference table asks for by itself."""
    size = int(inference.get("vllm.data_parallel_size"))
    tensor = inference.get("vllm.tensor_parallel_size")
    if size == 1 and tensor and inference.get("deployment.type") == "disaggregated":
        return int(inference.get("deployment.gpus_per_node")) // int(tensor)
    return size


def _is_multi(block: Block) -> bool:
    return bool(block.get("deployment.type") == "multi_node")


@rule(
    "rl-gpu-sum",
    name="More GPUs than the node has",
    part="deployment",
    roots=("rl",),
    keys=("num_train_gpus", "num_infer_gpus", "gpus_per_node"),
    needs=("num_train_gpus", "num_infer_gpus", "gpus_per_node"),
    since="v0.5.0",
    recommendation="Lower num_train_gpus or num_infer_gpus, or raise gpus_per_node.",
    source="rl.py SingleNodeDeploymentConfig.validate_gpu_count",
)
def _gpu_sum(deployment: Block) -> Iterator[Problem]:
    if deployment.get("type") != "single_node":
        return
    train, infer = deployment.get("num_train_gpus"), deployment.get("num_infer_gpus")
    node = deployment.get("gpus_per_node")
    if train + infer > node:
        yield broken(
            deployment,
            ("num_train_gpus", "num_infer_gpus", "gpus_per_node"),
            f"{said(deployment, 'num_train_gpus', 'num_infer_gpus')} are {train + infer} GPUs, "
            f"more than {said(deployment, 'gpus_per_node')}",
            f"Set {key(deployment, 'num_train_gpus')} and {key(deployment, 'num_infer_gpus')} to "
            f"at most {node} together, or {key(deployment, 'gpus_per_node')} = {train + infer}.",
        )


@rule(
    "sft-num-train-gpus",
    name="More GPUs than the node has",
    part="deployment",
    roots=("sft",),
    keys=("num_train_gpus", "gpus_per_node"),
    needs=("num_train_gpus", "gpus_per_node"),
    since="v0.5.0",
    recommendation="Lower num_train_gpus, or raise gpus_per_node.",
    source="sft.py SingleNodeDeploymentConfig.validate_gpu_count",
)
def _num_train_gpus(deployment: Block) -> Iterator[Problem]:
    if deployment.get("type") != "single_node":
        return
    if deployment.get("num_train_gpus") > deployment.get("gpus_per_node"):
        yield broken(
            deployment,
            ("num_train_gpus", "gpus_per_node"),
            f"{said(deployment, 'num_train_gpus')} is more than "
            f"{said(deployment, 'gpus_per_node')}",
            f"Set {key(deployment, 'num_train_gpus')} to at most "
            f"{deployment.get('gpus_per_node')}.",
        )


@rule(
    "rl-nccl-two-gpus",
    name="Weights sent from one GPU to itself",
    part="rl",
    keys=("deployment.num_train_gpus", "deployment.num_infer_gpus", "trainer.weight_broadcast"),
    needs=("weight_broadcast",),
    since="v0.8.0",
    recommendation='Set trainer.weight_broadcast.type = "filesystem", or use two GPUs.',
    source="rl.py RLConfig.validate_enough_devices_for_nccl",
)
def _nccl_two_gpus(rl: Block) -> Iterator[Problem]:
    sent = "trainer.weight_broadcast.type"
    if rl.get(sent) != "nccl" or rl.get("deployment.type") != "single_node":
        return
    if rl.get(_TRAIN) + rl.get(_INFER) < 2:
        yield broken(
            rl,
            (sent, _INFER, _TRAIN),
            f"{said(rl, sent)} needs two GPUs, and {said(rl, _TRAIN, _INFER)}",
            f'Set {sent} = "filesystem", or {_TRAIN} = 1 and {_INFER} = 1.',
        )


@rule(
    "rl-multi-node-slurm",
    name="Several nodes without Slurm",
    part="rl",
    keys=("deployment.type", "slurm"),
    needs=("deployment",),
    since="v0.5.0",
    recommendation='Add a slurm table, or set deployment.type = "single_node".',
    source="rl.py RLConfig.validate_deployment",
)
def _rl_multi_node_slurm(rl: Block) -> Iterator[Problem]:
    yield from _multi_node_slurm(rl)


@rule(
    "sft-multi-node-slurm",
    name="Several nodes without Slurm",
    part="sft",
    keys=("deployment.type", "slurm"),
    needs=("deployment",),
    since="v0.5.0",
    recommendation='Add a slurm table, or set deployment.type = "single_node".',
    source="sft.py SFTConfig.validate_deployment",
)
def _sft_multi_node_slurm(sft: Block) -> Iterator[Problem]:
    yield from _multi_node_slurm(sft)


def _multi_node_slurm(top: Block) -> Iterator[Problem]:
    if _is_multi(top) and top.get("slurm") is None:
        yield broken(
            top,
            ("deployment.type",),
            f"{said(top, 'deployment.type')} needs Slurm, and there is no table [slurm]",
            'Add [slurm], or set deployment.type = "single_node".',
        )


@rule(
    "rl-infer-nodes-equal",
    name="Two counts of inference nodes",
    part="rl",
    keys=(_NODES, "inference.deployment.num_nodes"),
    needs=("num_infer_nodes",),
    since="v0.7.0",
    recommendation="Remove deployment.num_infer_nodes; it follows inference.deployment.",
    source="rl.py RLConfig.auto_setup_infer_nodes",
)
def _infer_nodes_equal(rl: Block) -> Iterator[Problem]:
    if not _is_multi(rl) or rl.get("inference.deployment.type") != "multi_node":
        return
    if infer_nodes(rl) != inference_nodes(rl):
        yield broken(
            rl,
            (_NODES, "inference.deployment.num_nodes"),
            f"{said(rl, _NODES)} is not {said(rl, 'inference.deployment.num_nodes')}",
            f"Set {_NODES} = {inference_nodes(rl)}.",
        )


@rule(
    "rl-disagg-nodes",
    name="Two counts of disaggregated inference nodes",
    part="rl",
    keys=(_NODES, "inference.deployment.num_prefill_replicas"),
    needs=("num_infer_nodes",),
    since="v0.7.0",
    recommendation="Remove deployment.num_infer_nodes; it follows inference.deployment.",
    source="rl.py RLConfig.auto_setup_disaggregated_inference",
)
def _disagg_nodes(rl: Block) -> Iterator[Problem]:
    if not _is_multi(rl) or rl.get("inference.deployment.type") != "disaggregated":
        return
    if infer_nodes(rl) != inference_nodes(rl):
        yield broken(
            rl,
            (_NODES,),
            f"{said(rl, _NODES)}, but the prefill and decode nodes of inference.deployment are "
            f"{inference_nodes(rl)}",
            f"Set {_NODES} = {inference_nodes(rl)}.",
        )


@rule(
    "rl-infer-nodes-need-inference",
    name="Inference nodes without inference",
    part="rl",
    keys=(_NODES, "inference"),
    needs=("num_infer_nodes",),
    since="v0.5.0",
    recommendation="Add an inference table, or set deployment.num_infer_nodes = 0.",
    source="rl.py RLConfig.validate_deployment",
)
def _infer_nodes_need_inference(rl: Block) -> Iterator[Problem]:
    if _is_multi(rl) and rl.get("inference") is None and infer_nodes(rl) > 0:
        yield broken(
            rl,
            (_NODES,),
            f"{said(rl, _NODES)}, and there is no table [inference] for them",
            f"Add [inference], or set {_NODES} = 0.",
        )


@rule(
    "rl-zero-infer-nodes",
    name="Inference without a node",
    part="rl",
    keys=(_NODES, "inference"),
    needs=("num_infer_nodes",),
    since="v0.5.0",
    recommendation="Set deployment.num_infer_nodes above 0, or remove the inference table.",
    source="rl.py RLConfig.validate_deployment",
)
def _zero_infer_nodes(rl: Block) -> Iterator[Problem]:
    if _is_multi(rl) and rl.get("inference") is not None and infer_nodes(rl) == 0:
        yield broken(
            rl,
            (_NODES,),
            f"{said(rl, _NODES)}, and there is a table [inference]",
            f"Set {_NODES} = {max(inference_nodes(rl), 1)}, or remove [inference].",
        )


@rule(
    "rl-zero-infer-fake",
    name="Training without anything to train on",
    part="rl",
    keys=(_NODES, "trainer.data.fake"),
    needs=("num_train_nodes",),
    since="v0.5.0",
    recommendation="Add an inference table, or trainer.data.fake.",
    source="rl.py RLConfig.validate_deployment",
)
def _zero_infer_fake(rl: Block) -> Iterator[Problem]:
    if _is_multi(rl) and infer_nodes(rl) == 0 and rl.get("trainer.data.fake") is None:
        yield broken(
            rl,
            (_NODES, "trainer.data.fake"),
            "a run without inference nodes has no rollouts, and "
            f"{said(rl, _NODES, 'trainer.data.fake')}",
            f"Set {_NODES} = 1 beside a table [inference], or add [trainer.data.fake].",
        )


@rule(
    "rl-multi-node-router",
    name="Several nodes without a router",
    part="rl",
    keys=("deployment.type", "inference.router"),
    needs=("router",),
    since="v0.8.0",
    recommendation="Remove inference.router, so that its default is used.",
    source="rl.py RLConfig.validate_multi_node_requires_router",
)
def _multi_node_router(rl: Block) -> Iterator[Problem]:
    if _is_multi(rl) and rl.get("inference") is not None and rl.get("inference.router") is None:
        yield broken(
            rl,
            ("inference.router",),
            f"{said(rl, 'deployment.type')} needs a router before its engines, and "
            f"{said(rl, 'inference.router')}",
            "Remove inference.router for its default.",
        )


@rule(
    "rl-fsdp-groups",
    name="Nodes that do not divide into groups",
    part="rl",
    keys=("deployment.num_train_nodes", _GROUP),
    needs=("nodes_per_fsdp_group",),
    since="v0.5.0",
    recommendation="Make num_train_nodes a multiple of nodes_per_fsdp_group.",
    source="rl.py RLConfig.auto_setup_deployment",
)
def _rl_fsdp_groups(rl: Block) -> Iterator[Problem]:
    yield from _fsdp_groups(rl)


@rule(
    "sft-fsdp-groups",
    name="Nodes that do not divide into groups",
    part="sft",
    keys=("deployment.num_train_nodes", _GROUP),
    needs=("nodes_per_fsdp_group",),
    since="v0.5.0",
    recommendation="Make num_train_nodes a multiple of nodes_per_fsdp_group.",
    source="sft.py SFTConfig.auto_setup_deployment",
)
def _sft_fsdp_groups(sft: Block) -> Iterator[Problem]:
    yield from _fsdp_groups(sft)


def _fsdp_groups(top: Block) -> Iterator[Problem]:
    group = top.get(_GROUP)
    if not _is_multi(top) or group is None:
        return
    nodes = top.get("deployment.num_train_nodes")
    if group == 0 or nodes % group:
        yield broken(
            top,
            (_GROUP, "deployment.num_train_nodes"),
            f"{said(top, 'deployment.num_train_nodes')} is no multiple of {said(top, _GROUP)}",
            f"Set {_GROUP} = {nodes}, or to another divisor of {nodes}.",
        )


@rule(
    "rl-infer-tp-divides",
    name="GPUs that do not divide into copies of the model",
    part="rl",
    keys=("deployment.num_infer_gpus", "inference.vllm.tensor_parallel_size"),
    needs=("tensor_parallel_size",),
    since="HEAD",
    recommendation="Make num_infer_gpus a multiple of tensor_parallel_size.",
    source="rl.py RLConfig.auto_setup_deployment",
)
def _infer_tp_divides(rl: Block) -> Iterator[Problem]:
    if rl.get(_TP) in (None, 1) or rl.get("deployment.type") != "single_node":
        return
    gpus, tensor = rl.get(_INFER), rl.get(_TP)
    if gpus == data_parallel_size(rl.config.inference) * tensor:
        return
    if tensor == 0 or gpus % tensor:
        yield broken(
            rl,
            (_TP, _INFER),
            f"{said(rl, _INFER)} is no multiple of {said(rl, _TP)}",
            f"Set {_INFER} = {max(-(-gpus // tensor), 1) * tensor}."
            if tensor
            else f"Set {_TP} = 1.",
        )


@rule(
    "rl-zero-infer-gpus",
    name="Inference without a GPU",
    part="rl",
    keys=("deployment.num_infer_gpus", "inference"),
    needs=("num_infer_gpus",),
    since="HEAD",
    severity="warning",
    why="prime-rl takes the file, and the inference server stops at start.",
    recommendation="Set deployment.num_infer_gpus to at least 1, or remove the inference table.",
    source="rl.py RLConfig.auto_setup_deployment",
)
def _zero_infer_gpus(rl: Block) -> Iterator[Problem]:
    if rl.get(_INFER) == 0 and rl.get("inference") is not None:
        yield broken(
            rl,
            (_INFER,),
            f"{said(rl, _INFER)}, and there is a table [inference]",
            f"Set {_INFER} = {max(rl.get(_TP), 1)}, or remove [inference].",
        )


@rule(
    "rl-zero-divisor",
    name="Parallelism of no GPU",
    part="rl",
    keys=("trainer.model.cp", "deployment.type", "inference.vllm.tensor_parallel_size"),
    needs=("cp", "tensor_parallel_size"),
    since="HEAD",
    recommendation="Set the key to at least 1.",
    source="rl.py RLConfig.auto_setup_deployment",
)
def _zero_divisor(rl: Block) -> Iterator[Problem]:
    several = _is_multi(rl) or rl.get(_TRAIN) > 1
    if several and rl.get("trainer.model.cp") == 0:
        yield broken(
            rl,
            ("trainer.model.cp",),
            f"{said(rl, 'trainer.model.cp')} divides the GPUs by zero",
            "Set trainer.model.cp = 1.",
        )
    tensor = rl.get(_TP)
    if tensor is None or tensor > 0:
        return
    # Weights that are sent from memory need someone to be sent to.
    sent = broadcast_type(rl) != "filesystem"
    served = _is_multi(rl) and rl.get("inference.deployment.type") != "disaggregated"
    nobody = sent and data_parallel_size(rl.config.inference) * tensor < 1
    if nobody or (served and tensor == 0):
        yield broken(
            rl,
            (_TP,),
            f"{said(rl, _TP)} leaves the inference server no GPU",
            f"Set {_TP} = 1.",
        )


def _spreads_experts(rl: Block) -> bool:
    """Whether a multi-node run has inference whose experts are spread over all of a node."""
    return (
        _is_multi(rl)
        and rl.get("inference.vllm.enable_expert_parallel") is True
        and rl.get("inference.deployment.type") != "disaggregated"
        and rl.get(_TP) != 0
    )


@rule(
    "rl-ep-tp-divides",
    name="Nodes that do not divide into copies of the model",
    part="rl",
    keys=("deployment.type", "inference.vllm.enable_expert_parallel"),
    needs=("enable_expert_parallel",),
    since="HEAD",
    recommendation="Make gpus_per_node a multiple of tensor_parallel_size.",
    source="rl.py RLConfig.auto_setup_deployment",
)
def _ep_tp_divides(rl: Block) -> Iterator[Problem]:
    if _spreads_experts(rl) and rl.get(_PER_NODE) % rl.get(_TP):
        yield broken(
            rl,
            (_TP, _PER_NODE),
            f"{said(rl, _PER_NODE)} is no multiple of {said(rl, _TP)}",
            f"Set {_TP} to a divisor of {rl.get(_PER_NODE)}.",
        )


@rule(
    "rl-ep-dp-total",
    name="Copies of the model that do not fill the inference nodes",
    part="rl",
    keys=("deployment.type", "inference.vllm.enable_expert_parallel"),
    needs=("enable_expert_parallel",),
    since="HEAD",
    recommendation="Set data_parallel_size to all inference GPUs over tensor_parallel_size.",
    source="rl.py RLConfig.auto_setup_deployment",
)
def _ep_dp_total(rl: Block) -> Iterator[Problem]:
    if not _spreads_experts(rl) or rl.get(_PER_NODE) % rl.get(_TP):
        return
    gpus = infer_nodes(rl) * rl.get(_PER_NODE)
    if rl.get(_DP) * rl.get(_TP) != gpus:
        yield broken(
            rl,
            (_DP, _TP, _NODES, "inference.vllm.enable_expert_parallel"),
            f"{said(rl, _DP)} times {said(rl, _TP)} are not the {gpus} GPUs of the inference nodes",
            f"Set {_DP} = {gpus // rl.get(_TP)}.",
        )


@rule(
    "rl-ep-dp-local",
    name="Copies of the model that do not fill a node",
    part="rl",
    keys=("deployment.type", "inference.vllm.data_parallel_size_local"),
    needs=("data_parallel_size_local",),
    since="HEAD",
    recommendation="Remove data_parallel_size_local; prime-rl works it out.",
    source="rl.py RLConfig.auto_setup_deployment",
)
def _ep_dp_local(rl: Block) -> Iterator[Problem]:
    if not _spreads_experts(rl) or rl.get(_DP_LOCAL) is None:
        return
    right = rl.get(_PER_NODE) // rl.get(_TP)
    if rl.get(_DP_LOCAL) != right:
        yield broken(
            rl,
            (_DP_LOCAL,),
            f"{said(rl, _DP_LOCAL)} is not {said(rl, _PER_NODE)} over {said(rl, _TP)}",
            f"Set {_DP_LOCAL} = {right}.",
        )
