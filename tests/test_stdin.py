"""Checking what comes on standard input, as editors do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from faces import GOOD, MISSPELT, Run, runner

PRIME_TRAIN = Path(sys.executable).parent / "prime-train"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(tmp_path, monkeypatch, capsys)


def test_the_name_is_that_of_the_findings(run: Run) -> None:
    done = run("validate", "-", "--stdin-filename=configs/sft.toml", stdin=MISSPELT.encode())
    assert done.code == 1
    assert done.out.startswith("configs/sft.toml:")
    assert run("validate", "-", stdin=MISSPELT.encode()).out.startswith("<stdin>:")
    assert run("validate", "-", stdin=GOOD.encode()).code == 0


def test_the_name_decides_which_settings_hold(tmp_path: Path, run: Run) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest-prime-train.roots]\n"notes/*" = "none"\n'
        '[tool.pytest-prime-train.per-file-ignores]\n"old/*" = ["unknown-key"]\n',
        encoding="utf-8",
    )
    for name, code in (("notes/a.toml", 0), ("old/a.toml", 0), ("a.toml", 1), ("Cargo.toml", 0)):
        done = run("validate", "-", f"--stdin-filename={name}", stdin=MISSPELT.encode())
        assert done.code == code, name


def test_a_file_of_that_name_is_not_read(tmp_path: Path, run: Run) -> None:
    (tmp_path / "sft.toml").write_text(GOOD, encoding="utf-8")
    assert run("validate", "-", "--stdin-filename=sft.toml", stdin=MISSPELT.encode()).code == 1


def test_with_fix_the_result_is_printed(tmp_path: Path, run: Run) -> None:
    (tmp_path / "sft.toml").write_text(MISSPELT, encoding="utf-8")
    arguments = ("validate", "-", "--stdin-filename=sft.toml", "--fix", "--unsafe-fixes")
    done = subprocess.run(
        [PRIME_TRAIN, *arguments], cwd=tmp_path, input=MISSPELT.encode(), capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, GOOD.encode())
    assert b"1 finding fixed in 1 file" in done.stderr
    assert (tmp_path / "sft.toml").read_text(encoding="utf-8") == MISSPELT


@pytest.mark.parametrize("content", [b"max_steps = \n", b"\xff\xfe\x00", b"", b"\r\n"])
def test_with_fix_nothing_is_lost(tmp_path: Path, content: bytes) -> None:
    done = subprocess.run(
        [PRIME_TRAIN, "validate", "-", "--fix"], cwd=tmp_path, input=content, capture_output=True
    )
    assert done.stdout == content
    assert b"Traceback" not in done.stderr


def test_with_diff_the_change_is_printed(run: Run) -> None:
    done = run(
        "validate", "-", "--stdin-filename=a.toml", "--diff", "--unsafe-fixes",
        stdin=MISSPELT.encode(),
    )  # fmt: skip
    assert done.code == 1
    assert done.out.startswith("--- a/a.toml\n+++ b/a.toml\n")


def test_every_format_takes_it(run: Run) -> None:
    for form in ("json", "sarif", "github", "junit", "concise"):
        done = run("validate", "-", f"--format={form}", stdin=MISSPELT.encode())
        assert done.code == 1
        assert "unknown-key" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-", "a.toml"), "comes alone"),
        (("a.toml", "--stdin-filename=b.toml"), "the path is -"),
        (("--stdin-filename=b.toml",), "no path given"),
    ],
)
def test_wrong_use_is_one_sentence(
    tmp_path: Path, run: Run, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "a.toml").write_text(GOOD, encoding="utf-8")
    done = run("validate", *arguments)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1


def test_what_is_too_large_is_refused(run: Run) -> None:
    done = run("validate", "-", stdin=b"#" * 5_000_000)
    assert done.code == 2
    assert "larger than 4 MiB" in done.err
