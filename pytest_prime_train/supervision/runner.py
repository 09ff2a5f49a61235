"""A run from its first launch to its end: launch, watch, tell failures apart, resume."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from pytest_prime_train.findings import UsageError
from pytest_prime_train.resilience.aside import set_aside
from pytest_prime_train.resilience.checkpoint import inspect, local_steps
from pytest_prime_train.resilience.files import make_folder
from pytest_prime_train.resilience.outcomes import BackupError, NotComplete, reason
from pytest_prime_train.supervision import exits
from pytest_prime_train.supervision.attempt import Attempt, Ended
from pytest_prime_train.supervision.copies import Copier
from pytest_prime_train.supervision.failures import STOPS, Cause, tell
from pytest_prime_train.supervision.locking import OtherRunner, only_runner
from pytest_prime_train.supervision.monitor import Monitor
from pytest_prime_train.supervision.notices import Notice, Watcher
from pytest_prime_train.supervision.options import RunOptions
from pytest_prime_train.supervision.plan import Plan, make_plan, plan_text
from pytest_prime_train.supervision.preflight import GIB, Checked, check_launch, text_of
from pytest_prime_train.supervision.processes import Tree, adopt_orphans, names
from pytest_prime_train.supervision.progress import Progress
from pytest_prime_train.supervision.recording import (
    AttemptEnd,
    NoRecorder,
    Recorder,
    RunEnd,
    RunStart,
)
from pytest_prime_train.supervision.show import Voice
from pytest_prime_train.supervision.steps import clear_away, fetch
from pytest_prime_train.supervision.webhook import tell_webhook

if TYPE_CHECKING:
    from pytest_prime_train.health.watch import Alert
    from pytest_prime_train.resilience.stores import Store

_CODES = {
    "config": exits.CONFIG_ERROR,
    "out-of-memory": exits.OUT_OF_MEMORY,
    "disk-full": exits.DISK_FULL,
    "data": exits.DATA_ERROR,
}
_ADVICE = {
    "config": "correct the config; prime-train validate tells what is wrong",
    "out-of-memory": "prime-train memory CONFIG --gpu NAME tells what would fit",
    "disk-full": "delete what is not needed, set ckpt.keep_last, or give --backup and --free-disk",
    "data": "look at the environments: no rollout could be trained on",
}
_SAME_FAILURE = 3
_RESUMED_IN_VAIN = 2
# Steps that a fault can be older than its alert.
_SEEN_LATE = 10
_END_S = 20.0
_LONGEST_BACKOFF_S = 600.0
_LOOK_AT_STEPS_S = 2.0
_LAST_UPLOAD_S = 3600.0
# Of the seconds that a notice leaves, those that ending the processes takes.
_FOR_THE_END_S = 1.5


class _Outcome(NamedTuple):
    code: int
    why: str


class Runner:
    """Runs one run.

    Args:
        options: What to launch, and how to watch it.
        recorder: Keeps the history.
        voice: Says what happens.
    """

    def __init__(
        self, options: RunOptions, recorder: Recorder | None = None, voice: Voice | None = None
    ) -> None:
        self._options = options
        self._recorder: Recorder = recorder or NoRecorder()
        self._voice = voice or Voice()
        self._notice: Notice | None = None
        self._interrupts = 0
        self._wake = threading.Event()
        self._refused: set[int] = set()
        self._causes: list[Cause] = []
        self._best = 0
        self._lost = 0
        self._vain = 0
        self._no_step = 0
        self._began = time.monotonic()
        self._looked_at = 0.0
        self._complete: int | None = None
        self._seen: dict[int, tuple[int, ...]] = {}
        self._copier: Copier | None = None
        self._attempt_number = 0
        self._stepped_back = False
        self._unhealthy_since = 0
        self._monitor: Monitor | None = None

    def run(self) -> int:
        """Run it; the exit code, as in ``exits``.

        Raises:
            UsageError: Wrong use, or a file that cannot be opened.
            BackupError: The step that was asked for cannot be resumed.
        """
        checked = check_launch(self._options)
        if checked.errors and (self._options.preflight or checked.config is None):
            self._voice.say_lines(text_of(checked.report, color=False))
            noun = "error" if checked.errors == 1 else "errors"
            self._voice.say(f"not launched: {checked.errors} {noun} in {self._options.configs[0]}")
            return exits.PREFLIGHT
        plan = self._plan(checked)
        if self._options.dry_run:
            self._voice.say_lines(text_of(checked.report, color=False) + plan_text(plan, checked))
            return exits.FINISHED
        try:
            with only_runner(plan.layout.state_dir, plan.layout.run), self._signals():
                return self._supervise(checked)
        except OtherRunner as error:
            self._voice.say(str(error))
            return exits.BUSY
        except OSError as error:
            raise UsageError(f"the run cannot be supervised here ({reason(error)})") from error

    # ------------------------------------------------------------------ the plan

    def _plan(self, checked: Checked) -> Plan:
        store, problem = self._store(checked)
        try:
            return make_plan(
                self._options,
                checked,
                store,
                store_problem=problem,
                refused=frozenset(self._refused),
            )
        except OSError as error:
            raise UsageError(f"the run's directory cannot be read ({reason(error)})") from error

    def _store(self, checked: Checked) -> tuple[Store | None, str]:
        """The store of backups, and why it cannot be used."""
        if not self._options.backup:
            return None, ""
        from pytest_prime_train.resilience.configured import find_store
        from pytest_prime_train.resilience.stores import StoreSettings, open_store
        from pytest_prime_train.supervision.plan import name_run

        if checked.config is None:
            return None, "the config is refused"
        layout, _, _ = name_run(self._options, checked, checked.config)
        given = dict(zip(*[iter(self._options.backup_options)] * 2, strict=True))
        settings = StoreSettings(
            endpoint_url=given.get("--endpoint-url", ""),
            region=given.get("--region", ""),
            profile=given.get("--profile", ""),
        )
        found = find_store(self._options.backup, layout.run, settings, given.get("--limit", ""))
        return open_store(found.url, found.settings), ""

    # ------------------------------------------------------------------ being told to end

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def interrupted(number: int, frame: FrameType | None) -> None:
            self._interrupts += 1
            self._wake.set()

        def terminated(number: int, frame: FrameType | None) -> None:
            self._notice = self._notice or Notice(signal.Signals(number).name, "told to end")
            self._wake.set()

        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, interrupted),
            signal.SIGTERM: signal.signal(signal.SIGTERM, terminated),
            signal.SIGHUP: signal.signal(signal.SIGHUP, terminated),
        }
        watcher: Watcher | None = None
        if self._options.spot:
            watcher = Watcher(self._options.metadata_urls, self._noticed)
            watcher.start()
        try:
            yield
        finally:
            if watcher is not None:
                watcher.stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _noticed(self, notice: Notice) -> None:
        self._notice = self._notice or notice
        self._wake.set()

    def _pause(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    @property
    def _told_to_end(self) -> bool:
        return bool(self._interrupts) or self._notice is not None

    # ------------------------------------------------------------------ the run

    def _supervise(self, checked: Checked) -> int:
        adopt_orphans()
        plan = self._plan(checked)
        layout = plan.layout
        make_folder(layout.state_dir)
        tree = Tree(layout.state_dir)
        left = tree.left_over()
        if left:
            self._voice.say(f"ending what an earlier launch left behind: {names(left)}")
            tree.end(5.0)
        for note in plan.notes:
            self._voice.say(note)
        if plan.fits_disk is False:
            self._voice.say(f"warning: {plan.disk_free or 0} bytes free may not be enough")
        if self._options.backup and layout.config is not None:
            self._copier = Copier(
                layout,
                self._options.backup,
                self._options.backup_options,
                layout.state_dir / "backup.log",
                tree.leave_out,
            )
        self._recorder.run_started(self._start_of(plan, checked))
        progress = Progress(layout.run_dir)
        self._monitor = Monitor(layout.run_dir, 2 * self._options.poll_s)
        outcome = self._attempts(checked, plan, tree, progress)
        return self._finish(outcome, plan)

    def _start_of(self, plan: Plan, checked: Checked) -> RunStart:
        from pytest_prime_train.report.json_format import finding_document

        report = checked.report
        return RunStart(
            plan.layout.run,
            plan.layout.run_dir,
            self._options.configs,
            self._options.overrides,
            plan.command,
            checked.root,
            checked.version,
            checked.commit,
            tuple(finding_document(one, report.text_of(one)) for one in report.findings),
            checked.config.raw if checked.config is not None else {},
            self._options.spot,
        )

    def _attempts(self, checked: Checked, plan: Plan, tree: Tree, progress: Progress) -> _Outcome:
        while True:
            self._attempt_number += 1
            try:
                plan = self._prepare(checked, plan)
            except (BackupError, OSError) as error:
                why = str(error) if isinstance(error, BackupError) else reason(error)
                return _Outcome(exits.BAD_CHECKPOINTS, f"the launch cannot be prepared: {why}")
            if self._told_to_end:
                return self._ended_from_outside(None, plan)
            step = plan.choice.step
            begins = "from scratch" if step is None else f"from step {step}"
            self._voice.say(f"launch {self._attempt_number}: {begins} ({plan.choice.why})")
            self._recorder.attempt_started(self._attempt_number, step)
            try:
                attempt = Attempt(
                    plan.command,
                    plan.environment,
                    plan.layout.run_dir,
                    plan.layout.state_dir / f"launch_{self._attempt_number}.log",
                    tree,
                    progress,
                    self._options.hang_timeout,
                )
            except OSError as error:
                return _Outcome(exits.CONFIG_ERROR, f"it cannot be started ({reason(error)})")
            ended = self._watch(attempt, plan, progress)
            if ended is None:
                outcome = self._ended_from_outside(attempt, plan)
                self._record(attempt.seconds, step, progress.trainer_step, Cause("preempted"), None)
                return outcome
            self._record(ended.seconds, step, ended.last_step, ended.cause, ended.exit_code)
            self._look_at_steps(plan, at_once=True)
            done = self._answer(ended, plan)
            if done is not None:
                return done

    def _record(
        self, seconds: float, first: int | None, last: int, cause: Cause, code: int | None
    ) -> None:
        end = AttemptEnd(
            self._attempt_number, first or 0, last, seconds, cause.kind, cause.line, code
        )
        self._recorder.attempt_ended(end)

    def _prepare(self, checked: Checked, plan: Plan) -> Plan:
        """Choose the step, bring it here where it is not, and clear the way."""
        if self._attempt_number > 1:
            # What was asked for holds for the first launch; later ones go on from there.
            self._options = self._options._replace(resume="auto")
        plan = self._plan(checked)
        if plan.store_problem:
            self._voice.say(f"the backups cannot be read: {plan.store_problem}")
        step = plan.choice.step
        if plan.choice.remote and step is not None:
            store, _ = self._store(checked)
            assert store is not None
            self._voice.say(f"restoring step {step} from {self._options.backup}")
            fetch(plan.layout, store, step)
        if self._options.resume != "never":
            for moved in clear_away(plan.layout, step):
                self._voice.say(f"moved {moved.name} aside: {moved.why}")
        lost = self._best - (step or 0)
        if self._attempt_number > 1 and lost > 0:
            self._lost += lost
        return self._plan(checked) if plan.choice.remote else plan

    def _watch(self, attempt: Attempt, plan: Plan, progress: Progress) -> Ended | None:
        """Look at a launch until it ends, or until somebody wants it to."""
        while not self._told_to_end:
            ended = attempt.poll()
            if ended is not None:
                return ended
            self._look_at_steps(plan)
            alert = self._look_at_health()
            if alert is not None:
                attempt.end(_END_S)
                cause = Cause("unhealthy", alert.message, "metrics.jsonl")
                return Ended(cause, None, attempt.seconds, progress.trainer_step)
            self._voice.status(self._status(plan, progress))
            self._pause(self._options.poll_s)
        return None

    def _look_at_health(self) -> Alert | None:
        """Say what is wrong with the metrics; an alert that ends the launch."""
        if self._monitor is None:
            return None
        found, warning = self._monitor.poll()
        if warning:
            self._voice.say(f"warning: {warning}")
        for alert in found:
            self._voice.say(f"alert {alert.kind}: {alert.message}; {alert.advice}")
            self._webhook({"event": "alert", "kind": alert.kind, "step": alert.step})
        if not found or self._options.on_unhealthy == "warn":
            return None
        self._unhealthy_since = found[0].step
        return found[0]

    def _status(self, plan: Plan, progress: Progress) -> str:
        parts = [f"step {progress.step if progress.step >= 0 else '-'}"]
        if plan.max_steps is not None:
            parts[0] += f"/{plan.max_steps}"
        if progress.throughput is not None:
            parts.append(f"{progress.throughput:,.0f} tokens/s")
        if progress.reward is not None:
            parts.append(f"reward {progress.reward:.3f}")
        saved = "none" if self._complete is None else str(self._complete)
        parts.append(f"complete checkpoint {saved}")
        if self._copier is not None:
            parts.append(f"backed up {max(self._copier.backed_up, default='none')}")
            if self._copier.problem:
                parts.append(f"backup fails: {self._copier.problem}")
        with suppress(OSError):
            folder = plan.layout.folders[plan.layout.roles[0]]
            there = next(one for one in (folder, *folder.parents) if one.exists())
            parts.append(f"disk {shutil.disk_usage(there).free / GIB:.1f} GiB free")
        spent = self._spent()
        if spent is not None:
            parts.append(f"${spent:.2f}")
        return ", ".join(parts)

    def _spent(self) -> float | None:
        if self._options.usd_per_hour is None:
            return None
        return self._options.usd_per_hour * (time.monotonic() - self._began) / 3600

    def _look_at_steps(self, plan: Plan, *, at_once: bool = False) -> None:
        """See which steps are complete, and back them up."""
        now = time.monotonic()
        if not at_once and now - self._looked_at < _LOOK_AT_STEPS_S:
            return
        self._looked_at = now
        with suppress(OSError):
            newest = self._newest_complete(plan)
            if newest is not None and newest != self._complete:
                self._complete = newest
                self._recorder.checkpoint(newest, "complete")
        if self._copier is not None:
            for step in self._copier.poll(self._complete):
                self._voice.say(f"step {step} is backed up")
                self._recorder.checkpoint(step, "backed-up")

    def _newest_complete(self, plan: Plan) -> int | None:
        """As the checkpoints room tells it, but a step that has not changed is not read again."""
        layout = plan.layout
        for step in reversed(local_steps(layout)):
            stamp = _stamp(plan, step)
            if self._seen.get(step) == stamp:
                return step
            if inspect(layout, step).complete:
                self._seen = {step: stamp}
                return step
        return None

    # ------------------------------------------------------------------ failures and answers

    def _answer(self, ended: Ended, plan: Plan) -> _Outcome | None:
        """What to do about the end of a launch; ``None`` launches again."""
        cause = ended.cause
        if cause.kind == "finished":
            return _Outcome(exits.FINISHED, "")
        self._causes.append(cause)
        where = f" ({cause.source})" if cause.source else ""
        self._voice.say(
            f"launch {self._attempt_number} ended after {ended.seconds:.0f} s at step "
            f"{max(ended.last_step, 0)}: {cause.kind}: {cause.line}{where}"
        )
        self._webhook({"event": "failure", "cause": cause.kind, "step": ended.last_step})
        reached = max(ended.last_step, self._complete or 0)
        if reached > self._best:
            self._best, self._vain = reached, 0
        else:
            self._vain += 1
        if cause.kind == "disk-full" and self._options.free_disk and self._free_disk(plan):
            return None
        if cause.kind in STOPS:
            return _Outcome(_CODES[cause.kind], f"{cause.line}; {_ADVICE[cause.kind]}")
        if cause.kind == "unhealthy":
            return self._after_unhealthy(cause, plan)
        if cause.kind == "preempted":
            return _Outcome(exits.PREEMPTED, cause.line)
        if cause.kind == "bad-checkpoint" or self._dies_on_resuming(ended, plan):
            self._step_back(cause, plan)
            self._no_step = 0
        return self._again_or_not(cause)

    def _after_unhealthy(self, cause: Cause, plan: Plan) -> _Outcome | None:
        """Stop, or go on once from a checkpoint that is older than the fault."""
        if self._options.on_unhealthy == "stop" or self._stepped_back:
            return _Outcome(exits.UNHEALTHY, cause.line)
        self._stepped_back = True
        sound = self._unhealthy_since - _SEEN_LATE
        with suppress(OSError):
            for step in local_steps(plan.layout):
                if step > sound:
                    self._refused.add(step)
        self._seen.clear()
        self._complete = None
        self._voice.say(f"stepping back to a checkpoint of step {max(sound, 0)} or before")
        return None

    def _dies_on_resuming(self, ended: Ended, plan: Plan) -> bool:
        """Whether a step was resumed twice and nobody knows why no further step was done."""
        got_no_further = plan.choice.step is not None and ended.last_step <= plan.choice.step
        self._no_step = self._no_step + 1 if got_no_further else 0
        return ended.cause.kind == "unknown" and self._no_step >= _RESUMED_IN_VAIN

    def _again_or_not(self, cause: Cause) -> _Outcome | None:
        same = [one.signature for one in self._causes[-_SAME_FAILURE:]]
        if (
            self._vain >= _SAME_FAILURE - 1
            and len(same) == _SAME_FAILURE
            and len(set(same)) == 1
            and cause.kind not in ("hardware", "hang", "part-ended", "bad-checkpoint")
        ):
            return _Outcome(
                exits.CRASH_LOOP,
                f"it failed {_SAME_FAILURE} times at step {self._best} in the same way: "
                f"{cause.line}",
            )
        if self._vain > self._options.max_restarts:
            code = exits.HUNG if cause.kind == "hang" else exits.GAVE_UP
            return _Outcome(code, f"{self._vain} launches without progress: {cause.line}")
        pause = min(_LONGEST_BACKOFF_S, self._options.backoff_s * 2 ** max(0, self._vain - 1))
        self._voice.say(f"launching again in {pause:g} s")
        deadline = time.monotonic() + pause
        while time.monotonic() < deadline and not self._told_to_end:
            self._pause(max(0.0, deadline - time.monotonic()))
        return None

    def _step_back(self, cause: Cause, plan: Plan) -> None:
        """Move the step that was resumed aside, so that the one before it is."""
        step = plan.choice.step
        if step is None:
            return  # Nothing was resumed, so it was no step of ours.
        self._refused.add(step)
        self._seen.clear()
        self._complete = None
        with suppress(NotComplete, BackupError):
            set_aside(plan.layout, step, f"prime-rl could not resume it: {cause.line}")
            self._voice.say(f"moved step_{step} aside: prime-rl could not resume it")

    def _free_disk(self, plan: Plan) -> bool:
        """Delete what is safe in the store; whether that helped."""
        if not self._options.backup:
            return False
        if self._copier is not None:
            self._copier.stop()
        from pytest_prime_train.supervision.steps import freed as free

        checked = check_launch(self._options)
        store, _ = self._store(checked)
        if store is None:
            return False
        try:
            gone, total = free(plan.layout, store)
        except (BackupError, OSError) as error:
            self._voice.say(f"nothing was freed: {error}")
            return False
        if not gone:
            self._voice.say("nothing could be freed: no step but the two newest is in the store")
            return False
        steps = ", ".join(map(str, gone))
        self._voice.say(f"freed {total / GIB:.2f} GiB: steps {steps}, verified in the store before")
        return True

    # ------------------------------------------------------------------ the end

    def _ended_from_outside(self, attempt: Attempt | None, plan: Plan) -> _Outcome:
        if self._notice is not None:
            return self._preempted(attempt, plan)
        return self._interrupted(attempt)

    def _preempted(self, attempt: Attempt | None, plan: Plan) -> _Outcome:
        """The machine goes: upload what is complete as far as that gets, and be out in time."""
        deadline = time.monotonic() + max(0.5, self._options.grace_s - _FOR_THE_END_S)
        assert self._notice is not None
        self._voice.say(f"{self._notice.who}: {self._notice.what}; ending within "
                        f"{self._options.grace_s:.0f} s")  # fmt: skip
        self._look_at_steps(plan, at_once=True)
        if self._copier is not None:
            fresh = self._copier.finish(max(0.0, deadline - time.monotonic()), self._complete)
            for step in fresh:
                self._recorder.checkpoint(step, "backed-up")
        if attempt is not None:
            attempt.end(0.0)
        return _Outcome(exits.PREEMPTED, f"{self._notice.who}: {self._notice.what}")

    def _interrupted(self, attempt: Attempt | None) -> _Outcome:
        self._voice.say("Ctrl-C: ending it; once more ends it at once")
        if attempt is not None:
            until = time.monotonic() + 30.0
            ending = threading.Thread(target=attempt.end, args=(30.0,), daemon=True)
            ending.start()
            while ending.is_alive() and self._interrupts < 2 and time.monotonic() < until + 5:
                self._pause(0.2)
            if self._interrupts >= 2:
                attempt.end(0.0)
            ending.join(5.0)
        if self._copier is not None and self._interrupts >= 2:
            self._copier.stop()
        return _Outcome(exits.INTERRUPTED, "Ctrl-C")

    def _finish(self, outcome: _Outcome, plan: Plan) -> int:
        copier = self._copier
        self._look_at_steps(plan, at_once=True)
        if copier is not None and outcome.code != exits.PREEMPTED and self._interrupts < 2:
            if self._complete is not None and self._complete not in copier.backed_up:
                self._voice.say(f"backing step {self._complete} up before the end")
            self._last_upload(copier)
        if copier is not None:
            copier.stop()
        self._summary(outcome, plan)
        return outcome.code

    def _last_upload(self, copier: Copier) -> None:
        deadline = time.monotonic() + _LAST_UPLOAD_S
        tries = 0
        while self._complete is not None and self._complete not in copier.backed_up:
            fresh = copier.finish(0.5, self._complete) if self._told_to_end else copier.poll(
                self._complete
            )  # fmt: skip
            for step in fresh:
                self._voice.say(f"step {step} is backed up")
                self._recorder.checkpoint(step, "backed-up")
            tries += bool(copier.problem) and not copier.is_running
            if self._told_to_end or time.monotonic() > deadline or tries > 50:
                return
            self._pause(0.2)

    def _summary(self, outcome: _Outcome, plan: Plan) -> None:
        seconds = time.monotonic() - self._began
        cost = self._spent()
        backed = max(self._copier.backed_up, default=None) if self._copier is not None else None
        one = exits.exit_of(outcome.code)
        lines = [
            f"{one.name}: {outcome.why}" if outcome.why else one.name,
            f"  launches   {self._attempt_number}"
            + (f" ({tell(self._causes)})" if self._causes else ""),
            f"  lost work  {self._lost} steps",
            f"  checkpoint {'none' if self._complete is None else f'step {self._complete}'}"
            + (
                ""
                if self._copier is None
                else f", backed up {backed if backed is not None else 'none'}"
            ),
            f"  time       {seconds / 3600:.2f} h" + ("" if cost is None else f", ${cost:.2f}"),
        ]
        profile = self._monitor.line() if self._monitor is not None else ""
        if profile:
            lines.append(f"  {profile}")
        if self._copier is not None and self._copier.problem:
            lines.append(f"  backup     failed: {self._copier.problem}")
        for line in lines:
            self._voice.say(line)
        last = max(self._best, self._complete or 0)
        self._recorder.run_ended(RunEnd(outcome.code, one.name, last, self._lost, cost, seconds))
        self._webhook({"event": "end", "outcome": one.name, "code": outcome.code}, wait=True)

    def _webhook(self, document: dict[str, object], *, wait: bool = False) -> None:
        tell_webhook(self._options.webhook, document, wait=wait)


def _stamp(plan: Plan, step: int) -> tuple[int, ...]:
    """What changes when a step is written to."""
    stamps: list[int] = []
    for role in plan.layout.roles:
        part = plan.layout.part(role, step)
        for name in (".metadata", "progress.pt", ".metadata.tmp"):
            with suppress(OSError):
                found = os.stat(part / name)
                stamps += [found.st_mtime_ns, found.st_size, found.st_ino]
    return tuple(stamps)


def supervise(options: RunOptions, recorder: Recorder | None = None) -> int:
    """Run one run; the exit code, as in ``exits``.

    Raises:
        UsageError: Wrong use, or a file that cannot be opened.
        BackupError: The step that was asked for cannot be resumed.
    """
    return Runner(options, recorder, Voice(sys.stdout)).run()
