"""Removing old steps from a store, so that whatever interrupts it leaves no half step.

The manifest goes first: from then on the step does not exist. The two newest steps that can be
restored always stay, and so does whatever cannot be told apart from one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from pytest_prime_train.findings import UsageError
from pytest_prime_train.resilience.journal import folder_of, lock, read_doomed, write_doomed
from pytest_prime_train.resilience.keys import data_key, manifest_key, verified_key
from pytest_prime_train.resilience.layout import Layout
from pytest_prime_train.resilience.outcomes import BackupError
from pytest_prime_train.resilience.owner import claim, confirm_own
from pytest_prime_train.resilience.place import (
    Orphan,
    RemoteStep,
    Survey,
    fingerprint_of,
    read_pruned,
    survey,
    write_pruned,
)
from pytest_prime_train.resilience.stores import Store
from pytest_prime_train.resilience.transfer import each

LEAST_KEPT = 2
"""So many of the newest complete steps are never removed."""
_WORKERS = 8
_SECONDS_PER_HOUR = 3600


class PruneReport(NamedTuple):
    """What was removed.

    Attributes:
        kept: Steps that are left.
        deleted: Steps that are gone.
        orphans: How many uploads without a manifest were removed.
        bytes_freed: Bytes of all that.
    """

    kept: tuple[int, ...]
    deleted: tuple[int, ...]
    orphans: int
    bytes_freed: int


def prune(
    layout: Layout,
    store: Store,
    *,
    keep_last: int,
    keep_every: int = 0,
    abandoned_hours: float = 24.0,
    adopt: bool = False,
    dry_run: bool = False,
) -> PruneReport:
    """Remove old steps, and what uploads left that were cut.

    Args:
        keep_last: How many of the newest complete steps stay, at least 2.
        keep_every: Steps that this number divides stay as well; 0 for none.
        abandoned_hours: An upload without a manifest is removed when nothing was added to it for
            so many hours; it may be one that is going on elsewhere.
        adopt: Take the place over from another run.
        dry_run: Only say what would be removed.

    Raises:
        UsageError: Fewer steps are to be kept than must stay.
        BackupError: The store fails; what is left is removed by the next prune.
    """
    if keep_last < LEAST_KEPT:
        raise UsageError(
            f"--keep-last {keep_last}: the {LEAST_KEPT} newest complete steps always stay, because "
            "the newest may turn out to be unusable"
        )
    folder = folder_of(layout, store)
    with lock(folder, layout.run):
        if not dry_run:
            claim(store, layout, adopt=adopt)
        found = survey(store, layout, adopt=adopt)
        steps = doomed_steps(found.complete(), keep_last, keep_every)
        orphans = _abandoned(found, abandoned_hours, read_doomed(folder))
        report = PruneReport(
            kept=tuple(step.step for step in found.complete() if step not in steps),
            deleted=tuple(step.step for step in steps),
            orphans=len(orphans),
            bytes_freed=sum(step.bytes for step in steps) + sum(one.bytes for one in orphans),
        )
        if not dry_run:
            names = {
                *(orphan.generation for orphan in orphans),
                *(step.manifest.generation for step in steps if step.manifest is not None),
            }
            write_doomed(folder, names)
            _remove(store, layout, steps, orphans)
            _give_up_uploads(store, abandoned_hours)
            write_doomed(folder, set())
        return report


def doomed_steps(complete: list[RemoteStep], keep_last: int, keep_every: int) -> list[RemoteStep]:
    """Which of the complete steps are to go, ascending.

    >>> doomed_steps([], 2, 0)
    []
    """
    older = complete[: -max(keep_last, LEAST_KEPT)]
    return [step for step in older if not keep_every or step.step % keep_every]


def _abandoned(found: Survey, hours: float, doomed: set[str]) -> list[Orphan]:
    limit = time.time() - hours * _SECONDS_PER_HOUR
    return [
        orphan for orphan in found.orphans if orphan.modified < limit or orphan.generation in doomed
    ]


def _remove(store: Store, layout: Layout, steps: list[RemoteStep], orphans: list[Orphan]) -> None:
    if steps:
        marks = {
            step.step: fingerprint_of(step.manifest) for step in steps if step.manifest is not None
        }
        write_pruned(store, {**read_pruned(store), **marks})
    for step in steps:
        confirm_own(store, layout)
        store.delete(manifest_key(step.step))
        _delete(store, [verified_key(step.step), *_data_keys(step)])
    for orphan in orphans:
        _delete(store, orphan.keys)


def _data_keys(step: RemoteStep) -> Iterable[str]:
    manifest = step.manifest
    return [data_key(manifest, entry) for entry in manifest.files] if manifest is not None else []


def _delete(store: Store, keys: Iterable[str]) -> None:
    each(keys, store.delete, _WORKERS)


def _give_up_uploads(store: Store, hours: float) -> None:
    """Give up uploads in parts that nobody goes on with; some stores cannot list them."""
    limit = time.time() - hours * _SECONDS_PER_HOUR
    with suppress(BackupError):
        for upload in list(store.uploads("data/")):
            if upload.started < limit:
                store.abort(upload.key, upload.id)
