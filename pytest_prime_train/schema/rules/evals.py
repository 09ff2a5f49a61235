"""Rules of evals configs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block


@rule(
    "evals-skip-first",
    name="An evaluation that skips itself",
    part="evals",
    keys=("eval.skip_first_step", "online"),
    needs=("skip_first_step",),
    since="HEAD",
    recommendation="Set eval.skip_first_step = false, or add an online table.",
    source="evals.py EvalsConfig.validate_skip_first_step_is_online_only",
)
def _skip_first(evals: Block) -> Iterator[Problem]:
    if evals.get("eval.skip_first_step") and evals.get("online") is None:
        yield broken(
            evals,
            ("eval.skip_first_step",),
            f"{said(evals, 'eval.skip_first_step')} skips the only evaluation there is, as there "
            "is no table [online]",
            f"Set {key(evals, 'eval.skip_first_step')} = false, or add [online].",
        )
