"""What a simulated run is made of, and the draws that all its re-runs share."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import log, sqrt
from typing import NamedTuple


@dataclass(frozen=True)
class Spec:
    """A run. Times in seconds.

    Attributes:
        steps: Batches that the trainer trains on.
        batch: Episodes a batch.
        group: Episodes a task.
        cap: Most episodes in flight.
        initial: Where an adaptive cap starts; 0 for one that does not adapt.
        tasks_per_minute: Limit of dispatches a minute; 0 for none.
        lag: Batches that the orchestrator may be ahead.
        max_off: Policy versions after which an episode is thrown away.
        engines: Inference engines.
        token_s: Time of a token of a request that is alone (t0).
        token_slope_s: What each further request on the engine adds to it (t1).
        kv_tokens: Tokens that the KV cache of one engine holds.
        prompt: Tokens of a prompt.
        turns: Mean turns of an episode.
        tokens: Mean tokens of a turn.
        tokens_cv: Their coefficient of variation.
        tail_p: Share of episodes that are stragglers.
        tail_x: What a straggler's time or tokens are multiplied with.
        tail_env: Whether stragglers straggle in the environment instead of in tokens.
        env_s: Mean time of the environment a turn.
        env_cv: Its coefficient of variation.
        setup_s: Time before the first turn.
        scoring_s: Time after the last one.
        sandboxes: Environments at once; 0 for no limit.
        loop_s: Time that the orchestrator's loop takes for a turn.
        pack_s: Time of packing a batch.
        train_s: Mean time of forward and backward.
        train_cv: Its coefficient of variation.
        load_s: Time of loading a batch.
        nccl: Whether the trainer waits for the engines in the broadcast.
        write_s: Time of the trainer's broadcast.
        pause_s: Time for which the engines are paused.
        ckpt_every: Steps between checkpoints; 0 for none.
        ckpt_s: Time of a checkpoint.
        eval_every: Steps between evaluations; 0 for none.
        eval_episodes: Episodes of an evaluation.
        eval_x: Tokens of an evaluation's episode against a training one's.
        error_p: Share of episodes that fail.
        reject_p: Share of groups that are not admitted.
        drift: Factor by which the second half's ``drifting`` is greater.
        drifting: ``train``, ``tokens`` or ``env``.
        seed: Of all draws.
    """

    steps: int = 40
    batch: int = 64
    group: int = 8
    cap: int = 128
    initial: int = 0
    tasks_per_minute: float = 0.0
    lag: int = 1
    max_off: int = 8
    engines: int = 4
    token_s: float = 0.012
    token_slope_s: float = 0.0004
    kv_tokens: float = 400_000.0
    prompt: float = 500.0
    turns: float = 1.0
    tokens: float = 1500.0
    tokens_cv: float = 0.5
    tail_p: float = 0.0
    tail_x: float = 6.0
    tail_env: bool = False
    env_s: float = 1.0
    env_cv: float = 0.5
    setup_s: float = 1.0
    scoring_s: float = 1.0
    sandboxes: int = 0
    loop_s: float = 0.002
    pack_s: float = 0.5
    train_s: float = 30.0
    train_cv: float = 0.08
    load_s: float = 0.2
    nccl: bool = True
    write_s: float = 1.0
    pause_s: float = 1.0
    ckpt_every: int = 0
    ckpt_s: float = 20.0
    eval_every: int = 0
    eval_episodes: int = 64
    eval_x: float = 1.0
    error_p: float = 0.0
    reject_p: float = 0.0
    drift: float = 1.0
    drifting: str = ""
    seed: int = 0


class Levers(NamedTuple):
    """What is better than in the spec; times are multiplied, sizes likewise.

    Attributes:
        train: Time of forward and backward.
        load: Time of loading data.
        sync: Time of broadcast and pause.
        engines: Number of engines; ``inf`` for as many as one likes.
        cap: Most in flight.
        env: Time of the environment.
        loop: Time of the orchestrator's loop and of packing.
        ckpt: Share of the checkpoints that are made: 1, 0.5 or 0.
        evaluation: Share of the evaluations that are made.
        waste: Share of failures and rejections that happen.
        tail: Whether stragglers end at the 90th percentile.
    """

    train: float = 1.0
    load: float = 1.0
    sync: float = 1.0
    engines: float = 1.0
    cap: float = 1.0
    env: float = 1.0
    loop: float = 1.0
    ckpt: float = 1.0
    evaluation: float = 1.0
    waste: float = 1.0
    tail: bool = False


class Episode(NamedTuple):
    """The luck of one episode: tokens and environment seconds of each turn, and its fate."""

    tokens: tuple[float, ...]
    env: tuple[float, ...]
    tokens_cut: tuple[float, ...]
    env_cut: tuple[float, ...]
    error: float
    straggles: bool


AS_IT_IS = Levers()
"""Nothing is better."""


@dataclass
class Luck:
    """Draws by number, made when they are first needed and the same in every re-run."""

    spec: Spec
    episodes: list[Episode] = field(default_factory=list)
    groups: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    evals: list[Episode] = field(default_factory=list)

    def __post_init__(self) -> None:
        seed = self.spec.seed
        self._random = [random.Random(f"{seed} {name}") for name in ("e", "g", "s", "v")]
        self._cut = self._percentile_90()

    def episode(self, number: int) -> Episode:
        """The episode that is started as this one."""
        while len(self.episodes) <= number:
            self.episodes.append(self._draw(self._random[0]))
        return self.episodes[number]

    def evaluation(self, number: int) -> Episode:
        """The same for evaluations."""
        while len(self.evals) <= number:
            self.evals.append(self._draw(self._random[3]))
        return self.evals[number]

    def rejection(self, number: int) -> float:
        """A group is rejected where this is below the share."""
        while len(self.groups) <= number:
            self.groups.append(self._random[1].random())
        return self.groups[number]

    def step(self, number: int) -> float:
        """Factor on the time of a training step."""
        while len(self.steps) <= number:
            self.steps.append(lognormal(self._random[2], 1.0, self.spec.train_cv))
        return self.steps[number]

    def _raw(self, rng: random.Random) -> tuple[list[float], list[float], float, bool]:
        spec = self.spec
        turns = 1 if spec.turns <= 1 else 1 + min(int(rng.expovariate(1 / (spec.turns - 1))), 30)
        length = lognormal(rng, 1.0, spec.tokens_cv)
        slowness = lognormal(rng, 1.0, spec.env_cv)
        tokens = [spec.tokens * length * lognormal(rng, 1.0, 0.3) for _ in range(turns)]
        env = [spec.env_s * slowness * lognormal(rng, 1.0, 0.3) for _ in range(turns)]
        straggles = rng.random() < spec.tail_p
        if straggles:
            if spec.tail_env:
                env = [value * spec.tail_x for value in env]
            else:
                tokens = [value * spec.tail_x for value in tokens]
        return tokens, env, rng.random(), straggles

    def _draw(self, rng: random.Random) -> Episode:
        tokens, env, error, straggles = self._raw(rng)
        most_tokens, most_env = self._cut
        token_x = min(1.0, most_tokens / sum(tokens))
        env_x = min(1.0, most_env / max(sum(env), 1e-9))
        return Episode(
            tuple(tokens),
            tuple(env),
            tuple(value * token_x for value in tokens),
            tuple(value * env_x for value in env),
            error,
            straggles,
        )

    def _percentile_90(self) -> tuple[float, float]:
        rng = random.Random(f"{self.spec.seed} cut")
        draws = [self._raw(rng) for _ in range(1000)]
        tokens = sorted(sum(draw[0]) for draw in draws)
        env = sorted(sum(draw[1]) for draw in draws)
        return tokens[900], env[900]


def lognormal(rng: random.Random, mean: float, cv: float) -> float:
    """A lognormal number with this mean and coefficient of variation."""
    if cv <= 0 or mean <= 0:
        return mean
    sigma = sqrt(log(1 + cv * cv))
    return mean * rng.lognormvariate(-sigma * sigma / 2, sigma)
