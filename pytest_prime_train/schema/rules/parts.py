"""Rules of what the parts of an rl config have to agree on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, is_written, key, said, shown

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block

# Models whose orchestrator uses another name for the same weights.
_RENAMED_MODELS = "Jackmin108/"


def _is_own(rl: Block, one: str, other: str) -> bool:
    """Whether a part writes its key itself: shared values and defaults never differ."""
    return rl.written(one) or rl.written(other)


def _differ(rl: Block, one: str, other: str, shared: str, message: str) -> Problem:
    """Two keys that have to be equal; the one that the file writes is to be changed."""
    names = (one, other) if is_written(rl, one) or not is_written(rl, other) else (other, one)
    right = rl.get(names[1])
    cure = f"Set {key(rl, names[0])} = {shown(right)}"
    if right is None:
        cure = f"Remove {key(rl, names[0])}"
    return broken(rl, names, message, f"{cure}, or give both as the shared {shared}.")


@rule(
    "rl-model-name-inference",
    name="Two models, one served and one asked for",
    part="rl",
    keys=("inference.vllm.model", "orchestrator.model.name"),
    needs=("model", "name"),
    since="HEAD",
    recommendation="Name the model once, as the shared model.name.",
    source="utils/validation.py validate_shared_model_name",
)
def _model_name_inference(rl: Block) -> Iterator[Problem]:
    served, asked = "inference.vllm.model", "orchestrator.model.name"
    if not _is_own(rl, served, asked) or rl.get("inference") is None:
        return
    if rl.get(served) != rl.get(asked):
        yield _differ(
            rl,
            asked,
            served,
            "model.name",
            f"{said(rl, served)}, and the orchestrator asks it for {said(rl, asked)}",
        )


@rule(
    "rl-model-name-no-inference",
    name="Two models, one trained and one asked for",
    part="rl",
    keys=("trainer.model.name", "orchestrator.model.name"),
    needs=("model", "name"),
    since="HEAD",
    recommendation="Name the model once, as the shared model.name.",
    source="utils/validation.py validate_shared_model_name",
)
def _model_name_no_inference(rl: Block) -> Iterator[Problem]:
    trained, asked = "trainer.model.name", "orchestrator.model.name"
    if not _is_own(rl, trained, asked) or rl.get("inference") is not None:
        return
    name = rl.get(trained)
    if name != rl.get(asked) and not name.startswith(_RENAMED_MODELS):
        message = f"{said(rl, trained)} is not {said(rl, asked)}"
        yield _differ(rl, asked, trained, "model.name", message)


@rule(
    "rl-chat-template",
    name="Two chat templates",
    part="rl",
    keys=("trainer.tokenizer.chat_template", "orchestrator.tokenizer.chat_template"),
    needs=("chat_template",),
    since="HEAD",
    recommendation="Give the template once, as the shared tokenizer.chat_template.",
    source="utils/validation.py validate_shared_tokenizer",
)
def _chat_template(rl: Block) -> Iterator[Problem]:
    trains, asks = "trainer.tokenizer.chat_template", "orchestrator.tokenizer.chat_template"
    serves = "inference.vllm.chat_template"
    others = [asks] if rl.get("inference") is None else [asks, serves]
    for other in others:
        if rl.get(trains) != rl.get(other):
            yield _differ(
                rl,
                other if is_written(rl, other) else trains,
                trains if is_written(rl, other) else other,
                "tokenizer.chat_template",
                f"{said(rl, trains)} and {said(rl, other)} differ",
            )


@rule(
    "rl-max-steps-equal",
    name="Two lengths of one run",
    part="rl",
    keys=("trainer.max_steps", "orchestrator.max_steps"),
    needs=("max_steps",),
    since="v0.2",
    recommendation="Set the shared max_steps only.",
    source="utils/validation.py validate_shared_max_steps",
)
def _max_steps_equal(rl: Block) -> Iterator[Problem]:
    one, other = "trainer.max_steps", "orchestrator.max_steps"
    if _is_own(rl, one, other) and rl.get(one) != rl.get(other):
        yield _differ(rl, one, other, "max_steps", f"{said(rl, one, other)} differ")


@rule(
    "rl-seq-len-order",
    name="Rollouts that are longer than the trainer takes",
    part="rl",
    keys=("trainer.model.seq_len", "orchestrator.seq_len"),
    needs=("seq_len",),
    since="v0.2",
    recommendation="Set the shared seq_len only.",
    source="utils/validation.py validate_shared_seq_len",
)
def _seq_len_order(rl: Block) -> Iterator[Problem]:
    trains, samples = "trainer.model.seq_len", "orchestrator.seq_len"
    if _is_own(rl, trains, samples) and rl.get(trains) < rl.get(samples):
        yield broken(
            rl,
            (trains, samples) if is_written(rl, trains) else (samples, trains),
            f"{said(rl, trains)} is below {said(rl, samples)}, so the trainer cannot take what "
            "is sampled",
            f"Set {key(rl, trains)} to at least {rl.get(samples)}, or "
            f"{key(rl, samples)} = {rl.get(trains)}.",
        )


@rule(
    "rl-ckpt-both",
    name="Checkpoints of one half of a run",
    part="rl",
    keys=("trainer.ckpt", "orchestrator.ckpt"),
    needs=("ckpt",),
    since="v0.2",
    recommendation="Use the shared ckpt table only.",
    source="utils/validation.py validate_shared_ckpt_config",
)
def _ckpt_both(rl: Block) -> Iterator[Problem]:
    yield from _both(rl, "ckpt", "checkpoints")


@rule(
    "rl-wandb-both",
    name="Metrics of one half of a run",
    part="rl",
    keys=("trainer.monitors.wandb", "orchestrator.monitors.wandb"),
    needs=("wandb",),
    since="HEAD",
    recommendation="Use the shared monitors.wandb table only.",
    source="utils/validation.py validate_shared_wandb_config",
)
def _wandb_both(rl: Block) -> Iterator[Problem]:
    yield from _both(rl, "monitors.wandb", "W&B")


def _both(rl: Block, table: str, what: str) -> Iterator[Problem]:
    one, other = f"trainer.{table}", f"orchestrator.{table}"
    if not _is_own(rl, one, other) or (rl.get(one) is None) is (rl.get(other) is None):
        return
    has, lacks = (one, other) if rl.get(one) is not None else (other, one)
    yield broken(
        rl,
        (has, lacks),
        f"{what} need both halves of a run: {key(rl, has)} is on, and {said(rl, lacks)}",
        f"Add [{table}] in place of {key(rl, has)}, or [{lacks}] beside it.",
    )


@rule(
    "rl-ckpt-interval-equal",
    name="Two intervals of checkpoints",
    part="rl",
    keys=("trainer.ckpt.interval", "orchestrator.ckpt.interval"),
    needs=("interval",),
    since="v0.2",
    recommendation="Set the shared ckpt.interval only.",
    source="utils/validation.py validate_shared_ckpt_config",
)
def _ckpt_interval_equal(rl: Block) -> Iterator[Problem]:
    one, other = "trainer.ckpt.interval", "orchestrator.ckpt.interval"
    if (
        not _is_own(rl, one, other)
        or rl.get("trainer.ckpt") is None
        or rl.get("orchestrator.ckpt") is None
    ):
        return
    if rl.get(one) != rl.get(other):
        yield _differ(rl, one, other, "ckpt.interval", f"{said(rl, one, other)} differ")


@rule(
    "rl-resume-equal",
    name="Two places to resume one run from",
    part="rl",
    keys=("resume", "trainer.resume", "orchestrator.resume"),
    needs=("resume",),
    since="HEAD",
    recommendation="Use the shared resume table only.",
    source="utils/validation.py validate_shared_ckpt_config",
)
def _resume_equal(rl: Block) -> Iterator[Problem]:
    if rl.get("resume") is not None:
        return
    one, other = "trainer.resume", "orchestrator.resume"
    if _resumes_at(rl, one) != _resumes_at(rl, other):
        names = (one, other) if rl.get(one) is not None else (other, one)
        yield broken(
            rl,
            names,
            f"{said(rl, one, other)} differ, and both halves of a run resume from one place",
            f"Move {key(rl, names[0])} to the shared [resume].",
        )


def _resumes_at(rl: Block, table: str) -> tuple[object, ...] | None:
    if rl.get(table) is None:
        return None
    from pathlib import PurePosixPath

    directory = rl.get(f"{table}.dir")
    return rl.get(f"{table}.step"), directory and PurePosixPath(directory)


@rule(
    "rl-wandb-project-equal",
    name="Two projects for one run",
    part="rl",
    keys=("trainer.monitors.wandb.project", "orchestrator.monitors.wandb.project"),
    needs=("project",),
    since="HEAD",
    recommendation="Set the shared monitors.wandb.project only.",
    source="utils/validation.py validate_shared_wandb_config",
)
def _wandb_project_equal(rl: Block) -> Iterator[Problem]:
    one, other = "trainer.monitors.wandb.project", "orchestrator.monitors.wandb.project"
    if not _is_own(rl, one, other):
        return
    if rl.get("trainer.monitors.wandb") is None or rl.get("orchestrator.monitors.wandb") is None:
        return
    if rl.get(one) != rl.get(other):
        message = f"{said(rl, one, other)} differ"
        yield _differ(rl, one, other, "monitors.wandb.project", message)


@rule(
    "rl-wandb-offline",
    name="Shared metrics that are written offline",
    part="monitors.wandb",
    keys=("offline",),
    needs=("offline",),
    since="HEAD",
    recommendation="Set offline in trainer.monitors.wandb and orchestrator.monitors.wandb.",
    source="rl.py SharedWandbConfig.validate_not_offline",
)
def _wandb_offline(wandb: Block) -> Iterator[Problem]:
    if wandb.get("offline"):
        yield broken(
            wandb,
            ("offline",),
            f"{said(wandb, 'offline')} cannot be: both halves of the run write to one run of W&B, "
            "which needs its server",
            f"Remove {key(wandb, 'offline')}, or set it in trainer.monitors.wandb and "
            "orchestrator.monitors.wandb.",
        )


@rule(
    "rl-sub-output-dir",
    name="An output directory that is not the run's",
    part="rl",
    keys=("trainer.output_dir", "orchestrator.output_dir", "run.dir"),
    needs=("output_dir",),
    since="HEAD",
    recommendation="Set output_dir and run.name at the top of the file only.",
    source="rl.py RLConfig.auto_setup_run_dir",
)
def _sub_output_dir(rl: Block) -> Iterator[Problem]:
    for part in ("trainer", "orchestrator"):
        name = f"{part}.output_dir"
        if not rl.written(name):
            continue
        from pathlib import PurePosixPath

        folder = rl.get("run.dir")
        if folder is None:
            folder = rl.get("run.name")
        if folder is None:
            right = "output_dir and a name that prime-rl makes up for every run"
        else:
            run = PurePosixPath(rl.get("output_dir")) / folder
            if run == PurePosixPath(rl.get(name)):
                continue
            right = f"{shown(str(run))}, made of output_dir and the run's name"
        yield broken(
            rl,
            (name,),
            f"{said(rl, name)} is not the directory of the run, {right}",
            f"Remove {name}, and set output_dir and run.name at the top.",
        )


@rule(
    "rl-transport-equal",
    name="Two ways to send rollouts",
    part="rl",
    keys=("trainer.rollout_transport.type", "orchestrator.rollout_transport.type"),
    needs=("rollout_transport",),
    since="v0.8.0",
    recommendation="Use the shared rollout_transport table only.",
    source="rl.py RLConfig.auto_setup_rollout_transport",
)
def _transport_equal(rl: Block) -> Iterator[Problem]:
    one, other = "trainer.rollout_transport.type", "orchestrator.rollout_transport.type"
    if rl.get(one) != rl.get(other):
        yield _differ(rl, one, other, "rollout_transport.type", f"{said(rl, one, other)} differ")


@rule(
    "rl-client-port",
    name="A client that asks at another port than is served",
    part="rl",
    keys=("orchestrator.model.client.base_url", "inference.server.port"),
    needs=("port", "base_url"),
    since="HEAD",
    severity="warning",
    gotcha="client-port-not-server-port",
    why="prime-rl takes the file, and the launcher stops before it starts anything.",
    recommendation="Set orchestrator.model.client.base_url with the port of inference.server.",
    source="src/prime_rl/entrypoints/rl.py rl_local",
)
def _client_port(rl: Block) -> Iterator[Problem]:
    if rl.get("inference") is None or rl.get("slurm") is not None:
        return
    url, port = "orchestrator.model.client.base_url", "inference.server.port"
    if not rl.written(url) and not _samples_from_policy(rl):
        return  # It is then made of the server's own address.
    from urllib.parse import urlsplit

    try:
        asked = urlsplit(rl.get(url)).port
    except ValueError:
        asked = None
    if asked != rl.get(port):
        yield broken(
            rl,
            (url, port),
            f"{said(rl, url)} is not at {said(rl, port)}",
            f'Set {url} = "http://localhost:{rl.get(port)}/v1".',
        )


def _samples_from_policy(rl: Block) -> bool:
    """Whether a source is sampled from the model that is trained."""
    return any(
        source.get("algo.sampling.source") == "policy" for source in rl.config.train_sources()
    )
