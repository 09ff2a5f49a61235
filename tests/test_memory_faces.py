"""Memory as users meet it: on the command line, as pytest items, as findings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PRIME_TRAIN = Path(sys.executable).with_name("prime-train")

SFT = """\
max_steps = 100
[ckpt]
interval = 10
keep_last = 2
[model]
name = "{model}"
[data]
type = "fake"
seq_len = 4096
batch_size = 64
[deployment]
num_train_gpus = {gpus}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small_sft.toml").write_text(SFT.format(model="Qwen/Qwen3-0.6B", gpus=1))
    (tmp_path / "large_sft.toml").write_text(SFT.format(model="Qwen/Qwen3-32B", gpus=1))
    (tmp_path / "unheard_sft.toml").write_text(SFT.format(model="nobody/knows-this", gpus=1))
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PRIME_TRAIN, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("file", "verdict", "code"),
    [
        ("small_sft.toml", "fits", 0),
        ("large_sft.toml", "does-not-fit", 1),
        ("unheard_sft.toml", "unknown", 0),
    ],
)
def test_the_document_of_a_config_on_a_card(
    folder: Path, file: str, verdict: str, code: int
) -> None:
    done = run(folder, "memory", file, "--gpu=H100-80GB", "--format=json")
    assert (done.returncode, done.stderr) == (code, "")
    document = json.loads(done.stdout)
    assert document["verdict"] == verdict
    assert (document["trainer"] is None) == (verdict == "unknown")
    assert bool(document["unknown"]) == (verdict == "unknown")


def test_the_picture_names_the_full_card_and_what_would_fit(folder: Path) -> None:
    done = run(folder, "memory", "large_sft.toml", "--gpu", "h100-80gb")
    assert done.stdout.startswith("H100-80GB-SXM, 79.1 GiB usable: does-not-fit\n")
    assert "what would fit:" in done.stdout
    assert "█" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["small_sft.toml", "--gpu=H10-80GB"], "no GPU is known as 'H10-80GB'; did you mean"),
        (["nowhere.toml", "--gpu=H100-80GB"], "nowhere.toml"),
        (["small_sft.toml", "--gpu=H100-80GB", "--format=yaml"], "yaml"),
        (["small_sft.toml"], "gpu"),
    ],
)
def test_wrong_use_is_one_sentence(folder: Path, arguments: list[str], sentence: str) -> None:
    done = run(folder, "memory", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr.lower() or sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_config_that_prime_rl_refuses_has_no_estimate(folder: Path) -> None:
    (folder / "bad_sft.toml").write_text(SFT.format(model="Qwen/Qwen3-0.6B", gpus="[]"))
    done = run(folder, "memory", "bad_sft.toml", "--gpu=H100-80GB")
    assert done.returncode == 2
    assert "bad_sft.toml:12:18: deployment.num_train_gpus" in done.stderr


def test_an_item_for_each_card(pytester: pytest.Pytester, folder: Path) -> None:
    result = pytester.runpytest(
        f"--prime-configs={folder}", "--prime-gpu=H100-80GB", "--prime-gpu=B200-180GB", "-v", "-rs",
        "--prime-select=memory", "-p", "no:cacheprovider",
    )  # fmt: skip
    result.stdout.fnmatch_lines_random(
        [
            "*small_sft.toml::memory?H100-80GB? PASSED*",
            "*small_sft.toml::memory?B200-180GB? PASSED*",
            "*large_sft.toml::memory?H100-80GB? FAILED*",
            "*unheard_sft.toml::memory?H100-80GB? SKIPPED*",
            "*memory-trainer*H100-80GB-SXM with 79.1 GiB cannot hold*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_refused_file_is_not_said_to_fit(pytester: pytest.Pytester, folder: Path) -> None:
    (folder / "bad_sft.toml").write_text(SFT.format(model="Qwen/Qwen3-0.6B", gpus="[]"))
    result = pytester.runpytest(
        str(folder / "bad_sft.toml"), "--prime-gpu=H100-80GB", "-v", "-p", "no:cacheprovider"
    )
    result.stdout.fnmatch_lines(["*bad_sft.toml::memory?H100-80GB? SKIPPED*"])


def test_a_card_that_nobody_knows_is_wrong_use(pytester: pytest.Pytester, folder: Path) -> None:
    result = pytester.runpytest(f"--prime-configs={folder}", "--prime-gpu=H10-80GB")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no GPU is known as 'H10-80GB'; did you mean*"])


def test_more_gpus_make_it_fit(folder: Path) -> None:
    done = run(folder, "memory", "large_sft.toml", "--gpu=H200-141GB", "--num-gpus=16")
    assert ": fits\n" in done.stdout


def test_the_function(folder: Path) -> None:
    import pytest_prime_train

    estimate = pytest_prime_train.estimate_memory(str(folder / "small_sft.toml"), "H100-80GB")
    assert (estimate.gpu, estimate.verdict) == ("H100-80GB-SXM", "fits")
    with pytest.raises(pytest_prime_train.UsageError, match="no GPU is known"):
        pytest_prime_train.estimate_memory(str(folder / "small_sft.toml"), "H10")
