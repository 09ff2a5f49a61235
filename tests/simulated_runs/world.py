"""The run itself: events of trainer, orchestrator, dispatcher, engines and environments."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Any

from .spec import AS_IT_IS, Episode, Levers, Luck, Spec

POLL_S = 5.0
LONGEST_S = 5e6


@dataclass
class Done:
    """An episode that has ended, with the times that prime-rl's traces have."""

    model: float
    harness: float
    setup: float
    scoring: float
    tokens: float
    error: bool
    admitted: bool = True
    cancelled: bool = False
    version: int = 0
    arrived: int = 0
    turns: int = 1

    @property
    def total(self) -> float:
        return self.model + self.harness + self.setup + self.scoring


@dataclass
class Record:
    """What a run has shown of itself.

    Attributes:
        trainer: A dict of times a step, with its ``end``.
        orchestrator: A dict of times a shipped batch, with ``end`` and the episodes of its window.
        gauges: A dict every five seconds.
        evaluations: Step, end and episodes of each finished evaluation.
        seconds: From the end of the second step to that of the last.
    """

    trainer: list[dict[str, float]] = field(default_factory=list)
    orchestrator: list[dict[str, Any]] = field(default_factory=list)
    gauges: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[tuple[int, float, list[Done]]] = field(default_factory=list)

    @property
    def step_s(self) -> float:
        """Mean time of a step without the first two."""
        ends = [step["end"] for step in self.trainer]
        return (ends[-1] - ends[1]) / (len(ends) - 2)


class _Live:
    __slots__ = (
        "began",
        "dead",
        "draw",
        "env",
        "group",
        "harness",
        "is_eval",
        "left",
        "model",
        "tokens",
        "turn",
        "version",
    )

    def __init__(self, draw: Episode, group: _Group, version: int, is_eval: bool) -> None:
        self.draw = draw
        self.group = group
        self.version = version
        self.is_eval = is_eval
        self.turn = 0
        self.model = self.harness = self.began = self.env = self.tokens = self.left = 0.0
        self.dead = False


class _Group:
    __slots__ = ("done", "live", "number", "owed", "size", "stale", "step", "to_start", "version")

    def __init__(self, number: int, size: int, version: int, step: int) -> None:
        self.number = number
        self.size = size
        self.to_start = size
        self.owed = size
        self.version = version
        self.step = step
        self.done: list[Done] = []
        self.live: list[_Live] = []
        self.stale = False


class World:
    """Runs once."""

    def __init__(self, spec: Spec, luck: Luck, levers: Levers = AS_IT_IS, gauges: bool = True):
        self.spec, self.luck, self.levers = spec, luck, levers
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0
        self.record = Record()
        self.wants_gauges = gauges
        # engines
        self.engines = spec.engines * levers.engines
        self.kv = self.engines * spec.kv_tokens
        self.kv_used = 0.0
        self.virtual = 0.0
        self.virtual_at = 0.0
        self.running: list[tuple[float, int, _Live]] = []
        self.waiting: deque[_Live] = deque()
        self.n_running = 0
        self.paused = False
        self.stamp = 0
        self.generated = 0.0
        # dispatcher
        self.cap = float(spec.initial or spec.cap) * levers.cap
        self.ceiling = spec.cap * levers.cap
        self.inflight = 0
        self.inflight_eval = 0
        self.window_at, self.admitted = 0.0, 0
        self.episodes = self.group_count = self.eval_episodes = 0
        self.open: deque[_Group] = deque()
        self.eval_queue: deque[tuple[_Group, int]] = deque()
        self.groups: set[_Group] = set()
        self.gate_open = True
        self.gate_closed_at = 0.0
        self.tokens_of_minute = 0.0
        self.refill_at = 0.0
        # env
        self.env_busy = 0
        self.env_waiting: deque[tuple[_Live, float, Callable[[_Live], None]]] = deque()
        self.loop_free_at = 0.0
        self.loop_waits: list[float] = []
        # orchestrator
        self.step = 1
        self.version = 0
        self.pending: deque[Done] = deque()
        self.window: list[Done] = []
        self.inbox: deque[_Group] = deque()
        self.shipping = False
        self.last_batch = 0.0
        self.wait_policy = 0.0
        self.dropped = 0
        self.hold: Callable[[], None] | None = None
        self.cooldown = 0
        self.eval_open: dict[int, tuple[int, list[Done]]] = {}
        # trainer
        self.train_step = 1
        self.ready: deque[int] = deque()
        self.idle_since: float | None = 0.0
        self.finished = False

    # ------------------------------------------------------------------ events

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        self.count += 1
        heappush(self.events, (time, self.count, call, arguments))

    def run(self) -> Record:
        """To the end of the last step."""
        self.fill()
        # Polls are not in step with the dispatcher, which has windows of five seconds too.
        self.at(POLL_S * (1.1 + 0.8 * (self.spec.seed % 97) / 97), self.poll)
        events = self.events
        while events and not self.finished:
            self.now, _, call, arguments = heappop(events)
            if self.now > LONGEST_S:
                raise RuntimeError("the run does not end")
            call(*arguments)
        return self.record

    # ------------------------------------------------------------------ engines

    def token_time(self, n: int) -> float:
        return self.spec.token_s + self.spec.token_slope_s * n / self.engines

    def advance(self) -> None:
        if not self.paused and self.n_running:
            gone = self.now - self.virtual_at
            done = gone / self.token_time(self.n_running)
            self.virtual += done
            self.generated += done * self.n_running
        self.virtual_at = self.now

    def reschedule(self) -> None:
        self.stamp += 1
        if self.paused or not self.running:
            return
        left = self.running[0][0] - self.virtual
        self.at(
            self.now + max(left, 0.0) * self.token_time(self.n_running), self.finish, self.stamp
        )

    def request(self, live: _Live) -> None:
        live.began = self.now
        self.waiting.append(live)
        self.admit()

    def admit(self) -> None:
        self.advance()
        while self.waiting:
            live = self.waiting[0]
            if live.dead:
                self.waiting.popleft()
                continue
            size = self.context(live)
            if self.n_running and self.kv_used + size > self.kv:
                break
            self.waiting.popleft()
            self.kv_used += size
            self.n_running += 1
            live.left = self.tokens_of(live)
            live.tokens += live.left
            self.count += 1
            heappush(self.running, (self.virtual + live.left, self.count, live))
        self.reschedule()

    def tokens_of(self, live: _Live) -> float:
        tokens = live.draw.tokens_cut if self.levers.tail else live.draw.tokens
        value = tokens[live.turn]
        if live.is_eval:
            value *= self.spec.eval_x
        return value * self.drift("tokens")

    def context(self, live: _Live) -> float:
        """Tokens that a request holds in the cache: those of the usual one of its turn."""
        return self.spec.prompt + self.spec.tokens * (live.turn + 0.5)

    def finish(self, stamp: int) -> None:
        if stamp != self.stamp:
            return
        self.advance()
        while self.running and self.running[0][0] <= self.virtual + 1e-6:
            _, _, live = heappop(self.running)
            self.n_running -= 1
            self.kv_used -= self.context(live)
            if not live.dead:
                live.model += self.now - live.began
                self.through_loop(live, self.tool)
        self.admit()

    def pause(self, seconds: float) -> None:
        self.advance()
        self.paused = True
        self.stamp += 1
        self.at(self.now + seconds, self.unpause)

    def unpause(self) -> None:
        self.virtual_at = self.now
        self.paused = False
        self.admit()

    # ------------------------------------------------------------------ episodes

    def drift(self, what: str) -> float:
        if self.spec.drifting == what and self.step > self.spec.steps / 2:
            return self.spec.drift
        return 1.0

    def through_loop(self, live: _Live, then: Callable[[_Live], None]) -> None:
        service = self.spec.loop_s * self.levers.loop
        start = max(self.now, self.loop_free_at)
        self.loop_free_at = start + service
        self.at(start + service, then, live)

    def occupy(self, live: _Live, seconds: float, then: Callable[[_Live], None]) -> None:
        """Be in the environment for a time; it begins once a sandbox is free."""
        live.env = self.now
        if self.spec.sandboxes and self.env_busy >= self.spec.sandboxes:
            self.env_waiting.append((live, seconds, then))
            return
        self.env_busy += 1
        self.at(self.now + seconds, self.leave, live, then)

    def leave(self, live: _Live, then: Callable[[_Live], None]) -> None:
        self.env_busy -= 1
        while self.env_waiting:
            other, seconds, after = self.env_waiting.popleft()
            if not other.dead:
                self.env_busy += 1
                self.at(self.now + seconds, self.leave, other, after)
                break
        if not live.dead:
            then(live)

    def tool(self, live: _Live) -> None:
        if live.dead:
            return
        env = live.draw.env_cut if self.levers.tail else live.draw.env
        seconds = env[live.turn] * self.levers.env * self.drift("env")
        self.occupy(live, seconds, self.next_turn)

    def next_turn(self, live: _Live) -> None:
        live.harness += self.now - live.env
        live.turn += 1
        if live.turn < len(live.draw.tokens):
            self.through_loop(live, self.ask)
        else:
            self.at(self.now + self.spec.scoring_s * self.levers.env, self.end, live)

    def ask(self, live: _Live) -> None:
        if not live.dead:
            self.request(live)

    def end(self, live: _Live) -> None:
        if live.dead:
            return
        live.dead = True
        self.inflight -= 1
        self.inflight_eval -= live.is_eval
        self.admitted = max(0, self.admitted - 1)
        group = live.group
        group.live.remove(live)
        scoring = self.spec.scoring_s * self.levers.env
        setup = self.spec.setup_s * self.levers.env
        error = not live.is_eval and live.draw.error < self.spec.error_p * self.levers.waste
        group.done.append(
            Done(
                live.model,
                live.harness,
                setup,
                scoring,
                live.tokens,
                error,
                version=live.version,
                arrived=self.version,
                turns=live.turn,
            )
        )
        group.owed -= 1
        if live.is_eval:
            self.end_eval(group)
        else:
            self.grow()
            if not group.owed:
                self.groups.discard(group)
                self.inbox.append(group)
                self.drain()
        self.fill()

    # ------------------------------------------------------------------ dispatcher

    def fill(self) -> None:
        """Start what may be started."""
        if self.now - self.window_at >= POLL_S - 1e-6:
            self.window_at, self.admitted = self.now, 0
        burst = max(self.spec.group, int(self.cap) // 10)
        while self.inflight < int(self.cap):
            if self.admitted >= burst:
                if self.refill_at <= self.now:
                    self.refill_at = self.window_at + POLL_S
                    self.at(self.refill_at, self.fill)
                return
            if self.eval_queue:
                group, _ = self.eval_queue[0]
                is_eval = True
            else:
                if not self.gate_open:
                    return
                if not self.open:
                    if self.spec.tasks_per_minute:
                        if self.now < self.tokens_of_minute:
                            self.at(self.tokens_of_minute, self.fill)
                            return
                        self.tokens_of_minute = self.now + 60 / self.spec.tasks_per_minute
                    group = _Group(self.group_count, self.spec.group, self.version, self.step)
                    self.group_count += 1
                    self.groups.add(group)
                    self.open.append(group)
                group = self.open[0]
                is_eval = False
            self.start(group, is_eval)
            if not group.to_start:
                (self.eval_queue if is_eval else self.open).popleft()

    def start(self, group: _Group, is_eval: bool) -> None:
        group.to_start -= 1
        self.inflight += 1
        self.inflight_eval += is_eval
        self.admitted += 1
        if is_eval:
            draw = self.luck.evaluation(self.eval_episodes)
            self.eval_episodes += 1
        else:
            draw = self.luck.episode(
                group.number * self.spec.group + self.spec.group - group.to_start
            )
        live = _Live(draw, group, group.version, is_eval)
        group.live.append(live)
        self.at(self.now + self.spec.setup_s * self.levers.env, self.ask, live)

    def grow(self) -> None:
        """The adaptive cap, a completed episode at a time."""
        if not self.spec.initial:
            return
        usage = self.kv_used / self.kv
        if usage < 0.6 and not self.waiting and self.inflight + 1 >= 0.9 * self.cap:
            self.cap = min(self.ceiling, self.cap * 1.25 ** (1 / (self.inflight + 1)))

    def trim(self) -> None:
        usage = self.kv_used / self.kv
        self.cooldown = max(0, self.cooldown - 1)
        if self.spec.initial and usage > 0.8 and not self.cooldown:
            self.cap = max(8.0, min(self.cap, self.inflight * 0.7 / usage))
            self.cooldown = 6

    def set_gate(self) -> None:
        lead = (self.step - 1) - self.version
        if lead > self.spec.lag:
            if self.gate_open:
                self.gate_open, self.gate_closed_at = False, self.now
        elif not self.gate_open:
            self.gate_open = True
            self.wait_policy += self.now - self.gate_closed_at
            self.fill()

    def drop_stale(self) -> None:
        least = self.step - 1 - self.spec.max_off
        for group in [group for group in self.groups if group.version < least]:
            self.groups.discard(group)
            if group in self.open:
                self.open.remove(group)
            for live in group.live:
                live.dead = True
                self.inflight -= 1
            self.cancelled += len(group.live) + group.to_start
            self.cancelled_polled += len(group.live) + group.to_start
            self.remove_running(group)
            group.stale = True
            for done in group.done:
                done.cancelled = done.admitted = True
                done.admitted = False
            self.inbox.append(group)
        fresh: deque[Done] = deque()
        for done in self.pending:
            if done.version < least:
                self.dropped += 1
            else:
                fresh.append(done)
        self.pending = fresh
        self.drain()
        self.fill()

    cancelled = 0
    cancelled_polled = 0

    def remove_running(self, group: _Group) -> None:
        self.advance()
        kept = []
        for entry in self.running:
            if entry[2].group is group:
                self.n_running -= 1
                self.kv_used -= self.context(entry[2])
            else:
                kept.append(entry)
        if len(kept) != len(self.running):
            kept.sort()
            self.running = kept
        self.admit()

    # ------------------------------------------------------------------ orchestrator

    def drain(self) -> None:
        """Take finished groups in, unless a batch is being shipped."""
        while self.inbox and not self.shipping and not self.finished:
            group = self.inbox.popleft()
            self.window += group.done
            if not group.stale:
                rejected = (
                    self.luck.rejection(group.number) < self.spec.reject_p * self.levers.waste
                )
                for done in group.done:
                    done.admitted = not rejected
                    if not rejected and not done.error:
                        self.pending.append(done)
            if len(self.pending) >= self.spec.batch:
                self.ship()

    def ship(self) -> None:
        self.shipping = True
        batch = [self.pending.popleft() for _ in range(self.spec.batch)]
        window, self.window = self.window, []
        step_s, self.last_batch = self.now - self.last_batch, self.now
        required = self.step - 1 - self.spec.lag
        began = self.now

        def go() -> None:
            self.wait_policy += self.now - began
            pack = self.spec.pack_s * self.levers.loop
            self.at(self.now + pack, self.shipped, batch, window, step_s, pack)

        if self.version < required:
            self.hold = go
        else:
            go()

    def shipped(self, batch: list[Done], window: list[Done], step_s: float, pack: float) -> None:
        step = self.step
        self.step += 1
        self.shipping = False
        self.ready.append(step)
        self.set_gate()
        ages = [step - 1 - done.version for done in batch]
        self.record.orchestrator.append(
            {
                "step": step,
                "end": self.now,
                "time/step": step_s if step > 1 else 0.0,
                "time/wait_for_policy": self.wait_policy,
                "time/pack": pack,
                "window": window,
                "batch": batch,
                "off_policy/mean": sum(ages) / len(ages),
                "off_policy/max": max(ages),
                "off_policy/in_flight/mean": _mean([d.arrived - d.version for d in batch]),
                "off_policy/in_queue/mean": _mean([step - 1 - d.arrived for d in batch]),
                "off_policy/dropped": self.dropped,
                "cancelled": self.cancelled,
            }
        )
        self.wait_policy, self.dropped, self.cancelled = 0.0, 0, 0
        if self.spec.eval_every and self.made(step, self.spec.eval_every, self.levers.evaluation):
            self.start_eval(step)
        if self.idle_since is not None:
            self.train()
        self.drain()
        self.fill()

    def made(self, step: int, every: int, share: float) -> bool:
        if not share:
            return False
        return step % round(every / share) == 0

    def start_eval(self, step: int) -> None:
        self.eval_open[step] = (self.spec.eval_episodes, [])
        group = _Group(-1, self.spec.eval_episodes, self.version, step)
        self.eval_queue.append((group, step))
        self.fill()

    def end_eval(self, group: _Group) -> None:
        if not group.owed:
            self.record.evaluations.append((group.step, self.now, group.done))

    # ------------------------------------------------------------------ trainer

    def train(self) -> None:
        if not self.ready:
            self.idle_since = self.now if self.idle_since is None else self.idle_since
            return
        step = self.ready.popleft()
        wait = self.now - (self.idle_since if self.idle_since is not None else self.now)
        self.idle_since = None
        spec, levers = self.spec, self.levers
        load = spec.load_s * levers.load
        work = spec.train_s * levers.train * self.luck.step(step) * self.drift("train")
        times = {"step": float(step), "time/wait_for_batch": wait, "time/load_data": load}
        times["time/forward_backward"] = work
        self.at(self.now + load + work, self.broadcast, times)

    def broadcast(self, times: dict[str, float]) -> None:
        spec = self.spec
        write = spec.write_s * self.levers.sync
        pause = spec.pause_s * self.levers.sync
        step = int(times["step"])
        if step == spec.steps:
            write = 0.0
        elif spec.nccl:
            write = max(write, pause)
            self.publish(step)
            self.pause(write)
            self.at(self.now + write, self.applied)
        else:
            self.at(self.now + write, self.publish_file, step, pause)
        times["time/broadcast_weights"] = write
        self.last_pause = write if spec.nccl else pause
        self.at(self.now + write, self.checkpoint, times)

    last_pause = 0.0

    def publish_file(self, step: int, pause: float) -> None:
        self.publish(step)
        self.pause(pause)
        self.at(self.now + pause, self.applied)

    def publish(self, step: int) -> None:
        self.version = step
        if self.hold is not None and self.version >= self.step - 1 - self.spec.lag:
            go, self.hold = self.hold, None
            go()
        self.drop_stale()

    def applied(self) -> None:
        self.set_gate()

    def checkpoint(self, times: dict[str, float]) -> None:
        step = int(times["step"])
        every = self.spec.ckpt_every
        saves = every and step < self.spec.steps and self.made(step, every, self.levers.ckpt)
        seconds = self.spec.ckpt_s if saves else 0.0
        times["time/save_ckpt"] = seconds
        self.at(self.now + seconds, self.stepped, times)

    def stepped(self, times: dict[str, float]) -> None:
        last = self.record.trainer[-1]["end"] if self.record.trainer else 0.0
        times["time/step"] = self.now - last
        times["end"] = self.now
        self.record.trainer.append(times)
        if len(self.record.trainer) >= self.spec.steps:
            self.finished = True
            return
        self.idle_since = self.now
        self.train()

    # ------------------------------------------------------------------ gauges

    def poll(self) -> None:
        self.advance()
        self.trim()
        if self.wants_gauges:
            waits = max(0.0, self.loop_free_at - self.now)
            self.record.gauges.append(
                {
                    "time": self.now,
                    "running": float(self.n_running),
                    "waiting": float(len(self.waiting)),
                    "kv": min(1.0, self.kv_used / self.kv) if self.kv < inf else 0.0,
                    "rate": self.generated / POLL_S,
                    "inflight": float(self.inflight - self.inflight_eval),
                    "inflight_eval": float(self.inflight_eval),
                    "cap": float(int(self.cap)),
                    "lag": waits,
                    "cancelled": float(self.cancelled_polled),
                    "version": float(self.version),
                    "pause": self.last_pause,
                }
            )
        self.generated = 0.0
        self.cancelled_polled = 0
        self.at(self.now + POLL_S, self.poll)


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)


def simulate(spec: Spec, luck: Luck | None = None, levers: Levers = AS_IT_IS) -> Record:
    """Run a spec once."""
    return World(spec, luck or Luck(spec), levers).run()
