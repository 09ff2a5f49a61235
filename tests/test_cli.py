"""The command line as a user meets it: a real process with its output and exit code."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import ROOT
from pytest_prime_train import __version__
from pytest_prime_train.cli import main
from pytest_prime_train.declarations import all_declarations

PRIME_TRAIN = Path(sys.executable).parent / "prime-train"
GOOD = (ROOT / "examples" / "sft.toml").read_text(encoding="utf-8")
BAD = GOOD.replace("max_steps", "max_stepz")
BAD_LINE = BAD.split("\n").index("max_stepz = 400") + 1
UNCHECKPOINTED = GOOD.replace("[ckpt]\ninterval = 50\nkeep_last = 2\n", "")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the command runs: a good and a bad config, and a file of another tool."""
    (tmp_path / "good.toml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.toml").write_text(BAD, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    def start(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PRIME_TRAIN, *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )

    return start


def test_a_good_config_has_a_summary_only(run: Run) -> None:
    done = run("validate", "good.toml")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "1 prime-rl config: no findings\n",
        "",
    )


def test_a_bad_config_is_explained(run: Run) -> None:
    done = run("validate", "bad.toml")
    assert done.returncode == 1
    lines = done.stdout.split("\n")
    assert lines[0].startswith(f"bad.toml:{BAD_LINE}:1: error unknown-key: ")
    assert lines[2:4] == [
        f"{BAD_LINE} | max_stepz = 400",
        f"{' ' * len(str(BAD_LINE))} | ^^^^^^^^^",
    ]
    assert any(line.startswith("  fix: ") and "max_steps" in line for line in lines)
    assert lines[-3].startswith("1 prime-rl config: 1 error")
    assert lines[-2] == "fixable: 1 with --fix --unsafe-fixes"


def test_a_folder_is_searched(run: Run) -> None:
    done = run("validate", ".", "--format=concise")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert f"bad.toml:{BAD_LINE}:1: error unknown-key: " in line


def test_the_shipped_examples(run: Run) -> None:
    examples = ROOT / "examples"
    done = run("validate", *sorted(examples.glob("*.toml")), "--fail-on=warning")
    assert done.returncode == 0
    assert done.stdout.startswith("2 prime-rl configs: no findings")
    done = run("validate", examples / "bad", "--format=json", "--ignore=info")
    assert done.returncode == 1
    refused, unsaved = json.loads(done.stdout)["files"]
    assert [found["id"] for found in refused["findings"]] == ["unknown-key", "wrong-type"]
    assert [found["id"] for found in unsaved["findings"]] == ["ckpt-disabled"]


def test_the_readme_shows_what_is_printed() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("```console\n$ prime-train ")[2].partition("```")[0]
    command, _, expected = shown.partition("\n")
    done = subprocess.run(
        [PRIME_TRAIN, *command.split()], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stdout) == (1, expected)


def test_json_is_one_document_and_nothing_else(run: Run) -> None:
    done = run("validate", "good.toml", "bad.toml", "--format", "json")
    assert done.returncode == 1
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert [file["path"] for file in document["files"]] == ["bad.toml", "good.toml"]
    assert [file["root"] for file in document["files"]] == ["sft", "sft"]
    assert document["files"][0]["findings"][0]["key"] == "max_stepz"
    assert document["summary"]["errors"] == 1


def test_warnings_fail_only_if_asked_to(run: Run, folder: Path) -> None:
    (folder / "good.toml").write_text(UNCHECKPOINTED, encoding="utf-8")
    done = run("validate", "good.toml")
    assert done.returncode == 0
    assert "warning ckpt-disabled" in done.stdout
    assert run("validate", "good.toml", "--fail-on=warning").returncode == 1
    assert run("validate", "good.toml", "--fail-on=info").returncode == 1


def test_select_and_ignore_take_ids_categories_and_severities(run: Run, folder: Path) -> None:
    (folder / "good.toml").write_text(UNCHECKPOINTED, encoding="utf-8")

    def found(*arguments: str) -> set[str]:
        output = run("validate", "bad.toml", "good.toml", "--format=json", *arguments).stdout
        files = json.loads(output)["files"]
        return {finding["id"] for file in files for finding in file["findings"]}

    assert found() == {"unknown-key", "ckpt-disabled"}
    assert found("--select=unknown-key") == {"unknown-key"}
    assert found("--select=schema") == {"unknown-key"}
    assert found("--select=error") == {"unknown-key"}
    assert found("--select=unknown-key,ckpt-disabled") == {"unknown-key", "ckpt-disabled"}
    assert found("--select=unknown-key", "--select=ckpt-disabled") == {
        "unknown-key",
        "ckpt-disabled",
    }
    assert "ckpt-disabled" not in found("--ignore=ckpt-disabled")
    assert "ckpt-disabled" not in found("--ignore=checkpointing")
    assert found("--select=schema", "--ignore=unknown-key") == set()


def test_a_pinned_root_judges_otherwise(run: Run) -> None:
    assert run("validate", "good.toml", "--root=sft").returncode == 0
    assert run("validate", "good.toml", "--root=inference").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no command given (try prime-train --help)"),
        (["check"], "No such command 'check' (try prime-train --help)"),
        (["validate"], "no path given"),
        (["validate", "--format=xml", "good.toml"], "xml"),
        (["validate", "--fail-on=fatal", "good.toml"], "fatal"),
        (["validate", "--colour", "good.toml"], "--colour"),
        (["validate", "gone.toml"], "gone.toml"),
        (["validate", "good.toml", "--root=lr"], "'lr'"),
        (["validate", "good.toml", "--prime-rl-version=9.9.9"], "9.9.9"),
        (["validate", "good.toml", "--ignore=unknown-keys"], "did you mean 'unknown-key'?"),
        (["explain"], "Missing argument"),
        (["explain", "unknown-keys"], "did you mean 'unknown-key'?"),
        (["explain", "zzz"], "no finding is called 'zzz'"),
    ],
)
def test_wrong_use_is_one_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("prime-train: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout == f"prime-train {__version__}\n"
    for arguments in (["--help"], ["validate", "--help"], ["explain", "--help"]):
        done = run(*arguments)
        assert done.returncode == 0
        assert "Usage: prime-train" in done.stdout


@pytest.mark.parametrize("declared", all_declarations(), ids=lambda declared: declared.id)
def test_every_finding_can_be_explained(
    declared: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    id = declared[0]
    assert main(["explain", id]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"# {id}\n")
    assert "## Why it costs you\n\n" in page
    assert "## What to write instead\n\n" in page
    assert "```" not in page


def test_colors_are_for_terminals(folder: Path) -> None:
    def shown(**environment: str) -> str:
        parent, child = pty.openpty()
        done = subprocess.Popen(
            [PRIME_TRAIN, "validate", "bad.toml"],
            cwd=folder,
            env={**os.environ, "TERM": "xterm", **environment},
            stdout=child,
        )
        os.close(child)
        output = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            output += part
        os.close(parent)
        assert done.wait() == 1
        return output.decode()

    assert "\x1b[1;31merror\x1b[0m" in shown(NO_COLOR="")
    assert "\x1b" not in shown(NO_COLOR="1")
    assert "\x1b" not in shown(TERM="dumb")


def test_a_reader_that_goes_away_changes_nothing(folder: Path) -> None:
    process = subprocess.Popen(
        [PRIME_TRAIN, "validate", "bad.toml"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_ctrl_c_ends_without_a_traceback(folder: Path) -> None:
    names = [f"{number:03}.toml" for number in range(300)]
    for name in names:
        (folder / name).write_text(BAD, encoding="utf-8")
    process = subprocess.Popen(
        [PRIME_TRAIN, "validate", *names],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        # A shell starts what it puts into the background with interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    # After its first byte the command waits for room: it has more to say than a pipe holds.
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == b""
