"""TOML files that are none of prime-rl's business get no finding at all."""

from __future__ import annotations

import re
import site
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_prime_train.checker import Checker

# Files of other tools as their documentation has them, with names and folders that could mislead.
LOOK_ALIKES = {
    "site/config.toml": """
        baseURL = "https://example.org/"
        title = "Training notes"
        [params]
        model = "light"
        [menu]
        [[menu.main]]
        name = "Home"
        weight = 1
        [markup.goldmark.renderer]
        unsafe = true
    """,
    "content/train.toml": """
        title = "How we train"
        date = 2026-01-01
        tags = ["rl", "sft"]
    """,
    "crates/trainer/Cargo.toml": """
        [package]
        name = "trainer"
        version = "0.1.0"
        [dependencies]
        serde = { version = "1", features = ["derive"] }
    """,
    "rl/pyproject.toml": """
        [project]
        name = "rl"
        [tool.ruff]
        line-length = 100
    """,
    "Poetry.toml": """
        [virtualenvs]
        in-project = true
    """,
    "train/.taplo.toml": """
        include = ["**/*.toml"]
        [formatting]
        align_entries = true
    """,
    "infer/netlify.toml": """
        [build]
        publish = "dist"
        [[redirects]]
        from = "/*"
        to = "/index.html"
        status = 200
        [context.production.environment]
        MODEL = "x"
    """,
    "train_configs/llama3_8b.toml": """
        [job]
        dump_folder = "./outputs"
        description = "Llama 3 8B training"
        [profiling]
        enable_profiling = true
        [metrics]
        log_freq = 10
        enable_tensorboard = true
        [model]
        name = "llama3"
        flavor = "8B"
        tokenizer_path = "./assets/tokenizer"
        [optimizer]
        name = "AdamW"
        lr = 3e-4
        [training]
        local_batch_size = 1
        seq_len = 8192
        max_norm = 1.0
        steps = 1000
        [parallelism]
        data_parallel_replicate_degree = 1
        tensor_parallel_degree = 1
        [checkpoint]
        enable_checkpoint = false
        interval = 500
        [activation_checkpoint]
        mode = "selective"
    """,
    "sft/axolotl.toml": """
        base_model = "NousResearch/Llama-3.2-1B"
        load_in_8bit = false
        sequence_len = 2048
        micro_batch_size = 2
        gradient_accumulation_steps = 4
        num_epochs = 1
        learning_rate = 0.0002
        output_dir = "./outputs/out"
        wandb_project = "axolotl"
        [[datasets]]
        path = "teknium/GPT4-LLM-Cleaned"
        type = "alpaca"
    """,
    "train.toml": """
        output_dir = "out"
        learning_rate = 1e-4
        num_train_epochs = 3
        per_device_train_batch_size = 8
        gradient_checkpointing = true
    """,
    "config/kohya.toml": """
        pretrained_model_name_or_path = "model.safetensors"
        train_data_dir = "images"
        output_dir = "out"
        max_train_steps = 1600
        network_module = "networks.lora"
        optimizer_type = "AdamW8bit"
        lr_scheduler = "cosine"
    """,
    "diffusion/train.toml": """
        output_dir = "/data/diffusion"
        dataset = "dataset.toml"
        epochs = 100
        micro_batch_size_per_gpu = 1
        pipeline_stages = 1
        warmup_steps = 10
        [model]
        type = "flux"
        dtype = "bfloat16"
        [adapter]
        type = "lora"
        rank = 32
        [optimizer]
        type = "adamw_optimi"
        lr = 2e-5
    """,
    "spacy/train_config.toml": """
        [paths]
        train = "train.spacy"
        [system]
        gpu_allocator = "pytorch"
        [nlp]
        lang = "en"
        [training]
        max_steps = 20000
        [training.optimizer]
        "@optimizers" = "Adam.v1"
    """,
    "env_server/server.toml": """
        [server]
        host = "127.0.0.1"
        port = 8000
        [log]
        level = "info"
    """,
    "inference/triton.toml": """
        name = "model"
        platform = "onnxruntime_onnx"
        max_batch_size = 8
    """,
    "orchestrator/docker.toml": """
        version = 2
        [plugins."io.containerd.grpc.v1.cri"]
        sandbox_image = "pause:3.9"
    """,
    "evals/promptfoo.toml": """
        description = "compare prompts"
        providers = ["openai:gpt-4o"]
        [[tests]]
        vars = { topic = "bananas" }
    """,
    "eval/inspect.toml": """
        model = "openai/gpt-4o"
        limit = 10
        log_dir = "logs"
    """,
    "train/runpod.toml": """
        [project]
        uuid = "1"
        name = "x"
        gpu_types = ["NVIDIA A100"]
        gpu_count = 1
        env_vars = { A = "1" }
    """,
    "slurm.toml": """
        partition = "gpu"
        nodes = 2
        time = "24:00:00"
    """,
    "empty.toml": "",
    "starship.toml": """
        add_newline = false
        [character]
        success_symbol = "x"
    """,
    "rl/alacritty.toml": """
        [env]
        TERM = "xterm-256color"
        [window]
        dimensions = { columns = 80, lines = 24 }
    """,
    "mise.toml": """
        [env]
        MODEL = "x"
        [tools]
        python = "3.12"
    """,
    "data/dvc.toml": """
        [data]
        path = "x"
        [model]
        name = "resnet"
        layers = 50
    """,
    "training/tts.toml": """
        [model]
        name = "vits"
        [data]
        sampling_rate = 22050
        [train]
        batch_size = 32
        learning_rate = 1e-4
    """,
    "rl/sb3.toml": """
        algo = "ppo"
        n_timesteps = 1000000
        env = "CartPole-v1"
        learning_rate = 0.0003
        batch_size = 64
        gamma = 0.99
    """,
    "rl/cleanrl.toml": """
        env_id = "CartPole-v1"
        seed = 1
        total_timesteps = 500000
        num_envs = 4
        [optim]
        learning_rate = 2.5e-4
    """,
}


@cache
def _checker() -> Checker:
    return Checker(folder="/")


def _installed() -> Iterator[Path]:
    """TOML files of installed packages and of Python itself."""
    folders = {
        *site.getsitepackages(),
        sysconfig.get_path("stdlib"),
        sys.base_prefix + "/lib",
        "/usr/lib/python3",
        "/usr/share",
    }
    here = Path(__file__).resolve().parent.parent
    for folder in sorted(folders):
        for path in Path(folder).rglob("*.toml"):
            if not path.is_relative_to(here) and path.is_file():
                yield path


def test_files_of_installed_packages_get_no_finding() -> None:
    found = []
    count = 0
    for path in set(_installed()):
        try:
            tomllib.loads(path.read_bytes().decode())
        except (OSError, ValueError, RecursionError):
            continue  # What does not parse is reported whoever it belongs to.
        count += 1
        report = _checker().check_file(str(path))
        found += [(str(path), finding.message) for finding in report.findings]
        assert report.root is None, path
    assert found == []
    assert count > 3


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_look_alikes_get_no_finding(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(re.sub(r"(?m)^ +", "", LOOK_ALIKES[name]))
    report = Checker(folder=str(tmp_path)).check_file(str(path))
    assert [finding.message for finding in report.findings] == []
    assert report.root is None


WORDS = st.sampled_from(
    (
        "name", "title", "version", "model", "data", "log", "output_dir", "env", "seed", "path",
        "type", "build", "params", "server", "training", "optimizer", "batch_size", "lr",
        "learning_rate", "tags", "theme", "dataset", "epochs", "tokenizer", "description",
        "max_steps", "device", "precision", "author", "menu",
    )
)  # fmt: skip
SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), st.sampled_from(("a", "adamw", "x/y")))
DOCUMENTS = st.dictionaries(
    WORDS, st.one_of(SCALARS, st.dictionaries(WORDS, SCALARS, max_size=4)), max_size=6
)


@settings(max_examples=500, deadline=None)
@given(DOCUMENTS, st.sampled_from(("config", "site", "notes", "settings", "app")))
def test_files_of_common_words_get_no_finding(document: dict[str, object], name: str) -> None:
    """Without a name that says so, common words do not make a config of prime-rl."""
    from pytest_prime_train.config.recognise import recognise

    found = recognise(document, f"some/{name}.toml", _checker().schema)
    assert found.root is None
    assert not found.doubtful
