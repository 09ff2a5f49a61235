"""How often machines are lost: by the user's own runs where they tell, else by assumption."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pytest_prime_train.cost.found import SECONDS, Terms
from pytest_prime_train.findings import UsageError

_LOSSES = frozenset(("preempted", "hardware"))
"""Causes of failure that are losses of a machine."""
_SPOT_TAG = "spot"
_OPTIONS = {True: "--spot-loss-hours", False: "--on-demand-loss-hours"}


class Seen(NamedTuple):
    """What the user's own runs saw of one kind of machine.

    Attributes:
        machine_hours: Hours of all machines together.
        losses: How many of them were lost.
        runs: Runs that this was seen in.
    """

    machine_hours: float
    losses: int
    runs: int


def own_terms(
    *,
    spot_loss_hours: float | None = None,
    on_demand_loss_hours: float | None = None,
    seen: Mapping[bool, Seen] | None = None,
) -> Terms:
    """What is taken for granted about losses.

    Args:
        spot_loss_hours: As the user says; None to take the user's own runs, or the assumption.
        on_demand_loss_hours: Likewise.
        seen: What the user's runs saw of spot machines (True) and others (False); None to read
            the history of runs.
    """
    assumed = Terms()
    if seen is None:
        seen = seen_in_history()
    spot, spot_from = _mean(True, spot_loss_hours, assumed.spot_loss_hours, seen)
    steady, steady_from = _mean(False, on_demand_loss_hours, assumed.on_demand_loss_hours, seen)
    return assumed._replace(
        spot_loss_hours=spot,
        on_demand_loss_hours=steady,
        spot_from=spot_from,
        on_demand_from=steady_from,
    )


def _mean(
    spot: bool, given: float | None, assumed: float, seen: Mapping[bool, Seen]
) -> tuple[float, str]:
    """Mean hours until a machine is lost, and where that comes from."""
    if given is not None:
        return given, _OPTIONS[spot]
    own = seen.get(spot)
    if own is None or own.machine_hours <= 0:
        return assumed, ""
    kind = "spot" if spot else "on-demand"
    runs = "1 own run" if own.runs == 1 else f"{own.runs} own runs"
    losses = "1 loss" if own.losses == 1 else f"{own.losses} losses"
    said = f"{losses} in {own.machine_hours:.0f} {kind} machine-hours of {runs}"
    # The assumption counts as one loss: few hours hardly move it, many hardly know of it.
    return (own.machine_hours + assumed) / (own.losses + 1), said


def seen_in_history(path: Path | None = None) -> dict[bool, Seen]:
    """What the history of the user's runs says of spot machines (True) and others (False).

    The history does not know what kind of machine a run had: one that was preempted, or that is
    tagged ``spot``, had spot machines, and every other one did not.

    Args:
        path: The history; None for the user's own, which is not made where there is none.

    Returns:
        Nothing of a kind that was never seen, or where the history cannot be read.
    """
    from pytest_prime_train.history.database import default_path, opened

    path = path or default_path()
    if not path.exists():
        return {}
    from pytest_prime_train.history.entries import attempts_of, document_of, listed, tags_of

    seen: dict[bool, Seen] = {}
    try:
        with opened(path) as connection:
            for entry in listed(connection, kind="launched"):
                attempts = attempts_of(connection, entry.id)
                hours = sum(one["seconds"] or 0.0 for one in attempts) / SECONDS
                if not hours:
                    continue
                causes = [one["cause"] for one in attempts]
                spot = "preempted" in causes or _SPOT_TAG in tags_of(connection, entry.id)
                machines = _machines(document_of(connection, entry.id, "data"))
                known = seen.get(spot, Seen(0.0, 0, 0))
                seen[spot] = Seen(
                    known.machine_hours + hours * machines,
                    known.losses + sum(cause in _LOSSES for cause in causes),
                    known.runs + 1,
                )
    except (UsageError, ValueError, TypeError):
        return {}
    return seen


def _machines(data: Any) -> int:
    """Machines that a launched config spread over."""
    deployment = data.get("deployment") if isinstance(data, dict) else None
    if not isinstance(deployment, dict):
        return 1
    names = ("num_nodes", "num_train_nodes", "num_infer_nodes")
    counts = [deployment.get(name) for name in names]
    return max(sum(one for one in counts if isinstance(one, int) and one > 0), 1)
