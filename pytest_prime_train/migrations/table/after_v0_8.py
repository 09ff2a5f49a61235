"""What changed with main-2026-08-21."""

from __future__ import annotations

from pytest_prime_train.migrations import environments, serving, training
from pytest_prime_train.migrations.change import Change, meaning, remove, rename, rewrite

_ALL = ("launcher", "trainer", "orchestrator")

CHANGES: tuple[Change, ...] = (
    rewrite(
        "env-legacy",
        "main-2026-08-21",
        ("orchestrator", "env_server"),
        ("train.source[].legacy", "eval.source[].legacy", "legacy"),
        "env.taskset",
        "Classic (v0) environments cannot run any more: the installed package must ship a v1 "
        "taskset, whose id is env.taskset.id and whose arguments are typed fields beside it.",
        environments.legacy,
        safe=False,
    ),
    rewrite(
        "taskset-v1-suffix",
        "main-2026-08-21",
        ("orchestrator", "env_server"),
        ("train.source[].env.taskset.id", "eval.source[].env.taskset.id", "env.taskset.id"),
        "env.taskset.id",
        "The packages maintained with prime-rl dropped the -v1 suffix from taskset ids.",
        environments.suffix,
    ),
    rewrite(
        "resume-step",
        "main-2026-08-21",
        _ALL,
        "ckpt.resume_step",
        "resume.step",
        "Resuming is a block of its own: -1 becomes an empty [resume], N becomes resume.step = N, "
        "0 or None becomes nothing.",
        training.resume,
    ),
    rename(
        "clean-output-dir",
        "main-2026-08-21",
        "launcher",
        {"clean_output_dir": "clean"},
        "The switch that wipes the run directory before a start is called clean now.",
    ),
    remove(
        "wandb-log-extras",
        "main-2026-08-21",
        "orchestrator",
        "wandb.log_extras",
        "Sample and distribution tables are no longer configurable.",
        harmless=None,
    ),
    rename(
        "wandb-to-monitors",
        "main-2026-08-21",
        _ALL,
        {"wandb": "monitors.wandb"},
        "W&B settings live under monitors now.",
        "move",
    ),
    rename(
        "file-monitor-filename",
        "main-2026-08-21",
        _ALL,
        {"file_monitor.filename": "file_monitor.path"},
        "filename became path.",
    ),
    rename(
        "file-monitor-to-monitors",
        "main-2026-08-21",
        _ALL,
        {"file_monitor": "monitors.file"},
        "The JSONL metric sink is monitors.file, is on by default, and its filename became path.",
        "move",
    ),
    remove(
        "prime-monitor-keys",
        "main-2026-08-21",
        "orchestrator",
        tuple(
            f"prime_monitor.{key}"
            for key in ("api_key_var", "base_url", "frontend_url", "log_extras", "team_id")
        ),
        "URL, key, team and extras of the platform monitor come from the Prime CLI login now.",
    ),
    rename(
        "prime-monitor-run-name",
        "main-2026-08-21",
        "orchestrator",
        {"prime_monitor.run_name": "prime_monitor.name"},
        "The run name on the platform is name.",
    ),
    rewrite(
        "prime-monitor-to-monitors",
        "main-2026-08-21",
        "orchestrator",
        "prime_monitor",
        "monitors.prime",
        "The platform monitor is monitors.prime; only name (was run_name) remains, URL, key "
        "variable, team and extras come from the Prime CLI login.",
        serving.prime_monitor,
    ),
    remove(
        "bench-removed",
        "main-2026-08-21",
        _ALL,
        "bench",
        "Benchmark mode is gone; use few max_steps with trainer.data.fake.",
        harmless=(False,),
    ),
    rewrite(
        "sub-output-dir",
        "main-2026-08-21",
        ("trainer", "orchestrator"),
        "output_dir",
        "",
        "In an rl file the parts derive their directory from output_dir and run.dir; a different "
        "value is refused.",
        training.output_dir_of_parts,
    ),
    rewrite(
        "ckpt-weights",
        "main-2026-08-21",
        ("launcher", "trainer"),
        ("ckpt.weights", "ckpt.weights_only", "ckpt.skip_gather_master_weights"),
        "",
        "HF weight checkpoints are no longer written by the trainer, so nothing exportable remains "
        "of a run with weights_only.",
        training.ckpt_weights,
        safe=False,
    ),
    remove(
        "wb-save-format",
        "main-2026-08-21",
        ("trainer", "launcher"),
        (
            "weight_broadcast.save_format",
            "weight_broadcast.save_sharded",
        ),
        "Filesystem broadcast always writes sharded safetensors in parallel.",
        harmless=None,
    ),
    remove(
        "max-concurrent-runs",
        "main-2026-08-21",
        "trainer",
        "max_concurrent_runs",
        "Multi-tenant training is gone: one trainer, one run.",
        harmless=(1,),
        advice="Give every run a trainer of its own.",
    ),
    rewrite(
        "optim-lr-per-run",
        "main-2026-08-21",
        "orchestrator",
        "optim",
        "trainer.optim.lr",
        "The per-run learning rate of multi-tenant training is gone; put it under trainer.optim.",
        training.lr_per_run,
    ),
    rewrite(
        "filters",
        "main-2026-08-21",
        "orchestrator",
        ("post_batch_filters", "pre_batch_filters"),
        "train.filter_zero_advantages, train.source[].curriculum.gates",
        "Rollout filters are gone: zero_advantage is covered by train.filter_zero_advantages and "
        "gates, gibberish and repetition have no successor.",
        environments.filters,
    ),
    rewrite(
        "max-inflight",
        "main-2026-08-21",
        "orchestrator",
        "max_inflight_episodes",
        "concurrency.max_inflight",
        "In-flight work is sized adaptively; the old number is the ceiling (equal min_inflight "
        "makes it fixed).",
        environments.max_inflight,
    ),
    remove(
        "oversampling-factor",
        "main-2026-08-21",
        "orchestrator",
        "oversampling_factor",
        "Concurrency adapts to the KV cache, so the factor is gone.",
        harmless=(1, 1.0),
    ),
    rewrite(
        "client-base-url-list",
        "main-2026-08-21",
        "orchestrator",
        tuple(
            f"{table}.{key}"
            for table in serving.CLIENTS
            for key in ("base_url", "elastic", "router_url")
        ),
        "base_url",
        "One URL instead of a list; several servers, or a list found by DNS, need a router in "
        "front.",
        serving.clients,
        safe=False,
    ),
    rewrite(
        "inference-vllm",
        "main-2026-08-21",
        "inference",
        ("model", "parallel", "vllm_extra", *serving.VLLM_KEYS),
        "vllm",
        "All vLLM arguments sit in one [inference.vllm] table under their vLLM names.",
        serving.vllm,
    ),
    rewrite(
        "sft-num-gpus",
        "main-2026-08-21",
        "sft",
        ("deployment.num_gpus", "deployment.num_nodes"),
        "deployment.num_train_gpus, deployment.num_train_nodes",
        "Matches the rl name.",
        training.sft_deployment,
    ),
    meaning(
        "output-dir-semantic",
        "main-2026-08-21",
        "launcher",
        "output_dir",
        "the directory of the run",
        "the directory of many runs",
        "output_dir groups runs now: artifacts go to output_dir/run.dir with a random name unless "
        "run.name is set, so resuming needs run.name.",
        training.always,
    ),
    meaning(
        "clean-reused",
        "main-2026-08-21",
        "launcher",
        "clean",
        "removed logs (up to v0.4)",
        "wipes the run directory",
        "clean wipes the whole run directory before a start.",
        training.is_written,
    ),
    meaning(
        "fused-lm-head-default",
        "main-2026-08-21",
        "trainer",
        "model.fused_lm_head_token_chunk_size",
        1024,
        8192,
        "The default went from disabled to 1024 (v0.7) and to 8192.",
    ),
    meaning(
        "env-server-ports",
        "main-2026-08-21",
        "orchestrator",
        "env_server_base_port",
        "free ports",
        5000,
        "Environment servers listen on ports from 5000 up.",
    ),
)
