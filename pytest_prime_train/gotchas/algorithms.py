"""What is learned from rollouts: teachers, losses and their weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import KeyPath, Problem, format_key
from pytest_prime_train.gotchas.agents import named
from pytest_prime_train.gotchas.registry import as_recommended, gotcha

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config
    from pytest_prime_train.facts.asking import Facts

_CATEGORY = "rollouts/algorithm"

_WITH_ADVANTAGES = ("grpo", "max_rl", "rae", "echo", "hierarchical_grpo")
_TIGHT_MASK = 0.05
_THIS_MACHINE = ("localhost", "127.0.0.1", "0.0.0.0")


@gotcha(
    id="opd-teacher-is-policy-server",
    name="opd teacher points at the policy server",
    severity="warning",
    category=_CATEGORY,
    hours_lost=2.0,
    hours_basis="judgement: a run against itself",
    since="0.7",
    roots=("rl", "orchestrator"),
    keys=("orchestrator.algo.teacher.base_url", "orchestrator.model.client.base_url"),
    needs=("teacher",),
    why="Only the server of the policy is started by prime-rl; at its address the teacher's name "
    "is unknown, or the teacher is the policy and there is nothing to learn from it.",
    recommendation="Start the teacher on another port and GPU and set teacher.base_url to it.",
    evidence=(
        "prime-rl docs/training.md, Algorithms",
        "prime-rl configs/algorithm.py: prime-rl only ever hosts the policy",
    ),
    confidence="judgement",
    detected_by="never",
)
def opd_teacher_is_policy_server(config: Config) -> Iterator[Problem]:
    policy = _local_port(config.orchestrator.get("model.client.base_url"))
    told: list[KeyPath] = []
    for source in config.train_sources():
        url = source.get("algo.teacher.base_url")
        key = source.home("algo.teacher.base_url")
        if policy and _local_port(url) == policy and key not in told:
            told.append(key)
            yield Problem(
                key,
                f"the teacher of {named(source)} is at {url}, where the policy is served",
                f"Start the teacher on another port and set {format_key(key)} to it.",
                part="value",
            )


@gotcha(
    id="frozen-endpoint-not-started",
    name="Frozen teacher must be started by hand",
    severity="info",
    category=_CATEGORY,
    hours_lost=1.5,
    hours_basis="a run that waits without a word",
    since="0.7",
    roots=("rl", "orchestrator"),
    keys=("orchestrator.algo.teacher", "orchestrator.algo.sampling.source"),
    needs=("teacher", "source"),
    why="No frozen model is started by prime-rl; rollouts wait without an error until the server "
    "is up.",
    recommendation="Ask the teacher for GET /v1/models before the launch.",
    evidence=("prime-rl entrypoints/rl.py: rl_local says so in its log",),
    confidence="verified-in-source",
    detected_by="runtime-warning",
)
def frozen_endpoint_not_started(config: Config) -> Iterator[Problem]:
    told: list[KeyPath] = []
    for source in config.train_sources():
        for name in ("algo.teacher", "algo.sampling.source"):
            model = source.get(name)
            key = source.home(name)
            if type(model) is not dict or key in told:
                continue
            told.append(key)
            url = str(model.get("base_url")).rstrip("/")
            yield Problem(
                key,
                f"{named(source)} needs {model.get('name')} at {url}, which prime-rl does not "
                "start",
                f"Start the model of {format_key(key)} and ask {url}/models before the launch.",
            )


@gotcha(
    id="loss-advantage-weight-zero",
    name="adv_tau = 0 switches the reward signal off",
    severity="error",
    category=_CATEGORY,
    hours_lost=6.0,
    hours_basis="judgement: a run that learned nothing",
    since="0.3",
    roots=("rl",),
    keys=("trainer.loss.adv_tau",),
    needs=("adv_tau",),
    why="The advantages are multiplied by it, so only the KL term is left and no reward changes "
    "the policy.",
    recommendation="Set trainer.loss.adv_tau = 1.0.",
    evidence=("prime-rl trainer/rl/loss.py: advantages = adv_tau * advantages",),
    confidence="verified-in-source",
    detected_by="never",
    fix=as_recommended,
)
def loss_advantage_weight_zero(config: Config) -> Iterator[Problem]:
    if config.trainer.get("loss.adv_tau") != 0:
        return
    algorithms = [source.get("algo.type") for source in config.train_sources()]
    for algorithm in algorithms:
        if algorithm in _WITH_ADVANTAGES:
            key = config.trainer.home("loss.adv_tau")
            yield Problem(
                key,
                f"the advantages of {algorithm} are multiplied by 0",
                f"Set {format_key(key)} = 1.0.",
                part="value",
            )
            return


@gotcha(
    id="dppo-mask-too-tight",
    name="DPPO masking thresholds close to zero",
    severity="warning",
    category=_CATEGORY,
    hours_lost=4.0,
    hours_basis="judgement: a run that hardly moves",
    since="0.6",
    roots=("rl", "trainer"),
    keys=("trainer.loss.dppo_mask_low", "trainer.loss.dppo_mask_high"),
    needs=("dppo_mask_low", "dppo_mask_high"),
    why="Nearly all tokens of an older policy are masked; even 0.1 was the default for three days "
    "only.",
    recommendation="Set both thresholds to 0.2, the default.",
    evidence=(
        "prime-rl trainer/rl/loss.py: probs_diff against the thresholds",
        "prime-rl commits bb23623d6 and 82acb12ed",
    ),
    confidence="verified-in-source",
    detected_by="never",
    fix=as_recommended,
)
def dppo_mask_too_tight(config: Config) -> Iterator[Problem]:
    trainer = config.trainer
    for name in ("loss.dppo_mask_low", "loss.dppo_mask_high"):
        threshold = trainer.get(name)
        if threshold is not None and threshold < _TIGHT_MASK:
            key = trainer.home(name)
            yield Problem(
                key,
                f"tokens whose probability changed by more than {threshold} are masked",
                f"Set {format_key(key)} = 0.2.",
                part="value",
            )


@gotcha(
    id="echo-batch-dropped-by-zero-advantage",
    name="echo relies on samples that the zero-advantage filter may drop",
    severity="info",
    category=_CATEGORY,
    hours_lost=2.0,
    hours_basis="reported in a pull request",
    since="0.7",
    roots=("rl", "orchestrator"),
    keys=("orchestrator.algo.type", "orchestrator.train.filter_zero_advantages"),
    needs=("algo",),
    why="Rollouts with a signal from their observations were dropped because their advantage was "
    "zero.",
    recommendation="Set orchestrator.train.filter_zero_advantages = false if observations matter.",
    evidence=("prime-rl pull request 3223",),
    confidence="reported",
    detected_by="never",
)
def echo_batch_dropped_by_zero_advantage(config: Config) -> Iterator[Problem]:
    orchestrator = config.orchestrator
    if orchestrator.get("train.filter_zero_advantages") is False:
        return
    for source in config.train_sources():
        if source.get("algo.type") == "echo":
            key = source.home("algo.type")
            instead = format_key(orchestrator.path("train.filter_zero_advantages"))
            yield Problem(
                key,
                f"{named(source)} trains on observations with echo, and samples without an "
                "advantage are dropped",
                f'Keep {format_key(key)} = "echo" and set {instead} = false if they matter.',
                part="value",
            )
            return


def _local_port(url: object) -> str | None:
    """The port of a server on this machine; ``None`` for one elsewhere."""
    if type(url) is not str:
        return None
    host, _, port = url.partition("//")[2].partition("/")[0].partition(":")
    return (port or "80") if host in _THIS_MACHINE else None


@gotcha(
    id="max-rl-negative-rewards",
    name="max_rl with rewards that can be negative",
    severity="warning",
    category=_CATEGORY,
    hours_lost=4.0,
    hours_basis="judgement",
    since="0.7",
    roots=("rl", "orchestrator"),
    keys=("orchestrator.algo.type",),
    needs=("algo",),
    facts=("env_reward_min",),
    why="The advantage is divided by the mean of the group: at or below zero there is none, and "
    "near zero it explodes.",
    recommendation='Set orchestrator.algo.type = "grpo", or make the rewards positive.',
    evidence=("prime-rl orchestrator/algo/max_rl.py: MaxRLAlgorithm",),
    confidence="verified-in-source",
    detected_by="never",
)
def max_rl_negative_rewards(config: Config, facts: Facts) -> Iterator[Problem]:
    for source in config.train_sources():
        if source.get("algo.type") != "max_rl":
            continue
        least = facts.ask("env_reward_min")
        if not isinstance(least, int | float) or least >= 0:
            return
        key = source.home("algo.type")
        yield Problem(
            key,
            f'{format_key(key)} = "max_rl" divides by the mean reward, and rewards go down to '
            f"{least:g}",
            f'Set {format_key(key)} = "grpo".',
            part="value",
        )
        return
