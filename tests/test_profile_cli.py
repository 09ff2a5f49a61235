"""``prime-train profile``: text, JSON, patch, comparison, and what it says to wrong use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

import pytest_prime_train
from conftest import ROOT
from pytest_prime_train.cli import main
from pytest_prime_train.profiler import remedies
from pytest_prime_train.profiler.api import profile_of
from pytest_prime_train.profiler.context import find_context
from pytest_prime_train.profiler.live import LiveProfile
from pytest_prime_train.profiler.patching import path_of
from run_simulator import CLEAR, write_clear

KEYS = [
    "verdict",
    "contributing",
    "confidence",
    "shares",
    "gain_upper_bound",
    "remedies",
    "steps_used",
    "missing",
]
"""What other programs rely on, in this order at the front."""

CONFIG = ROOT / "examples" / "rl.toml"


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["profile", *arguments, "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_contract_of_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, str(write_clear(tmp_path, "trainer")))
    assert list(document)[: len(KEYS)] == KEYS
    assert document["verdict"] == "trainer"
    assert 0 < document["gain_upper_bound"] < 1
    assert document["shares"]["forward_backward"] > 0.7
    for remedy in document["remedies"]:
        assert list(remedy) == ["key", "value", "why"]
    assert document == pytest_prime_train.diagnose(tmp_path).as_json()


def test_the_text_names_cause_gain_and_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clear(tmp_path, "inference-cap")
    assert main(["profile", str(tmp_path), "--usd-per-gpu-hour", "2"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("inference-cap: ")
    assert "were it free, a step would take" in text
    assert "orchestrator.concurrency.max_inflight = 72" in text


def test_an_undetermined_run_says_what_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clear(tmp_path, "inference-cap")
    (tmp_path / "wandb-history.jsonl").unlink()
    assert main(["profile", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("undetermined: ")
    assert "to tell, this is needed:" in text


@pytest.mark.parametrize("verdict", [name for name in CLEAR if name != "unstable"])
def test_each_remedy_applied_to_the_config_validates(
    tmp_path: Path, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clear(tmp_path / "run", verdict)
    shutil.rmtree(tmp_path / "run" / "configs")
    config = tmp_path / "rl.toml"
    text = CONFIG.read_text()
    if verdict == "evaluation":
        text += '\n[orchestrator.eval]\ninterval = 2\n[[orchestrator.eval.source]]\nname = "e"\n'
        text += 'env.taskset.id = "gsm8k"\nenv.agent.harness.id = "null"\n'
    config.write_text(text)
    document = run_json(capsys, str(tmp_path / "run"), "--config", str(config))
    assert document["verdict"] == verdict
    values = [remedy for remedy in document["remedies"] if remedy["value"] is not None]
    assert values
    for remedy in values:
        patched = tmp_path / "patched.toml"
        patched.write_text(with_value(text, remedy["key"], remedy["value"]))
        assert main(["validate", str(patched)]) == 0, remedy
        capsys.readouterr()
    assert main(["profile", str(tmp_path / "run"), "--config", str(config), "--patch"]) == 0
    diff = capsys.readouterr().out
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    diff = diff.replace(f"a/{config}", "a/rl.toml").replace(f"b/{config}", "b/rl.toml")
    subprocess.run(["git", "apply"], cwd=tmp_path, input=diff.encode(), check=True)
    assert config.read_text() != text
    assert main(["validate", str(config)]) == 0


def with_value(text: str, key: str, value: object) -> str:
    """As a person would write it, by tomlkit."""
    import tomlkit

    document: Any = tomlkit.parse(text)
    place = document
    path = path_of(key, "rl")
    assert path is not None
    for part in path[:-1]:
        if isinstance(part, str) and part not in place:
            place[part] = tomlkit.table()
        place = place[part]
    place[path[-1]] = value
    result = tomlkit.dumps(document)
    tomllib.loads(result)
    return result


def test_a_remedy_that_the_config_refuses_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clear(tmp_path / "run", "evaluation")
    document = run_json(capsys, str(tmp_path / "run"), "--config", str(CONFIG))
    assert [one["key"] for one in document["remedies"]] == []
    assert any("orchestrator.eval.interval" in note for note in document["notes"])


def test_a_remedy_that_no_longer_fits_the_gpu_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clear(tmp_path / "run", "weight-sync")
    arguments = [str(tmp_path / "run"), "--config", str(CONFIG)]
    document = run_json(capsys, *arguments, "--gpu", "H100-80GB")
    assert "weight_broadcast.type" in [one["key"] for one in document["remedies"]]
    assert document["idle"]["usd_per_gpu_hour"] > 0


def test_two_runs_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (write_clear(tmp_path / name, name) for name in ("inference-cap", "trainer"))
    document = run_json(capsys, str(a), str(b))
    assert document["verdict_changed"]
    changes = {one["name"]: one for one in document["changes"]}
    assert changes["forward_backward_seconds"]["significant"]
    assert changes["forward_backward_seconds"]["change"] > 1
    same = run_json(capsys, str(a), str(a))
    assert not any(one["significant"] for one in same["changes"])
    assert main(["profile", str(a), str(b)]) == 0
    assert "not significant" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nothing-here"], "there is no 'nothing-here'"),
        ([".", "--format", "xml"], "--format"),
        ([".", ".", "."], "at most two"),
        ([".", "--gpu", "H9000"], "H9000"),
        ([".", "--patch", "--format", "json"], "--patch"),
        (["."], "has no metrics.jsonl"),
    ],
)
def test_wrong_use_gets_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["profile", *arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_broken_configs_beside_a_run_do_not_hinder_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clear(tmp_path, "trainer")
    (tmp_path / "configs" / "rl.json").write_text('{"orchestrator": [1, {"eval": 3}]')
    (tmp_path / "configs" / "orchestrator.json").write_bytes(b"\xff\xfe")
    assert run_json(capsys, str(tmp_path))["verdict"] == "trainer"
    assert main(["profile", str(tmp_path), "--config", str(tmp_path / "gone.toml")]) == 2


def test_configs_of_a_run_tell_its_limits(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    config = {
        "deployment": {"type": "multi_node", "num_train_nodes": 2, "num_infer_nodes": 1},
        "orchestrator": {
            "concurrency": {"max_inflight": 64},
            "eval": {
                "interval": 10,
                "source": [{"num_examples": 50, "group_size": 2}, {"num_examples": 20}],
            },
        },
    }
    (tmp_path / "configs" / "rl.json").write_text(json.dumps(config))
    context = find_context(str(tmp_path))
    assert (context.train_gpus, context.infer_gpus) == (16, 8)
    assert context.max_inflight == 64
    assert context.eval_episodes_per_step == 12
    by_file = find_context(str(tmp_path), str(CONFIG))
    assert (by_file.train_gpus, by_file.max_inflight, by_file.batch_size) == (2, 1024, 256)


def test_every_stage_has_remedies() -> None:
    from pytest_prime_train.profiler.gains import STAGES

    assert sorted(remedies._BY_STAGE) == sorted(STAGES)


def test_a_live_run_gets_a_line_and_a_warning(tmp_path: Path) -> None:
    live = LiveProfile(tmp_path / "run", gpus=8, usd_per_gpu_hour=2.0)
    assert not live.poll(now=True)
    assert live.line() == live.warning() == ""
    write_clear(tmp_path / "run", "inference-cap")
    assert live.poll(now=True)
    assert live.line().startswith("profile: inference-cap, ")
    assert "GPUs stand still about 40 %" in live.warning()
    assert "orchestrator.concurrency.max_inflight = 72" in live.warning()
    diagnosis = live.diagnosis()
    assert diagnosis is not None
    assert diagnosis.idle.usd is not None
    began = time.process_time()
    for _ in range(50):
        live.poll()
    assert time.process_time() - began < 0.1


def test_profiling_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pytest_prime_train.profiler.live import LiveProfile; "
        "print([name for name in ('wandb', 'typer', 'pytest', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_metrics_already_read_can_be_profiled(tmp_path: Path) -> None:
    from pytest_prime_train.metrics import read_run

    write_clear(tmp_path, "trainer")
    found = profile_of(read_run(tmp_path), find_context(str(tmp_path)))
    assert found.diagnosis.verdict == "trainer"
