"""How the GPUs of a run are shared between the trainer and inference, and what would be faster.

Both halves work at once, on one batch after the other: a step takes as long as the slower half,
and the other one waits. A split is proposed only where prime-rl would take it, both halves fit the
card, and the step is shorter by more than what the estimate could be off by mere rounding.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_prime_train.config.resolve import Config
from pytest_prime_train.cost.found import Need, Ranked, rounded
from pytest_prime_train.cost.needs import Needs, server_gpus
from pytest_prime_train.memory.gpus import all_gpus

if TYPE_CHECKING:
    from pytest_prime_train.cost.find import Search

_LEAST_GAIN = 0.05
_MOST_MARKETS = 3
_MOST_GPUS = 8
_TRAIN = "num_train_gpus"
_SERVE = "num_infer_gpus"


class Half(NamedTuple):
    """A split of a run's GPUs, and what it makes of a step.

    Attributes:
        train_gpus: GPUs of the trainer.
        infer_gpus: GPUs of vLLM.
        trainer_seconds: What the trainer takes for one step.
        generation_seconds: What vLLM takes for the tokens of one step.
        hours: Useful hours of the run; None where its steps are unknown.
        usd: The bill of the completed run; None likewise.
    """

    train_gpus: int
    infer_gpus: int
    trainer_seconds: float
    generation_seconds: float
    hours: float | None
    usd: float | None

    @property
    def step_seconds(self) -> float:
        """One step, at the pace of the slower half."""
        return max(self.trainer_seconds, self.generation_seconds)

    def as_json(self) -> dict[str, Any]:
        """The split in the stable document."""
        return {
            "train_gpus": self.train_gpus,
            "infer_gpus": self.infer_gpus,
            "trainer_s": rounded(self.trainer_seconds),
            "generation_s": rounded(self.generation_seconds),
            "step_s": rounded(self.step_seconds),
            "hours": rounded(self.hours),
            "expected_cost_usd": rounded(self.usd),
        }


class Split(NamedTuple):
    """A faster split of the GPUs of an offer.

    Attributes:
        gpu: The card.
        gpus: Cards of the offer.
        provider: Whose offer the bills are of.
        offer_id: The offer.
        now: The config's own split.
        then: The proposed one.
    """

    gpu: str
    gpus: int
    provider: str
    offer_id: str
    now: Half
    then: Half

    @property
    def faster(self) -> float:
        """Share of the step's time that it saves."""
        return 1 - self.then.step_seconds / self.now.step_seconds

    @property
    def edits(self) -> tuple[str, str]:
        """What to write into the config."""
        return (
            f"deployment.{_TRAIN} = {self.then.train_gpus}",
            f"deployment.{_SERVE} = {self.then.infer_gpus}",
        )

    def as_json(self) -> dict[str, Any]:
        """The proposal in the stable document."""
        saved = None
        if self.now.usd is not None and self.then.usd is not None:
            saved = self.now.usd - self.then.usd
        return {
            "gpu": self.gpu,
            "count": self.gpus,
            "provider": self.provider,
            "id": self.offer_id,
            "now": self.now.as_json(),
            "proposed": self.then.as_json(),
            "faster": rounded(self.faster),
            "saves_usd": rounded(saved),
            "edits": list(self.edits),
        }


def better_splits(search: Search, ranked: list[Ranked]) -> list[Split]:
    """The best split on each of the cheapest kinds of machine, where it beats the config's own.

    Args:
        search: The config, under filters and terms.
        ranked: Its offers, the cheapest first.
    """
    config = search.config
    if config.root != "rl" or not config.inference or search.terms.hours is not None:
        return []
    if config.get("deployment.type") not in (None, "single_node"):
        return []
    seen: set[tuple[str, int]] = set()
    found: list[Split] = []
    others = _Others(search)
    for row in ranked:
        offer, need = row.offer, row.need
        kind = (need.gpu, offer.gpu_count)
        if kind in seen or offer.nodes > 1 or not 2 <= offer.gpu_count <= _MOST_GPUS:
            continue
        if len(seen) >= _MOST_MARKETS:
            break
        seen.add(kind)
        now = others.half(row, need, search.needs)
        if now is None:
            continue
        counts = range(1, offer.gpu_count)
        halves = [others.with_train_gpus(row, train, offer.gpu_count - train) for train in counts]
        best = min(
            (half for half in halves if half is not None),
            key=lambda half: (half.step_seconds, half.train_gpus),
            default=None,
        )
        if best is None or best.step_seconds > (1 - _LEAST_GAIN) * now.step_seconds:
            continue
        found.append(Split(need.gpu, offer.gpu_count, offer.provider, offer.offer_id, now, best))
    return found


class _Others:
    """A config with other splits, each of which prime-rl would take."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self._needs: dict[tuple[int, int], Needs | None] = {}

    def with_train_gpus(self, row: Ranked, train: int, infer: int) -> Half | None:
        """What another split makes of an offer; None where it cannot be."""
        split = (train, infer)
        if split not in self._needs:
            self._needs[split] = self._resolved(train, infer)
        needs = self._needs[split]
        return None if needs is None else self.half(row, needs.of(row.need.gpu), needs)

    def half(self, row: Ranked, need: Need, needs: Needs) -> Half | None:
        """A split that there is; None where it does not fit, or is too little known about."""
        trains, generates = need.trainer_seconds, need.generation_seconds
        if need.verdict not in ("fits", "tight") or not trains or not generates:
            return None
        run = needs.run(all_gpus()[need.gpu])
        if run.trainer is None:
            return None
        bill = self.search.bill(row.offer, need)
        return Half(
            run.trainer.num_gpus,
            server_gpus(run),
            trains,
            generates,
            need.hours,
            None if bill is None else bill.expected_total,
        )

    def _resolved(self, train: int, infer: int) -> Needs | None:
        from pytest_prime_train.schema.rules.registry import run as broken_rules

        config = self.search.config
        data = deepcopy(config.raw)
        deployment = data.setdefault("deployment", {})
        if not isinstance(deployment, dict):
            return None
        deployment[_TRAIN], deployment[_SERVE] = train, infer
        other = Config(data, config.root, config.schema)
        if other.faults or other.conflicts:
            return None
        if any((one.severity or rule.severity) == "error" for rule, one in broken_rules(other)):
            return None
        return Needs(other, self.search.terms, self.search.needs.base)
