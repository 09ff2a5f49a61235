"""Rules of parallelism that only the trainers themselves check, once their processes are up.

prime-rl takes these files, and every process of the trainer stops at its start. The number of
processes follows from the deployment, so the config alone tells it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block, Config

_LATE = (
    "prime-rl takes the file, and the trainer stops once all its processes are up, on rented "
    "machines."
)
_CP, _EP, _REPLICATE = "model.cp", "model.ep", "model.dp_replicate"


def world_size(config: Config) -> int | None:
    """Processes of the trainer of an rl or sft config; ``None`` where it makes no sense."""
    if config.get("deployment.type") == "multi_node":
        nodes, per_node = config.get("deployment.num_train_nodes"), "deployment.gpus_per_node"
        size = nodes * config.get(per_node)
    else:
        size = config.get("deployment.num_train_gpus")
    return size if type(size) is int and size > 0 else None


def world_key(config: Config) -> str:
    """The key that changes the number of processes."""
    several = config.get("deployment.type") == "multi_node"
    return f"deployment.num_train_{'nodes' if several else 'gpus'}"


def replicas(config: Config) -> int:
    """Copies of the sharded model: as written, or as the groups of nodes have it."""
    group = config.get("deployment.nodes_per_fsdp_group")
    nodes = config.get("deployment.num_train_nodes")
    if type(group) is int and group > 0 and type(nodes) is int:
        return nodes // group
    return int(config.trainer.get(_REPLICATE))


@rule(
    "par-world-product",
    name="GPUs that do not divide into the trainer's parallel parts",
    part="whole",
    roots=("rl", "sft"),
    keys=("deployment",),
    needs=("cp", "dp_replicate", "nodes_per_fsdp_group"),
    since="HEAD",
    severity="warning",
    gotcha="train-gpus-not-divisible",
    why=_LATE,
    recommendation="Make the GPUs of the trainer a multiple of dp_replicate times cp.",
    source="src/prime_rl/trainer/parallel_dims.py ParallelDims",
)
def _world_product(top: Block) -> Iterator[Problem]:
    config, trainer = top.config, top.config.trainer
    world, degree, copies = world_size(config), trainer.get(_CP), replicas(config)
    if world is None or degree < 1 or copies < 1 or world % (copies * degree) == 0:
        return
    names = (_CP, _REPLICATE)
    yield broken(
        trainer,
        names,
        f"{world} GPUs of {world_key(config)} do not divide into {said(trainer, *names)}",
        f"Set {key(trainer, _CP)} to a divisor of {world}, or {world_key(config)} so that the "
        f"GPUs are a multiple of {copies * degree}.",
    )


@rule(
    "par-ep-divides",
    name="Experts that do not divide among the trainer's GPUs",
    part="whole",
    roots=("rl", "sft"),
    keys=("deployment",),
    needs=("ep",),
    since="HEAD",
    severity="warning",
    gotcha="ep-not-multiple-of-cp",
    why=_LATE,
    recommendation="Make ep a multiple of cp that divides the GPUs of one replica.",
    source="src/prime_rl/trainer/parallel_dims.py ParallelDims",
)
def _ep_divides(top: Block) -> Iterator[Problem]:
    config, trainer = top.config, top.config.trainer
    experts = trainer.get(_EP)
    world, degree, copies = world_size(config), trainer.get(_CP), replicas(config)
    if type(experts) is not int or experts <= 1 or world is None or degree < 1 or copies < 1:
        return
    if world % (copies * degree):
        return  # Another rule says that.
    if experts % degree or (world // copies) % experts:
        yield broken(
            trainer,
            (_EP, _CP),
            f"{said(trainer, _EP)} is no multiple of {said(trainer, _CP)} that divides the "
            f"{world // copies} GPUs of one replica",
            f'Set {key(trainer, _EP)} = {degree}, or "auto".',
        )


@rule(
    "par-seq-len-cp",
    name="Sequences that do not divide in two for every GPU",
    part="sft",
    keys=("model.cp", "data.seq_len"),
    needs=("seq_len", "cp"),
    since="HEAD",
    severity="warning",
    why=_LATE,
    recommendation="Make data.seq_len a multiple of twice cp.",
    source="src/prime_rl/trainer/parallel_dims.py get_parallel_dims",
)
def _seq_len_cp(sft: Block) -> Iterator[Problem]:
    degree, length = sft.get(_CP), sft.get("data.seq_len")
    # Where even cp does not divide it, prime-rl itself refuses the file.
    if degree < 1 or length % (2 * degree) == 0 or (degree > 1 and length % degree):
        return
    yield broken(
        sft,
        ("data.seq_len", _CP),
        f"{said(sft, 'data.seq_len')} is no multiple of {2 * degree}, twice {said(sft, _CP)}",
        f"Set data.seq_len = {-(-length // (2 * degree)) * 2 * degree}.",
    )


@rule(
    "sft-batch-world",
    name="A batch that does not divide among the GPUs",
    part="sft",
    keys=("data.batch_size", "data.micro_batch_size", "model.cp"),
    needs=("batch_size", "micro_batch_size", "num_train_gpus", "num_train_nodes", "cp"),
    since="HEAD",
    severity="warning",
    why=_LATE,
    recommendation="Make batch_size times cp a multiple of the GPUs times micro_batch_size.",
    source="src/prime_rl/trainer/sft/train.py",
)
def _batch_world(sft: Block) -> Iterator[Problem]:
    world, degree = world_size(sft.config), sft.get(_CP)
    batch, micro = sft.get("data.batch_size"), sft.get("data.micro_batch_size")
    if world is None or degree < 1 or batch % micro or batch * degree % (world * micro) == 0:
        return
    step = world * micro // degree if world * micro % degree == 0 else world * micro
    yield broken(
        sft,
        ("data.batch_size", "data.micro_batch_size", world_key(sft.config)),
        f"{said(sft, 'data.batch_size')} times {said(sft, _CP)} is no multiple of {world} GPUs "
        f"times {said(sft, 'data.micro_batch_size')}",
        f"Set data.batch_size = {-(-batch // step) * step}.",
    )
