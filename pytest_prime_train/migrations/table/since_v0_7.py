"""What changed with v0.7.0."""

from __future__ import annotations

from pytest_prime_train.migrations import algorithm, environments, renderers, serving, training
from pytest_prime_train.migrations.change import Change, meaning, remove, rename, rewrite, value
from pytest_prime_train.schema.versions import NEWEST

CHANGES: tuple[Change, ...] = (
    rewrite(
        "experimental-removed",
        "v0.7.0",
        ("launcher", "trainer", "orchestrator", "inference"),
        "experimental",
        "trainer.enable_token_export",
        "The empty experimental tables are gone; token_export became trainer.enable_token_export.",
        training.experimental,
    ),
    rewrite(
        "orch-student",
        "v0.7.0",
        "orchestrator",
        "student",
        "model",
        "student was a short-lived name (v0.6): its model keys move up to orchestrator.model, its "
        "client to orchestrator.model.client.",
        algorithm.student,
    ),
    rewrite(
        "training-mode",
        "v0.7.0",
        "orchestrator",
        ("training_mode", "teacher"),
        "algo.type, algo.teacher, algo.sampling.source",
        "Modes became algorithms (rl is grpo, opd and sft keep their names), and a teacher is an "
        "inline frozen model (name and base_url) of the algorithm.",
        algorithm.training_mode,
        safe=False,
    ),
    rewrite(
        "advantage-to-algo",
        "v0.7.0",
        "orchestrator",
        ("advantage", "train.env[].advantage"),
        "algo",
        "Advantage settings became the algorithm (grpo by default); custom advantage functions and "
        "length_weighted_baseline have no successor.",
        algorithm.advantage,
        safe=False,
    ),
    rewrite(
        "env-group-defaults",
        "v0.7.0",
        "orchestrator",
        ("train.num_workers", "train.max_retries", "eval.num_workers", "eval.max_retries"),
        "train.env[].pool, train.env[].retries.rollout.max_retries",
        "Workers and retries are set per environment.",
        environments.group_defaults,
    ),
    rewrite(
        "env-num-workers",
        "v0.7.0",
        ("orchestrator", "env_server"),
        ("train.env[].num_workers", "eval.env[].num_workers", "env.num_workers"),
        "pool",
        "Worker count became a pool: N is a static pool, auto is the elastic default.",
        environments.num_workers,
        dropped="v0.8.0",
    ),
    rename(
        "env-max-retries",
        "v0.7.0",
        ("orchestrator", "env_server"),
        {
            f"{table}.max_retries": f"{table}.retries.rollout.max_retries"
            for table in environments.TABLES
        },
        "The plain counter went away; retries.max_retries is the nearest.",
        "move",
    ),
    rewrite(
        "env-max-total-completion-tokens",
        "v0.7.0",
        ("orchestrator", "env_server"),
        tuple(f"{table}.max_total_completion_tokens" for table in environments.TABLES),
        "max_output_tokens",
        "The completion budget over all turns is the limit max_output_tokens; -1 means leave it "
        "out.",
        environments.completion_budget,
    ),
    rewrite(
        "env-timeout",
        "v0.7.0",
        ("orchestrator", "env_server"),
        tuple(
            f"{table}.{key}"
            for table in environments.TABLES
            for key in ("timeout", "timeout_seconds")
        ),
        "timeout.rollout",
        "One number became limits per phase: rollout, setup, scoring, finalize.",
        environments.timeout,
    ),
    remove(
        "env-state-columns",
        "v0.7.0",
        ("orchestrator", "env_server"),
        tuple(f"{table}.state_columns" for table in environments.TABLES),
        "It belonged to classic environments.",
    ),
    rewrite(
        "sampling-temperature-bound",
        "v0.7.0",
        "orchestrator",
        tuple(
            f"{table}.temperature"
            for table in (
                "train.sampling",
                "eval.sampling",
                "train.env[].sampling",
                "eval.env[].sampling",
            )
        ),
        "temperature",
        "Temperatures above 2 are refused.",
        environments.high_temperature,
        safe=False,
    ),
    rewrite(
        "env-id-default",
        "v0.7.0",
        ("orchestrator", "env_server"),
        ("train.env[].id", "eval.env[].id", "env.id"),
        "id",
        "An environment without an id is no longer reverse-text.",
        environments.default_id,
    ),
    rewrite(
        "env-ratio-none",
        "v0.7.0",
        ("orchestrator", "env_server"),
        ("train.env[].ratio", "eval.env[].ratio", "env.ratio"),
        "ratio",
        "Ratio refuses None, which is now said by leaving it out.",
        environments.ratio_none,
    ),
    meaning(
        "env-ratio-default",
        "v0.7.0",
        "orchestrator",
        "train.env[].ratio",
        "by size of the data sets",
        1.0,
        "Ratio defaults to 1: several sources are drawn equally, not by dataset size.",
        training.has_several,
    ),
    remove(
        "env-install-prerelease",
        "v0.7.0",
        ("orchestrator", "env_server"),
        "env_install_prerelease",
        "It is no longer a setting.",
        harmless=(False,),
    ),
    remove(
        "client-timeouts",
        "v0.7.0",
        "orchestrator",
        tuple(
            f"{table}.{key}"
            for table in ("client", "model.client", "algo.teacher", "algo.sampling.source")
            for key in ("timeout", "connect_timeout")
        ),
        "The rollout client manages its own time limits.",
        harmless=None,
    ),
    rewrite(
        "renderer-required",
        "v0.7.0",
        "orchestrator",
        "renderer",
        "renderer",
        "Renderer None is not accepted; with auto the model must be one the renderers package "
        "maps, else name one.",
        renderers.required,
        safe=False,
    ),
    rewrite(
        "renderer-thinking",
        "v0.7.0",
        ("orchestrator", "sft"),
        ("renderer.preserve_all_thinking", "renderer.preserve_thinking_between_tool_calls"),
        "renderer.thinking_retention",
        "Two booleans became thinking_retention (all, tool_cycle).",
        renderers.thinking,
        dropped=NEWEST,
    ),
    value(
        "fused-lm-head-auto",
        "v0.7.0",
        "trainer",
        "model.fused_lm_head_token_chunk_size",
        {"auto": None},
        "The value auto is not accepted any more; the default does the same.",
    ),
    rewrite(
        "runs-without-offload",
        "v0.7.0",
        "trainer",
        (),
        "model.optim_cpu_offload",
        "Several runs of one trainer do not go with optimizer states in host memory, the default.",
        training.runs_without_offload,
    ),
    rename(
        "pd-env-overrides",
        "v0.7.0",
        "inference",
        {
            "deployment.prefill_env_overrides": "deployment.prefill_env_vars",
            "deployment.decode_env_overrides": "deployment.decode_env_vars",
        },
        "Renamed to *_env_vars.",
    ),
    rewrite(
        "pd-nodes",
        "v0.7.0",
        "inference",
        ("deployment.num_prefill_nodes", "deployment.num_decode_nodes"),
        "deployment.prefill_nodes_per_replica, deployment.decode_nodes_per_replica",
        "Counts are per replica now.",
        serving.nodes_per_replica,
    ),
    meaning(
        "wb-default-nccl",
        "v0.7.0",
        "launcher",
        "weight_broadcast.type",
        "filesystem",
        "nccl",
        "The default weight transport changed from filesystem to nccl; write filesystem to keep "
        "the old one.",
        training.has_no_transport,
    ),
    meaning(
        "memory-defaults",
        "v0.7.0",
        "trainer",
        ("model.ac", "model.ac_offloading", "model.compile"),
        "None",
        "on",
        "Activation checkpointing, activation offloading and compile are on by default; write "
        '"None" to keep an old run fast.',
    ),
    meaning(
        "optim-offload-default",
        "v0.7.0",
        "trainer",
        "model.optim_cpu_offload",
        False,
        True,
        "Optimizer states are kept in host memory by default.",
    ),
    meaning(
        "ep-default-auto",
        "v0.7.0",
        "trainer",
        "model.ep",
        1,
        "auto",
        "Expert parallelism defaults to auto (MoE: min(world/dp_replicate, 8)) instead of 1.",
    ),
    meaning(
        "moe-router-dtype",
        "v0.7.0",
        "trainer",
        "model.moe_router_dtype",
        "bfloat16",
        "float32",
        "MoE routers compute in float32 by default; bfloat16 restores old numerics.",
    ),
    meaning(
        "dist-timeout-default",
        "v0.7.0",
        "trainer",
        "dist_timeout_seconds",
        600,
        3600,
        "The default grew from 600 to 3600 seconds: a hang is noticed later.",
    ),
    meaning(
        "infer-nodes-derived",
        "v0.7.0",
        "launcher",
        "deployment.num_infer_nodes",
        "1",
        "derived",
        "The inference node count is derived from the deployment when left out.",
        training.has_several_nodes,
    ),
)
