"""Presets: one for each card, checked against the estimator and the schema, found by findings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_prime_train.checker import check_file, load_config
from pytest_prime_train.cost.found import Terms
from pytest_prime_train.cost.needs import Needs
from pytest_prime_train.memory.gpus import all_gpus
from pytest_prime_train.presets.facts import all_presets, excluded, nearest, presets_of
from pytest_prime_train.presets.suggest import suggestion
from pytest_prime_train.presets.text import Wishes, config_text

ROOT = Path(__file__).resolve().parent.parent
PRIME_TRAIN = Path(sys.executable).with_name("prime-train")


def wishes_of(name: str) -> Wishes:
    preset = all_presets()[name]
    return Wishes(
        root=preset.root,
        model=preset.model,
        task="gsm8k" if preset.root == "rl" else "somebody/texts",
        train_gpus=preset.train_gpus,
        infer_gpus=preset.infer_gpus,
        seq_len=preset.seq_len,
        lora_rank=preset.lora_rank,
        settings=preset.settings,
    )


def test_each_known_card_has_a_preset_or_a_reason() -> None:
    assert len(all_gpus()) == 41
    for card in all_gpus().values():
        presets = presets_of(card.id)
        if card.cuda and card.bf16:
            assert card.id not in excluded()
            assert {one.root for one in presets} >= {"sft"}
            # Only a machine with one card leaves nothing for vLLM.
            if max(card.gpus_per_node) > 1:
                assert {one.root for one in presets} == {"rl", "sft"}
        else:
            assert presets == []
            assert card.id in excluded()[card.id].reason
    assert len(excluded()) == 7


@pytest.mark.parametrize("name", [*all_presets()])
def test_a_preset_fits_its_card_and_has_no_finding(name: str, tmp_path: Path) -> None:
    preset, path = all_presets()[name], tmp_path / f"{all_presets()[name].root}.toml"
    path.write_text(config_text(wishes_of(name)))
    loud = [one for one in check_file(str(path)).findings if one.severity != "info"]
    assert loud == []
    need = Needs(load_config(str(path)), Terms(), tmp_path).of(preset.gpu)
    assert need.verdict == "fits"
    assert need.gpus == preset.gpus == preset.train_gpus + preset.infer_gpus
    assert preset.evidence == "estimated" or preset.evidence.startswith("measured: ")


def test_evidence_is_a_published_measurement_of_the_same_card(shared: Path) -> None:
    facts = json.loads((shared / "prime-rl" / "benchmarks_visible.json").read_text())
    measured = [one for one in all_presets().values() if one.evidence != "estimated"]
    assert {one.gpu for one in measured} == {
        "H100-80GB-SXM",
        "H200-141GB-SXM",
        "B200-180GB-SXM",
        "A6000-48GB",
    }
    for preset in measured:
        assert any(
            point["success"]
            and preset.gpu.startswith(point["gpu"])
            and point["model"] == preset.model
            and point["kind"] == preset.root
            and point["lora_rank"] == preset.lora_rank
            and point["seq_len"] >= preset.seq_len
            and point["num_gpus"] <= preset.train_gpus
            and point["measured"] in preset.evidence
            and f"{point['peak_memory_gib']:.1f} GiB" in preset.evidence
            for point in facts["points"]
        ), preset.name


def test_the_bundled_presets_are_up_to_date(shared: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/build_presets.py"), "--check", "--shared"]
    # Of all cards it takes several seconds; these have measurements, or few presets.
    cards = ("B200-180GB-SXM", "H200-141GB-SXM", "A6000-48GB", "L4-24GB", "T4-16GB")
    named = [f"--card={card}" for card in cards]
    assert subprocess.run([*command, str(shared), *named], check=False).returncode == 0


def test_the_collected_shapes_of_one_machine_have_theirs() -> None:
    text = (ROOT / "pytest_prime_train" / "cost" / "data" / "presets.json").read_text()
    for shape in json.loads(text)["shapes"]:
        if shape["nodes"] > 1:
            continue
        roots = ("rl", "sft") if shape["gpus_per_node"] > 1 else ("sft",)
        for root in roots:
            preset = all_presets()[f"{shape['name']}-{root}"]
            assert (preset.gpu, preset.gpus) == (shape["gpu"], shape["gpus_per_node"])


def test_the_nearest_preset_needs_no_more_cards_than_there_are() -> None:
    assert nearest("RTX4090-24GB", "rl", 8) == all_presets()["8x4090-rl"]
    assert nearest("RTX4090-24GB", "rl", 7) == all_presets()["4xrtx4090-24gb-rl"]
    assert nearest("RTX4090-24GB", "rl", 1) is None
    assert nearest("T4-16GB", "rl") is None


def test_a_suggestion_says_what_it_rests_on() -> None:
    said = suggestion("RTX4090-24GB", "rl", 8)
    assert "preset 8x4090-rl" in said
    assert "(estimated)" in said
    assert "(measured)" in suggestion("H100-80GB-SXM", "rl", 2)
    assert "no bf16" in suggestion("T4-16GB", "sft", 1)
    assert suggestion("H100-80GB-SXM", "evals", 1) == ""


BIG = """\
max_steps = 100
[ckpt]
interval = 25
keep_last = 2
[run]
name = "big"
[model]
name = "Qwen/Qwen3-14B"
[data]
name = "somebody/texts"
seq_len = 4096
batch_size = 64
[deployment]
num_train_gpus = 2
"""


def test_what_does_not_fit_points_at_the_preset_of_the_card(
    pytester: pytest.Pytester, quick_runs: None
) -> None:
    (pytester.path / "big_sft.toml").write_text(BIG)
    result = pytester.runpytest_inprocess("big_sft.toml", "--prime-gpu=RTX4090-24GB")
    result.stdout.fnmatch_lines(
        ["*error memory-trainer: *", "*preset 2x4090-sft, *prime-train init --preset 2x4090-sft.*"]
    )
    result = pytester.runpytest_inprocess("big_sft.toml", "--prime-gpu=B300-288GB-SXM")
    result.stdout.no_fnmatch_line("*--preset*")
    for gpu, code, there in (("RTX4090-24GB", 1, True), ("B300-288GB", 0, False)):
        command = [str(PRIME_TRAIN), "memory", "big_sft.toml", f"--gpu={gpu}"]
        done = subprocess.run(
            command, cwd=pytester.path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (code, "")
        assert ("prime-train init --preset 2x4090-sft." in done.stdout) is there
