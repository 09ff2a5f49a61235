"""Rules of algorithms and of the models that they use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block

_ROLES = ("system", "user", "assistant", "tool")


@rule(
    "algo-frozen-needs-url",
    name="A model that nobody hosts",
    part="frozen",
    keys=("base_url",),
    needs=("algo",),
    since="v0.7.0",
    recommendation="Add base_url: prime-rl hosts no model but the one it trains.",
    source="algorithm.py FrozenModelConfig.require_explicit_endpoint",
)
def _frozen_needs_url(model: Block) -> Iterator[Problem]:
    if not model.written("base_url"):
        url = key(model, "base_url")
        yield Problem(
            model.path("base_url"),
            f"{url} is not set, and prime-rl hosts no model but the one it trains",
            f'Add {url} = "http://HOST:PORT/v1", where {said(model, "name")} is served.',
        )


@rule(
    "algo-on-policy-source",
    name="An algorithm that has to sample from the policy",
    part="algo",
    keys=("type", "sampling.source"),
    needs=("algo",),
    since="v0.7.0",
    recommendation='Remove sampling.source, or set type = "sft".',
    source="algorithm.py BaseAlgoConfig.validate_sampling_source",
)
def _on_policy_source(algo: Block) -> Iterator[Problem]:
    if type(algo.get("sampling.source")) is dict and algo.get("type") != "sft":
        yield Problem(
            algo.path("sampling.source"),
            f"{said(algo, 'type')} learns from what the policy itself samples, and "
            f"{key(algo, 'sampling.source')} is another model",
            f'Remove {key(algo, "sampling.source")}, or set {key(algo, "type")} = "sft".',
        )


@rule(
    "algo-sft-needs-frozen",
    name="Distillation without a teacher",
    part="algo",
    keys=("type", "sampling.source"),
    needs=("algo",),
    since="v0.7.0",
    recommendation="Add sampling.source with the name and base_url of the teacher.",
    source="algorithm.py SFTAlgoConfig.require_frozen_source",
)
def _sft_needs_frozen(algo: Block) -> Iterator[Problem]:
    if algo.get("type") == "sft" and algo.get("sampling.source") == "policy":
        yield broken(
            algo,
            ("sampling.source", "type"),
            f"{said(algo, 'type')} learns from what a teacher samples, and "
            f"{key(algo, 'sampling.source')} names none",
            f'Set {key(algo, "sampling.source")} = {{ name = "TEACHER", base_url = '
            '"http://HOST:PORT/v1" }.',
        )


@rule(
    "algo-echo-role",
    name="Echo without a role to learn from",
    part="algo",
    keys=("roles",),
    needs=("roles",),
    since="v0.7.0",
    recommendation="Add roles.tool, or remove roles for that default.",
    source="algorithm.py EchoRolesConfig.require_a_role",
)
def _echo_role(algo: Block) -> Iterator[Problem]:
    if algo.get("type") != "echo" or not algo.written("roles"):
        return
    if all(algo.get(f"roles.{role}") is None for role in _ROLES):
        yield Problem(
            algo.path("roles"),
            f"{key(algo, 'roles')} switches on none of {', '.join(_ROLES)}, and writing it "
            "replaces the default",
            f"Remove {key(algo, 'roles')} for its default, or add {key(algo, 'roles.tool')} = "
            "{ alpha = 0.1 }.",
        )
