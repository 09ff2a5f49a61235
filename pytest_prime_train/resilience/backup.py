"""Backing up the steps of a run: which of them are sent, and what is cleaned up after them."""

from __future__ import annotations

import threading
from typing import NamedTuple

from pytest_prime_train.resilience.checkpoint import inspect, local_steps
from pytest_prime_train.resilience.journal import folder_of, lock, open_journal, pushes_left
from pytest_prime_train.resilience.keys import data_key
from pytest_prime_train.resilience.layout import Layout
from pytest_prime_train.resilience.manifest import Manifest
from pytest_prime_train.resilience.outcomes import BackupError, NotComplete, local_files
from pytest_prime_train.resilience.owner import claim
from pytest_prime_train.resilience.place import (
    RemoteStep,
    fingerprint_of_local,
    is_copy,
    read_pruned,
    survey,
)
from pytest_prime_train.resilience.stores import Store
from pytest_prime_train.resilience.transfer import Progress, each, require_going
from pytest_prime_train.resilience.upload import Pushed, StepGone, Task, Upload

_WORKERS = 8


class PushReport(NamedTuple):
    """What became of every step that a push was about.

    Attributes:
        pushed: Backed up by it.
        already: Backed up before.
        pruned: Left out, because they were given up on purpose.
        dropped: Given up, and why: prime-rl deleted or changed them meanwhile.
        incomplete: Not complete on this machine, and why.
        notes: What went wrong without harm.
        bytes_there: Bytes of those that were backed up before.
    """

    pushed: tuple[Pushed, ...]
    already: tuple[int, ...]
    pruned: tuple[int, ...]
    dropped: tuple[tuple[int, str], ...]
    incomplete: tuple[tuple[int, str], ...]
    notes: tuple[str, ...]
    bytes_there: int


def push(
    layout: Layout,
    store: Store,
    *,
    step: int | None = None,
    adopt: bool = False,
    deep: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> PushReport:
    """Back up every complete step that is not in the store yet, the newest first.

    Args:
        step: Only this one, even if it was pruned before.
        adopt: Take the place over from another run.
        deep: Compare the checksum of every entry before a step is sent.
        stop: Set by the caller to end it soon; a later push goes on where it was.

    Raises:
        BackupError: What kept it from being done; what was backed up before stays so.
    """
    folder = folder_of(layout, store)
    with local_files("looking at the checkpoints"):
        there = local_steps(layout)
    steps = there if step is None else [step]
    with lock(folder, layout.run):
        claim(store, layout, adopt=adopt)
        found = survey(store, layout)
        job = _Push(Task(layout, store, folder, found, progress or Progress(), stop))
        job.tidy(set(there))
        pruned = read_pruned(store) if step is None else {}
        for number in reversed(steps):
            require_going(stop)
            job.consider(number, pruned.get(number, ""), deep)
        return job.report()


def push_step(
    layout: Layout,
    store: Store,
    step: int,
    *,
    adopt: bool = False,
    deep: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Pushed:
    """Back up one step; see ``push``. If it was backed up before, nothing is sent.

    Raises:
        NotComplete: It is not complete, or was deleted or changed while it was sent.
        BackupError: Anything else that kept it from being done.
    """
    report = push(layout, store, step=step, adopt=adopt, deep=deep, progress=progress, stop=stop)
    require_pushed(report, step)
    return report.pushed[0] if report.pushed else Pushed(step, report.bytes_there, 0, 0.0)


class _Push:
    """One push of several steps."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.bytes_there = 0
        self.pushed: list[Pushed] = []
        self.already: list[int] = []
        self.pruned: list[int] = []
        self.dropped: list[tuple[int, str]] = []
        self.incomplete: list[tuple[int, str]] = []
        self.notes: list[str] = []

    def report(self) -> PushReport:
        return PushReport(
            tuple(self.pushed),
            tuple(self.already),
            tuple(self.pruned),
            tuple(self.dropped),
            tuple(self.incomplete),
            tuple(self.notes),
            self.bytes_there,
        )

    def consider(self, number: int, pruned: str, deep: bool) -> None:
        """Back up a step if it is complete and not backed up."""
        with local_files("looking at the checkpoints"):
            local = inspect(self.task.layout, number)
        if not local.complete:
            self.incomplete.append((number, local.faults[0]))
            return
        remote = self.task.found.step(number)
        if is_copy(local, remote):
            self.already.append(number)
            self.bytes_there += local.bytes
            return
        if pruned and pruned == fingerprint_of_local(local):
            self.pruned.append(number)
            return
        if deep:
            with local_files("looking at the checkpoints"):
                faults = inspect(self.task.layout, number, deep=True).faults
            if faults:
                self.incomplete.append((number, faults[0]))
                return
        upload = Upload(self.task, local)
        try:
            self.pushed.append(upload.run())
        except StepGone as gone:
            self.dropped.append((number, str(gone)))
            upload.give_up()
        else:
            self._clean(number, upload.manifest, remote)

    def _clean(self, number: int, manifest: Manifest, remote: RemoteStep | None) -> None:
        """Remove what earlier uploads of a step left."""
        keys = [
            key
            for orphan in self.task.found.orphans
            if orphan.step == number and orphan.generation != manifest.generation
            for key in orphan.keys
        ]
        if remote is not None and remote.manifest is not None:
            before = remote.manifest
            keys += [data_key(before, entry) for entry in before.files]
        try:
            each(keys, self.task.store.delete, _WORKERS)
        except BackupError as error:
            self.notes.append(
                f"what an earlier upload of step {number} left is still there: {error}"
            )

    def tidy(self, steps: set[int]) -> None:
        """Give up what earlier runs began for steps that are gone."""
        for number in pushes_left(self.task.folder):
            if number not in steps:
                self.task.give_up(open_journal(self.task.folder, number), number)


def require_pushed(report: PushReport, step: int) -> None:
    """Make sure that a step which was asked for is backed up.

    Raises:
        NotComplete: It is not.
    """
    for number, why in (*report.incomplete, *report.dropped):
        if number == step:
            raise NotComplete(f"step {step} is not backed up: {why}")
