"""The parts of a config that rules are about: for each the programs that have it, and its blocks.

prime-rl checks a part only when nothing in it is refused by itself, so the part that a rule is
about also tells when the rule can be asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block, Config

Blocks: TypeAlias = "Callable[[Config], list[Block]]"


def _whole(config: Config) -> list[Block]:
    return [config.top]


def _trainer(config: Config) -> list[Block]:
    return [config.trainer]


def _orchestrator(config: Config) -> list[Block]:
    return [config.orchestrator]


def _inference(config: Config) -> list[Block]:
    return [config.inference]


def _below(part: Blocks, key: str) -> Blocks:
    def blocks(config: Config) -> list[Block]:
        return [block.block(key) for block in part(config)]

    return blocks


def _resume(config: Config) -> list[Block]:
    if config.root != "rl":
        return [config.top.block("resume")]
    return [config.top.block(key) for key in ("resume", "trainer.resume", "orchestrator.resume")]


def _env_vars(config: Config) -> list[Block]:
    tables = ["env_vars"]
    if config.root == "rl":
        tables += ["trainer.env_vars", "orchestrator.env_vars"]
    if config.root in ("rl", "sft"):
        tables.append("inference.env_vars")
    found = [config.top.block(key) for key in tables]
    if config.inference:
        found += [
            config.inference.block(f"deployment.{role}_env_vars") for role in ("prefill", "decode")
        ]
    return found


def _sources(config: Config) -> list[Block]:
    if config.root == "env_server":
        return [config.top]
    return [*config.train_sources(), *config.eval_sources()]


def _task(config: Config) -> list[Block]:
    return [source.block("env.taskset.task") for source in _sources(config)]


def _eval(config: Config) -> list[Block]:
    block = config.top if config.root in ("sft", "evals") else config.orchestrator
    return [block.block("eval")]


def _algo(config: Config) -> list[Block]:
    """The algorithms that are written: the orchestrator's, and those of single sources."""
    found = [config.orchestrator.block("algo")]
    for source in config.orchestrator.items("train.source"):
        found.append(source.block("algo"))
    return found


def _frozen(config: Config) -> list[Block]:
    """Models that an algorithm uses and prime-rl does not host."""
    found = []
    for algo in _algo(config):
        if algo.get("type") == "opd":
            found.append(algo.block("teacher"))
        if type(algo.get("sampling.source")) is dict:
            found.append(algo.block("sampling.source"))
    return found


def _sampler(config: Config) -> list[Block]:
    return [source.block("curriculum.sampler") for source in config.train_sources()]


def _gates(config: Config) -> list[Block]:
    from pytest_prime_train.config.resolve import Block

    found = []
    for source in config.train_sources():
        gates = source.get("curriculum.gates")
        if type(gates) is dict:
            # A gate may have any name, also one that is no dotted key.
            path = source.path("curriculum.gates")
            found += [Block(config, (*path, name)) for name in gates]
    return found


def _concurrency(config: Config) -> list[Block]:
    if config.root in ("rl", "orchestrator"):
        return [config.orchestrator.block("concurrency")]
    return [config.top.block("eval.concurrency")]


def _data(config: Config) -> list[Block]:
    return [config.top.block("data"), config.top.block("val.data")]


_TRAINERS = ("rl", "trainer", "sft")
_ORCHESTRATORS = ("rl", "orchestrator")
_INFERENCES = ("rl", "sft", "inference")
_EVALS = ("rl", "orchestrator", "sft", "evals")

SCOPES: dict[str, tuple[tuple[str, ...], Blocks]] = {
    "rl": (("rl",), _whole),
    "sft": (("sft",), _whole),
    "evals": (("evals",), _whole),
    "whole": ((*_TRAINERS, "orchestrator", "inference"), _whole),
    "deployment": (("rl", "sft"), _below(_whole, "deployment")),
    "monitors.wandb": (("rl",), _below(_whole, "monitors.wandb")),
    "resume": ((*_TRAINERS, "orchestrator"), _resume),
    "env_vars": ((*_TRAINERS, "orchestrator", "inference"), _env_vars),
    "trainer": (_TRAINERS, _trainer),
    "trainer.model": (_TRAINERS, _below(_trainer, "model")),
    "trainer.model.ac": (_TRAINERS, _below(_trainer, "model.ac")),
    "data": (("sft",), _data),
    "orchestrator": (_ORCHESTRATORS, _orchestrator),
    "train": (_ORCHESTRATORS, _below(_orchestrator, "train")),
    "algo": (_ORCHESTRATORS, _algo),
    "frozen": (_ORCHESTRATORS, _frozen),
    "sampler": (_ORCHESTRATORS, _sampler),
    "gate": (_ORCHESTRATORS, _gates),
    "concurrency": (_EVALS, _concurrency),
    "source": ((*_EVALS, "env_server"), _sources),
    "task": ((*_EVALS, "env_server"), _task),
    "eval": (_EVALS, _eval),
    "inference": (_INFERENCES, _inference),
    "inference.vllm": (_INFERENCES, _below(_inference, "vllm")),
    "inference.router": (_INFERENCES, _below(_inference, "router")),
    "inference.kv_cache_offload": (_INFERENCES, _below(_inference, "kv_cache_offload")),
}
"""Name of a part -> programs whose configs have it, and what finds its blocks in a config; a
block that is not there is false."""
