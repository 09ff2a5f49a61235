"""Environments that cannot be trained on, or that stall the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem, format_key
from pytest_prime_train.gotchas.agents import harness, named
from pytest_prime_train.gotchas.derived import trains_on_fake_data
from pytest_prime_train.gotchas.fragments import is_fragment
from pytest_prime_train.gotchas.registry import as_recommended, gotcha

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config

_CATEGORY = "data/envs"

_FEW_ROLLOUTS = 128


@gotcha(
    id="source-name-all-reserved",
    name='A source named "all"',
    severity="error",
    category=_CATEGORY,
    hours_lost=1.0,
    hours_basis="the start of a run and its first batch",
    since="0.5",
    roots=("rl", "orchestrator"),
    keys=("orchestrator.train.source[].name",),
    why='Only "agg" is refused by prime-rl; the packer asserts that no sample is from "all", so '
    "the orchestrator dies at the first batch.",
    recommendation="Give the source another name.",
    evidence=("prime-rl trainer/batch.py: prepare_sample asserts that env_name is not all",),
    confidence="verified-in-source",
    detected_by="runtime-fatal",
)
def source_name_all_reserved(config: Config) -> Iterator[Problem]:
    for source in config.train_sources():
        name = source.get("name")
        if (name or source.get("env.taskset.id")) == "all":
            key = source.path("name")
            yield Problem(
                key,
                'the name "all" is that of aggregated metrics, and the first batch fails',
                f'Set {format_key(key)} to another name, such as "everything".',
                part="value",
            )


@gotcha(
    id="no-train-source",
    name="No training source",
    severity="error",
    category=_CATEGORY,
    hours_lost=0.7,
    hours_basis="the start of a run, inference included",
    since="0.6",
    roots=("rl", "orchestrator"),
    keys=("orchestrator.train.source",),
    why="No environment is the default, and the orchestrator raises only after inference is up.",
    recommendation="Add [[orchestrator.train.source]] with env.taskset.id.",
    evidence=("prime-rl orchestrator/train_source.py: TrainSource needs at least one train env",),
    confidence="verified-in-source",
    detected_by="runtime-fatal",
)
def no_train_source(config: Config) -> Iterator[Problem]:
    if config.orchestrator.get("train.source") != [] or trains_on_fake_data(config):
        return
    if not is_fragment(config):
        key = config.orchestrator.path("train.source")
        # A file without a model is most likely given to prime-rl together with another.
        whole = "name" in config.names
        yield Problem(
            key,
            "the orchestrator has no environment to train on",
            f"Add [[{format_key(key)}]] with env.taskset.id.",
            severity=None if whole else "warning",
        )


@gotcha(
    id="harness-default-bash",
    name="Harness unset: bash agent instead of a chat loop",
    severity="warning",
    category=_CATEGORY,
    hours_lost=3.0,
    hours_basis="judgement: a run on another task than was meant",
    since="0.7",
    roots=("rl", "orchestrator", "evals"),
    keys=("orchestrator.train.source[].env.agent.harness.id",),
    why="A taskset without a harness of its own gets bash: a plain question becomes a shell agent "
    "with another prompt and many turns.",
    recommendation='Set env.agent.harness.id = "null" for chat, or "bash" where that is meant.',
    evidence=(
        "verifiers v1 utils/loaders.py: default_harness_id",
        "prime-rl docs/configuration.md, Environments",
    ),
    confidence="verified-in-source",
    detected_by="never",
)
def harness_default_bash(config: Config) -> Iterator[Problem]:
    for source in [*config.train_sources(), *config.eval_sources()]:
        # Who says nothing of the agent at all most likely has a taskset that brings its own.
        if not source.written("env.agent") or source.get("env.agent.harness.id") is not None:
            continue
        key = source.path("env.agent.harness.id")
        yield Problem(
            key,
            f"the agent of {named(source)} has no harness, so it is bash unless the taskset brings "
            "one",
            f'Set {format_key(key)} = "null" for chat, or "bash" where that is meant.',
        )


@gotcha(
    id="rollout-timeout-unset",
    name="Agent without any time limit",
    severity="info",
    category=_CATEGORY,
    hours_lost=4.0,
    hours_basis="judgement: engines that wait for a tool",
    since="0.7",
    roots=("rl", "orchestrator"),
    keys=("orchestrator.train.source[].env.agent.timeout.rollout",),
    why="A tool or sandbox that hangs keeps its place and its group until it is too old, unless "
    "the task has a limit.",
    recommendation="Set env.agent.timeout.rollout.",
    evidence=(
        "verifiers v1 configs/agent.py: TimeoutConfig has no limits by default",
        "prime-rl issue 1713",
    ),
    confidence="verified-in-source",
    detected_by="never",
    fix=as_recommended,
)
def rollout_timeout_unset(config: Config) -> Iterator[Problem]:
    for source in config.train_sources():
        if harness(source) in (None, "null"):
            continue
        if source.get("env.agent.timeout.rollout") is not None:
            continue
        if source.get("env.timeout.episode") is None:
            key = source.path("env.agent.timeout.rollout")
            yield Problem(
                key,
                f"nothing limits how long a rollout of {named(source)} takes",
                f"Set {format_key(key)} = 3600.",
            )


@gotcha(
    id="max-turns-unset-agentic",
    name="Agent without a turn limit",
    severity="info",
    category=_CATEGORY,
    hours_lost=2.0,
    hours_basis="judgement: steps as long as their longest loop",
    since="0.7",
    roots=("rl", "orchestrator"),
    keys=("orchestrator.train.source[].env.agent.max_turns",),
    why="A policy that calls tools in a loop goes on to the end of its context each time.",
    recommendation="Set env.agent.max_turns.",
    evidence=("verifiers v1 configs/agent.py: AgentConfig.max_turns",),
    confidence="judgement",
    detected_by="never",
    fix=as_recommended,
)
def max_turns_unset_agentic(config: Config) -> Iterator[Problem]:
    for source in config.train_sources():
        if harness(source) in (None, "null") or source.get("env.agent.max_turns") is not None:
            continue
        if source.get("env.agent.max_total_tokens") is None:
            key = source.path("env.agent.max_turns")
            yield Problem(
                key,
                f"nothing limits how many turns a rollout of {named(source)} has",
                f"Set {format_key(key)} = 50.",
            )


@gotcha(
    id="env-pool-one-worker",
    name="A single env worker for many rollouts",
    severity="warning",
    category=_CATEGORY,
    hours_lost=4.0,
    hours_basis="reported: engines that waited for an event loop",
    since="0.6",
    roots=("rl", "orchestrator"),
    keys=("orchestrator.train.source[].serve.pool.num_workers",),
    needs=("pool",),
    why="One Python process drives every episode: its event loop lags, requests time out, and the "
    "engines have nothing to do.",
    recommendation="Delete serve.pool, which then has a worker for every 128 episodes.",
    evidence=(
        "prime-rl issue 1713",
        "verifiers v1 configs/serve.py: ElasticPoolConfig",
    ),
    confidence="judgement",
    detected_by="never",
)
def env_pool_one_worker(config: Config) -> Iterator[Problem]:
    most = config.orchestrator.get("concurrency.max_inflight")
    if type(most) is int and most <= _FEW_ROLLOUTS:
        return
    for source in config.train_sources():
        if source.get("serve.pool.type") == "static" and source.get("serve.pool.num_workers") == 1:
            key = source.path("serve.pool.num_workers")
            yield Problem(
                key,
                f"one process drives all rollouts of {named(source)}"
                + ("" if most is None else f", up to {most} at a time"),
                f"Delete {format_key(source.path('serve.pool'))}, or set num_workers = 8.",
                part="value",
            )


@gotcha(
    id="serve-address-not-started",
    name="serve.address marks the env server as external",
    severity="warning",
    category=_CATEGORY,
    hours_lost=1.0,
    hours_basis="the start of a run that waits",
    since="0.8",
    roots=("rl",),
    keys=("orchestrator.train.source[].serve.address",),
    needs=("address",),
    why="The launcher does not start such a server, and the orchestrator waits for its address.",
    recommendation="Delete serve.address unless the server runs elsewhere.",
    evidence=("prime-rl entrypoints/rl.py: env_servers leaves out sources with an address",),
    confidence="verified-in-source",
    detected_by="never",
)
def serve_address_not_started(config: Config) -> Iterator[Problem]:
    for source in [*config.train_sources(), *config.eval_sources()]:
        address = source.get("serve.address")
        if address is not None:
            key = source.path("serve.address")
            yield Problem(
                key,
                f"prime-rl does not start the environment server at {address}",
                f"Delete {format_key(key)} unless it is started elsewhere.",
                part="value",
            )
