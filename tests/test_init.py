"""``prime-train init`` as users meet it: by options, without a terminal, and by answers."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys
import time
import tomllib
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_prime_train.checker import Options, check_file, load_config
from pytest_prime_train.cli import main
from pytest_prime_train.cost.found import Terms
from pytest_prime_train.cost.needs import Needs

PRIME_TRAIN = Path(sys.executable).with_name("prime-train")


class Said(NamedTuple):
    """What a command wrote."""

    stdout: str
    stderr: str


def init(folder: Path, *arguments: str, code: int = 0) -> Said:
    """Call the command where there is no terminal, as pytest runs its tests."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        given = main(["init", *arguments])
    said = Said(out.getvalue(), err.getvalue())
    assert given == code, said.stderr
    assert "Traceback" not in said.stderr
    return said


def document(folder: Path, *arguments: str) -> dict[str, Any]:
    done = init(folder, *arguments, "--format=json")
    assert done.stderr == ""
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@pytest.mark.parametrize("root", ["rl", "sft"])
@pytest.mark.parametrize(
    ("gpu", "gpus", "model", "more"),
    [
        ("H100-80GB", "8", "Qwen/Qwen3-8B", []),
        ("H100-80GB", "2", "Qwen/Qwen3-8B", []),
        ("RTX4090-24GB", "4", "Qwen/Qwen3-4B-Instruct-2507", []),
        ("A100-80GB-PCIe", "3", "Qwen/Qwen3-1.7B", ["--steps=3"]),
        ("L40S-48GB", "5", "Qwen/Qwen3-0.6B", ["--seq-len=1000", "--lora"]),
        ("B300-288GB", "7", "Qwen/Qwen3-30B-A3B-Instruct-2507", ["--steps=20000"]),
    ],
)
def test_what_is_written_fits_and_has_no_finding(
    tmp_path: Path, root: str, gpu: str, gpus: str, model: str, more: list[str]
) -> None:
    task = ["--env=gsm8k"] if root == "rl" else ["--data=somebody/texts"]
    answer = document(
        tmp_path,
        "configs/made.toml",
        *(f"--root={root}", f"--gpu={gpu}", f"--num-gpus={gpus}", f"--model={model}"),
        *task,
        *more,
    )
    path = tmp_path / "configs" / "made.toml"
    assert (answer["path"], answer["written"]) == ("configs/made.toml", True)
    assert [one for one in check_file(str(path)).findings if one.severity != "info"] == []
    config = load_config(str(path))
    assert config.root == root
    need = Needs(config, Terms(), tmp_path).of(answer["gpu"])
    assert (need.verdict, need.gpus) == (answer["verdict"], int(gpus)) == ("fits", int(gpus))
    data = tomllib.loads(path.read_text())
    assert data["model"]["name"] == answer["model"] == model
    assert data["ckpt"]["keep_last"] >= 2
    assert 0 < data["ckpt"]["interval"] <= data["max_steps"]
    assert data["run"]["name"] == answer["run_name"]
    comments = [line for line in path.read_text().splitlines() if line.startswith("# ")]
    assert len(comments) >= 8


def test_nothing_has_to_be_answered(tmp_path: Path) -> None:
    for arguments in ([], ["--root=sft"], ["a.toml", "--yes"]):
        init(tmp_path, *arguments)
    assert {path.name for path in tmp_path.iterdir()} == {"rl.toml", "sft.toml", "a.toml"}
    # Nobody is there to answer, so a pipe is not read.
    command = [str(PRIME_TRAIN), "init", "b.toml"]
    done = subprocess.run(
        command, cwd=tmp_path, input="sft\n", capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.startswith("wrote b.toml: ")
    assert "\n[trainer.optim]\n" in (tmp_path / "b.toml").read_text()


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "rl.toml").write_text("mine")
    (tmp_path / "link.toml").symlink_to("nowhere.toml")
    for arguments in (["rl.toml"], [], ["--yes"], ["link.toml"]):
        done = init(tmp_path, *arguments, code=2)
        assert "there is such a file already; it is left as it is" in done.stderr
        assert done.stdout == ""
    assert (tmp_path / "rl.toml").read_text() == "mine"
    assert not (tmp_path / "nowhere.toml").exists()


def test_a_preset_is_taken_as_it_is(tmp_path: Path) -> None:
    answer = document(tmp_path, "--preset=2xh100-80gb-sxm-rl")
    assert answer["preset"] == "2xh100-80gb-sxm-rl"
    assert answer["evidence"].startswith("measured: ")
    assert (answer["gpu"], answer["gpus"], answer["lora_rank"]) == ("H100-80GB-SXM", 2, 16)
    text = (tmp_path / "rl.toml").read_text()
    assert "preset 2xh100-80gb-sxm-rl" in text
    assert "measured: " in text


@pytest.mark.parametrize("root", ["rl", "sft"])
def test_of_an_unknown_model_nothing_is_promised(tmp_path: Path, root: str) -> None:
    machine = [f"--root={root}", "--model=me/unheard-of", "--gpu=A6000-48GB"]
    if root == "sft":  # which has to know the tokens to train on
        assert "--renderer: " in init(tmp_path, *machine, code=2).stderr
        machine += ["--renderer=qwen3"]
    answer = document(tmp_path, *machine)
    assert answer["verdict"] == "unknown"
    assert "me/unheard-of" in answer["notes"][0]
    found = check_file(str(tmp_path / f"{root}.toml")).findings
    assert [one for one in found if one.severity == "error"] == []


def test_an_adapter_is_trained_where_all_weights_do_not_fit(tmp_path: Path) -> None:
    machine = ("--root=sft", "--gpu=RTX4090-24GB", "--num-gpus=1", "--model=Qwen/Qwen3-1.7B")
    answer = document(tmp_path, *machine)
    assert answer["lora_rank"] == 16
    assert answer["notes"] == ["an adapter is trained, as not all weights would fit"]
    done = init(tmp_path, "b.toml", *machine, "--no-lora", code=1)
    assert "with all its weights trained" in done.stderr
    assert not (tmp_path / "b.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--root=eval"], 2, "neither rl nor sft"),
        (["--gpu=H1000"], 2, "no GPU is known as 'H1000'"),
        (["--gpu=T4-16GB"], 2, "prime-rl cannot train there: T4-16GB has no bf16"),
        (["--gpu=MI300X-192GB"], 2, "has no CUDA"),
        (["--num-gpus=1"], 2, "the trainer and vLLM need one each"),
        (["--num-gpus=9"], 2, "not between 2 and 8"),
        (["--preset=8x4090"], 2, "did you mean '8x4090-rl'"),
        (["--preset=8x4090-rl", "--num-gpus=4"], 2, "is for 8 GPUs"),
        (["--preset=8x4090-rl", "--gpu=H100-80GB"], 2, "the preset is for RTX4090-24GB"),
        (["--preset=8x4090-rl", "--root=sft"], 2, "the preset is for rl"),
        (["--preset=8x4090-rl", "--seq-len=512"], 2, "settles --seq-len and --lora itself"),
        (["--model="], 2, "--model: ''"),
        (["--model=a\nb"], 2, "--model: "),
        (["--data=somebody/texts"], 2, "--data is for sft"),
        (["--root=sft", "--env=gsm8k"], 2, "--env is for rl"),
        (["--run-name=../up"], 2, "is no name of a run"),
        (["--steps=0"], 2, "--steps"),
        (["--format=xml"], 2, "--format"),
        (["notes.txt"], 2, "ends in .toml"),
        (["/dev/null/a.toml"], 2, "/dev/null"),
        (
            ["--model=Qwen/Qwen3-32B", "--gpu=L4-24GB", "--num-gpus=2"],
            1,
            "does not fit 2 x L4-24GB even with an adapter; what fits this card: 2xl4-24gb-rl (",
        ),
    ],
)
def test_wrong_answers_are_one_sentence_and_write_nothing(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = init(tmp_path, *arguments, code=code)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_values_are_written_as_they_are(tmp_path: Path) -> None:
    name = 'a"b\\c # é'
    init(tmp_path, f"--env={name}", f"--output-dir={name}")
    data = tomllib.loads((tmp_path / "rl.toml").read_text())
    assert data["output_dir"] == name
    assert data["orchestrator"]["train"]["source"][0]["env"]["taskset"]["id"] == name


def test_a_project_of_an_older_prime_rl_is_told(tmp_path: Path) -> None:
    settings = '[tool.pytest-prime-train]\nprime-rl-version = "v0.4.0"\n'
    (tmp_path / "pyproject.toml").write_text(settings)
    done = init(tmp_path, code=2)
    assert "and this folder is judged by v0.4.0; say --prime-rl-version" in done.stderr
    assert not (tmp_path / "rl.toml").exists()
    init(tmp_path, "--prime-rl-version=main")


@pytest.mark.parametrize("root", ["rl", "sft"])
@pytest.mark.parametrize("more", [[], ["--lora", "--steps=30"], ["--preset=8x4090-{}"]])
def test_a_project_of_the_released_prime_rl_gets_its_keys(
    tmp_path: Path, root: str, more: list[str]
) -> None:
    settings = '[tool.pytest-prime-train]\nprime-rl-version = "v0.8.0"\n'
    (tmp_path / "pyproject.toml").write_text(settings)
    answer = document(tmp_path, f"--root={root}", *(one.format(root) for one in more))
    assert answer["verdict"] == "fits"
    assert [one for one in answer["findings"] if one["severity"] != "info"] == []
    path = str(tmp_path / f"{root}.toml")
    config = load_config(path, Options(version="v0.8.0"))
    need = Needs(config, Terms(), tmp_path).of(answer["gpu"])
    assert (need.verdict, need.gpus) == ("fits", answer["gpus"])
    assert answer["preset"] is None
    assert any("worked out again for v0.8.0" in note for note in answer["notes"]) is (
        "--preset" in "".join(more)
    )


def test_a_project_with_a_budget_is_told_of_the_bill(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest-prime-train]\nbudget = 0.01\n")
    answer = document(tmp_path)
    loud = [one["id"] for one in answer["findings"] if one["severity"] == "error"]
    assert loud == ["cost-budget"]
    assert (tmp_path / "rl.toml").exists()


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc")
    else:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
    done = init(tmp_path, str(folder / "rl.toml"), code=2)
    assert str(folder) in done.stderr


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.own, other = pty.openpty()
        self.process = subprocess.Popen(
            [PRIME_TRAIN, "init", *arguments],
            cwd=folder,
            stdin=other,
            stdout=subprocess.PIPE,
            stderr=other,
            text=True,
            start_new_session=True,
        )
        os.close(other)
        self.seen = ""

    def until(self, words: str) -> None:
        """Read what appears until the words do."""
        ends = time.monotonic() + 30
        while words not in self.seen:
            ready, _, _ = select.select([self.own], [], [], max(ends - time.monotonic(), 0))
            assert ready, f"{words!r} did not come after {self.seen!r}"
            try:
                self.seen += os.read(self.own, 4096).decode()
            except OSError as error:  # the other side has closed
                raise AssertionError(f"{words!r} did not come after {self.seen!r}") from error
        self.seen = self.seen.partition(words)[2]

    def answer(self, words: str, text: str) -> None:
        """Type a line once a question has appeared."""
        self.until(words)
        os.write(self.own, f"{text}\n".encode())

    def end(self) -> tuple[int, str]:
        """The exit code, and what came on standard output."""
        output = self.process.communicate(timeout=30)[0]
        os.close(self.own)
        return self.process.returncode, output


def test_questions_are_asked_on_a_terminal(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--format=json", "--steps=40")
    terminal.answer("rl or sft [rl]: ", "both")
    terminal.until("neither rl nor sft")
    terminal.answer("rl or sft [rl]: ", "")
    terminal.answer("GPU [H100-80GB]: ", "RTX4090-24GB")
    terminal.answer("GPUs in the machine [8]: ", "many")
    terminal.answer("GPUs in the machine [8]: ", "2")
    terminal.answer("Model [Qwen/Qwen3-0.6B]: ", "")
    terminal.answer("Environment [reverse-text]: ", "gsm8k")
    terminal.answer("Name of the run [gsm8k-qwen3-0.6b]: ", "first")
    terminal.answer("File to write [rl.toml]: ", "first.toml")
    code, output = terminal.end()
    assert code == 0
    # Questions are no part of the document.
    answer = json.loads(output)
    assert (answer["path"], answer["run_name"], answer["gpus"]) == ("first.toml", "first", 2)
    data = tomllib.loads((tmp_path / "first.toml").read_text())
    assert data["max_steps"] == 40
    assert check_file(str(tmp_path / "first.toml")).root == "rl"


def test_yes_asks_nothing_on_a_terminal(tmp_path: Path) -> None:
    code, output = Terminal(tmp_path, "--yes").end()
    assert (code, output.splitlines()[0].split(":")[0]) == (0, "wrote rl.toml")


@pytest.mark.parametrize("key", [b"\x03", b"\x04"])
def test_leaving_the_questions_writes_nothing(tmp_path: Path, key: bytes) -> None:
    own, other = pty.openpty()
    # The terminal has to be the process's own for Ctrl-C to reach it.
    start = "import os, sys; os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR));"
    program = f"{start} os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(PRIME_TRAIN), "init"],
        cwd=tmp_path,
        stdin=other,
        stdout=subprocess.DEVNULL,
        stderr=other,
    )
    os.close(other)
    seen = b""
    while b"[rl]: " not in seen:
        assert select.select([own], [], [], 30)[0], seen
        seen += os.read(own, 4096)
    os.write(own, key)
    assert process.wait(30) == 130
    os.close(own)
    assert list(tmp_path.iterdir()) == []
