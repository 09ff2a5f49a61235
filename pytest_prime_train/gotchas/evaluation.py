"""Evals that stall training, never run, or say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import KeyPath, Problem, format_key
from pytest_prime_train.gotchas.agents import named
from pytest_prime_train.gotchas.registry import as_recommended, gotcha

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config

_CATEGORY = "eval"

_RARE_INTERVAL = 50
_MANY_ROLLOUTS = 512


@gotcha(
    id="train-and-eval-same-split",
    name="Evaluation on the training split",
    severity="warning",
    category=_CATEGORY,
    hours_lost=8.0,
    hours_basis="judgement: conclusions drawn from the wrong numbers",
    since="0.7",
    roots=("rl",),
    keys=(
        "orchestrator.eval.source[].env.taskset.split",
        "orchestrator.train.source[].env.taskset.split",
    ),
    needs=("split",),
    why="Scores rise with what was learned by heart and say nothing about held-out tasks.",
    recommendation="Use another split or dataset for the evals.",
    evidence=("prime-rl docs/configuration.md, Environments",),
    confidence="judgement",
    detected_by="never",
)
def train_and_eval_same_split(config: Config) -> Iterator[Problem]:
    trained = {
        (source.get("env.taskset.id"), source.get("env.taskset.split"))
        for source in config.train_sources()
    }
    for source in config.eval_sources():
        split = source.get("env.taskset.split")
        if split is not None and (source.get("env.taskset.id"), split) in trained:
            key = source.path("env.taskset.split")
            yield Problem(
                key,
                f"{named(source)} evaluates on the split {split!r}, which is trained",
                f"Set {format_key(key)} to a split that is not trained.",
                part="value",
            )


@gotcha(
    id="eval-unbounded-examples",
    name="Eval over the whole dataset at every interval",
    severity="warning",
    category=_CATEGORY,
    hours_lost=4.0,
    hours_basis="judgement: training that waits for a whole benchmark",
    since="0.1",
    roots=("rl", "sft"),
    keys=("orchestrator.eval.num_examples", "orchestrator.eval.interval"),
    needs=("eval",),
    why="Evals go before training rollouts, so at each interval training waits for the length of "
    "the full benchmark.",
    recommendation="Set orchestrator.eval.num_examples = 64, or a longer interval.",
    evidence=(
        "prime-rl configs/orchestrator.py: num_examples = -1 takes all",
        "prime-rl orchestrator/dispatcher.py: DispatcherMode.PREFER_EVAL",
    ),
    confidence="judgement",
    detected_by="never",
)
def eval_unbounded_examples(config: Config) -> Iterator[Problem]:
    if config.steps is not None and config.steps <= 50:
        return
    told: list[KeyPath] = []
    for source in config.eval_sources():
        examples, interval = source.get("num_examples"), source.get("interval")
        if type(examples) is not int or examples >= 0:
            continue
        key = source.home("num_examples")
        if type(interval) is int and interval < _RARE_INTERVAL and key not in told:
            told.append(key)
            yield Problem(
                key,
                f"{named(source)} evaluates all its tasks every {interval} steps",
                f"Set {format_key(key)} = 64, or an interval of at least {_RARE_INTERVAL}.",
            )


@gotcha(
    id="eval-startup-blocks-training",
    name="Base-model eval before the first step",
    severity="info",
    category=_CATEGORY,
    hours_lost=2.0,
    hours_basis="judgement: evals of long tasks before step 1",
    since="0.6",
    roots=("rl", "sft"),
    keys=("orchestrator.eval.skip_first_step", "eval.skip_first_step"),
    needs=("eval",),
    why="All of it runs before any training rollout, at every start.",
    recommendation="Set orchestrator.eval.skip_first_step = true while trying things out.",
    evidence=("prime-rl configs/orchestrator.py: EvalConfig.skip_first_step",),
    confidence="verified-in-source",
    detected_by="never",
)
def eval_startup_blocks_training(config: Config) -> Iterator[Problem]:
    part = config.top if config.root == "sft" else config.orchestrator
    if part.get("eval.skip_first_step") is not False:
        return
    for source in config.eval_sources():
        examples, group = source.get("num_examples"), source.get("group_size")
        if type(examples) is not int or type(group) is not int:
            continue
        if examples >= 0 and examples * group <= _MANY_ROLLOUTS:
            continue
        key = part.path("eval.skip_first_step")
        rollouts = "all its tasks" if examples < 0 else f"{examples * group} rollouts"
        yield Problem(
            key,
            f"{named(source)} evaluates {rollouts} before the first step",
            f"Set {format_key(key)} = true while trying things out.",
        )
        return


@gotcha(
    id="eval-interval-past-end",
    name="Eval interval not below max_steps",
    severity="info",
    category=_CATEGORY,
    hours_lost=1.0,
    hours_basis="judgement: a curve of two points",
    since="0.1",
    roots=("rl", "sft"),
    keys=("orchestrator.eval.interval", "eval.interval", "max_steps"),
    needs=("eval",),
    why="No eval runs between the first and the last step.",
    recommendation="Set orchestrator.eval.interval to a fifth of max_steps.",
    evidence=("prime-rl configs/orchestrator.py: EvalConfig.interval",),
    confidence="verified-in-source",
    detected_by="never",
    fix=as_recommended,
)
def eval_interval_past_end(config: Config) -> Iterator[Problem]:
    steps = config.steps
    if steps is None or steps <= 1:
        return
    told: list[KeyPath] = []
    for source in config.eval_sources():
        interval = source.get("interval")
        key = source.home("interval")
        if type(interval) is int and interval >= steps and key not in told:
            told.append(key)
            yield Problem(
                key,
                f"{named(source)} evaluates every {interval} steps in a run of {steps}",
                f"Set {format_key(key)} = {max(1, steps // 5)}.",
            )


@gotcha(
    id="eval-completion-unbounded",
    name="Evals without completion limit",
    severity="warning",
    category=_CATEGORY,
    hours_lost=2.0,
    hours_basis="judgement: the tail of every eval",
    since="0.3",
    roots=("rl",),
    keys=("orchestrator.eval.sampling.max_completion_tokens",),
    needs=("eval",),
    why="Training has a limit and the evals have none, so their longest answers decide how long a "
    "step takes, and lengths differ from what is trained.",
    recommendation="Set orchestrator.eval.sampling.max_completion_tokens.",
    evidence=("prime-rl configs/orchestrator.py: EvalSamplingConfig.max_completion_tokens",),
    confidence="verified-in-source",
    detected_by="never",
    fix=as_recommended,
)
def eval_completion_unbounded(config: Config) -> Iterator[Problem]:
    limits = [source.get("sampling.max_completion_tokens") for source in config.train_sources()]
    longest = max((limit for limit in limits if type(limit) is int), default=None)
    if longest is None:
        return
    told: list[KeyPath] = []
    for source in config.eval_sources():
        if (
            source.get("sampling.max_completion_tokens") is not None
            or source.get("env.agent.max_output_tokens") is not None
        ):
            continue
        key = source.home("sampling.max_completion_tokens")
        if key not in told:
            told.append(key)
            yield Problem(
                key,
                f"{named(source)} has no limit on its answers, while training has {longest} tokens",
                f"Set {format_key(key)} = {longest}.",
            )


@gotcha(
    id="eval-without-timeout-at-last-step",
    name="Long evals on the last step",
    severity="info",
    category=_CATEGORY,
    hours_lost=2.7,
    hours_basis="reported: 6 nodes held for 2 h 40 min",
    since="0.5",
    roots=("rl",),
    keys=("orchestrator.eval.source[].env.agent.timeout.rollout", "max_steps"),
    needs=("eval",),
    why="The run ends when the evals of its last step have, and one that hangs has no limit.",
    recommendation="Set env.agent.timeout.rollout on the sources of the evals.",
    evidence=("prime-rl issue 2912",),
    confidence="reported",
    detected_by="never",
    fix=as_recommended,
)
def eval_without_timeout_at_last_step(config: Config) -> Iterator[Problem]:
    steps = config.steps
    if steps is None:
        return
    for source in config.eval_sources():
        interval = source.get("interval")
        if type(interval) is not int or interval < 1 or steps % interval:
            continue
        if source.get("env.agent.timeout.rollout") is None:
            key = source.path("env.agent.timeout.rollout")
            yield Problem(
                key,
                f"{named(source)} evaluates after the last step, {steps}, without a time limit",
                f"Set {format_key(key)} = 3600.",
            )


@gotcha(
    id="eval-temperature-default",
    name="Eval temperature left to the server",
    severity="info",
    category=_CATEGORY,
    hours_lost=1.0,
    hours_basis="judgement: scores that cannot be compared",
    since="0.1",
    roots=("rl", "sft", "evals"),
    keys=("orchestrator.eval.sampling.temperature", "eval.sampling.temperature"),
    needs=("eval",),
    why="The generation_config of the model decides, so scores move when the model is another.",
    recommendation="Set orchestrator.eval.sampling.temperature.",
    evidence=("prime-rl configs/orchestrator.py: EvalSamplingConfig.temperature",),
    confidence="verified-in-source",
    detected_by="never",
)
def eval_temperature_default(config: Config) -> Iterator[Problem]:
    told: list[KeyPath] = []
    for source in config.eval_sources():
        key = source.home("sampling.temperature")
        if source.get("sampling.temperature") is None and key not in told:
            told.append(key)
            yield Problem(
                key,
                f"{named(source)} samples at whatever temperature the model's files say",
                f"Set {format_key(key)} = 1.0, or what the benchmark asks for.",
            )


@gotcha(
    id="evals-fixed-concurrency-external-api",
    name="Adaptive concurrency against an API without /metrics",
    severity="error",
    category=_CATEGORY,
    hours_lost=0.5,
    hours_basis="one start of the evals",
    since="0.8",
    roots=("evals", "sft"),
    keys=(
        "eval.concurrency.min_inflight",
        "eval.concurrency.max_inflight",
        "eval.client.base_url",
    ),
    needs=("base_url",),
    why="The evals ask the server for its metrics at the start and raise where it has none, unless "
    "the concurrency is fixed.",
    recommendation="Set eval.concurrency.min_inflight and max_inflight to the same number.",
    evidence=("prime-rl evals/evals.py: raises without engine metrics unless the band is pinned",),
    confidence="verified-in-source",
    detected_by="runtime-fatal",
    fix=as_recommended,
)
def evals_fixed_concurrency_external_api(config: Config) -> Iterator[Problem]:
    url = config.get("eval.client.base_url")
    if config.inference or type(url) is not str or not url.startswith("https://"):
        return
    least = config.get("eval.concurrency.min_inflight")
    most = config.get("eval.concurrency.max_inflight")
    if least != most:
        host = url[8:].partition("/")[0].rpartition("@")[2].lower()
        # A server of one's own behind TLS has metrics; the name of a public service has not.
        public = any(host == name or host.endswith(f".{name}") for name in _PUBLIC_SERVICES)
        yield Problem(
            ("eval", "concurrency", "min_inflight"),
            f"the number of rollouts ({least} to {most}) is to follow the metrics of {host}"
            + (", which has none" if public else ", if it has any"),
            f"Set eval.concurrency.min_inflight = {most or 64}"
            + ("" if most else " and eval.concurrency.max_inflight = 64")
            + ".",
            severity=None if public else "warning",
        )


_PUBLIC_SERVICES = (
    "openai.com",
    "anthropic.com",
    "pinference.ai",
    "openrouter.ai",
    "together.xyz",
    "fireworks.ai",
    "googleapis.com",
    "deepseek.com",
    "groq.com",
    "mistral.ai",
)


@gotcha(
    id="sft-online-eval-no-server",
    name="SFT online evals without [inference]",
    severity="warning",
    category=_CATEGORY,
    hours_lost=1.0,
    hours_basis="one start of a run",
    since="0.8",
    roots=("sft",),
    keys=("eval", "inference", "eval.client.base_url"),
    needs=("eval",),
    why="Nothing is started that could answer, and the evals wait for a server at "
    "eval.client.base_url.",
    recommendation="Add [inference].",
    evidence=("prime-rl configs/sft.py: auto_setup_online_eval warns",),
    confidence="verified-in-source",
    detected_by="runtime-warning",
)
def sft_online_eval_no_server(config: Config) -> Iterator[Problem]:
    if config.get("eval") is None or config.inference:
        return
    written = config.written("eval.client.base_url")
    yield Problem(
        ("inference",),
        f"the evals wait for a server at {config.get('eval.client.base_url')}, and this file "
        "starts none",
        "Add [inference], unless somebody else starts that server.",
        severity="info" if written else None,
    )
