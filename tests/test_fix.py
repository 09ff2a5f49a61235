"""Fixes: what is written, what is left alone and told, and that nothing is lost on the way."""

from __future__ import annotations

import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from conftest import ROOT
from faces import GOOD, MISSPELT, Run, runner
from pytest_prime_train.checker import Checker, Options
from pytest_prime_train.config.document import Document
from pytest_prime_train.declarations import all_declarations
from pytest_prime_train.facts.fixture import read_fixture
from pytest_prime_train.findings import Problem
from pytest_prime_train.fixing.changes import Change, said_in
from pytest_prime_train.fixing.engine import Fixed, fix
from pytest_prime_train.gotchas import all_gotchas
from pytest_prime_train.gotchas.registry import find

FIXTURES = ROOT / "gotcha_fixtures"
HOOK = Path(sys.executable).parent / "prime-rl-check"
# vLLM knows no tp, and takes it without a word.
SAFE = """\
# An rl run.
max_steps = 100  # short

[ckpt]
interval = 10
keep_last = 2

[deployment]
num_infer_gpus = 2

[trainer]

[orchestrator]
batch_size = 128

[inference.vllm]
max_model_len = 4096  # enough
tp = 2                # both cards
"""
FIXED = SAFE.replace("tp = 2 ", "tensor_parallel_size = 2 ")
OLD = """\
max_steps = 100  # short

[wandb]  # see the board
project = "p"
name = "n"

[trainer]

[orchestrator]
batch_size = 128
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(tmp_path, monkeypatch, capsys)


def fixed(text: str, *, unsafe: bool = False, path: str = "rl.toml") -> Fixed:
    return fix(Checker(), Document(path, text.encode()), unsafe=unsafe)


def test_a_safe_fix_is_written_and_the_rest_stays(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "rl.toml"
    file.write_text(SAFE, encoding="utf-8")
    done = run("validate", "rl.toml", "--fix")
    assert file.read_text(encoding="utf-8") == FIXED
    assert done.code == 0
    assert (
        "fixed: rl.toml:18:1: vllm-old-parallel-key: Rename inference.vllm.tp to "
        "inference.vllm.tensor_parallel_size.\n"
    ) in done.out
    assert "error" not in done.out


def test_fixing_again_changes_nothing(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "rl.toml"
    file.write_text(SAFE, encoding="utf-8")
    run("validate", "rl.toml", "--fix")
    before = file.stat()
    assert run("validate", "rl.toml", "--fix").code == 0
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_line_ends_and_permissions_stay(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "rl.toml"
    file.write_bytes(SAFE.replace("\n", "\r\n").encode())
    file.chmod(0o640)
    run("validate", "rl.toml", "--fix")
    assert file.read_bytes() == FIXED.replace("\n", "\r\n").encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_an_unsafe_fix_is_made_only_when_it_is_asked_for(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "sft.toml"
    file.write_text(MISSPELT, encoding="utf-8")
    done = run("validate", "sft.toml", "--fix")
    assert (done.code, file.read_text(encoding="utf-8")) == (1, MISSPELT)
    assert "1 finding more with --unsafe-fixes" in done.out
    done = run("validate", "sft.toml", "--fix", "--unsafe-fixes")
    assert (done.code, file.read_text(encoding="utf-8")) == (0, GOOD)


def test_a_diff_writes_nothing(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "rl.toml"
    file.write_text(SAFE, encoding="utf-8")
    done = run("validate", "rl.toml", "--diff")
    assert (done.code, file.read_text(encoding="utf-8")) == (1, SAFE)
    lines = done.out.split("\n")
    assert lines[:2] == ["--- a/rl.toml", "+++ b/rl.toml"]
    assert [line for line in lines[2:] if line[:1] in ("-", "+")] == [
        "-tp = 2                # both cards",
        "+tensor_parallel_size = 2                # both cards",
    ]
    assert "1 finding can be fixed in 1 file" in done.err
    file.write_text(FIXED, encoding="utf-8")
    done = run("validate", "rl.toml", "--diff")
    assert (done.code, done.out) == (0, "")


def test_the_diff_is_one_that_git_applies(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "rl.toml"
    file.write_text(SAFE.removesuffix("\n"), encoding="utf-8")
    diff = run("validate", "rl.toml", "--diff").out
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "-"], input=diff, cwd=tmp_path, text=True, check=True)
    assert file.read_text(encoding="utf-8") == FIXED.removesuffix("\n")


def test_old_keys_go_the_way_of_migration(tmp_path: Path, run: Run) -> None:
    for name in ("fixed.toml", "migrated.toml"):
        (tmp_path / name).write_text(OLD, encoding="utf-8")
    done = run("validate", "fixed.toml", "--fix", "--select=schema")
    assert done.code == 0
    run("migrate", "migrated.toml")
    text = (tmp_path / "fixed.toml").read_text(encoding="utf-8")
    assert text == (tmp_path / "migrated.toml").read_text(encoding="utf-8")
    assert "[monitors.wandb]  # see the board" in text


def test_old_keys_that_need_a_person_are_left_to_one() -> None:
    text = "[trainer]\n[orchestrator.advantage]\ntype = 'custom'\nimport_path = 'a.b'\n"
    result = fixed(text)
    assert result.after == text
    reasons = {one.finding.id: one.reason for one in result.refused}
    assert "outdated-key" in reasons


def test_a_fix_that_would_make_another_error_is_not_made(tmp_path: Path, run: Run) -> None:
    """One GPU for inference cannot be shared out by two."""
    text = SAFE.replace("[deployment]\nnum_infer_gpus = 2\n\n", "")
    (tmp_path / "rl.toml").write_text(text, encoding="utf-8")
    done = run("validate", "rl.toml", "--fix")
    assert (done.code, (tmp_path / "rl.toml").read_text(encoding="utf-8")) == (1, text)
    assert "not fixed: rl.toml:15:1: vllm-old-parallel-key: the fix would make another" in done.out
    assert "rule-rl-infer-tp-divides" in done.out


def test_a_fix_does_not_overwrite_another_key() -> None:
    text = SAFE + "tensor_parallel_size = 1\n"
    result = fixed(text)
    assert result.after == text
    (refused,) = [one for one in result.refused if one.finding.id == "vllm-old-parallel-key"]
    assert refused.reason == "inference.vllm.tensor_parallel_size is set already"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("max_steps = 100  # prime: ignore[wrong-type] why\n", "max_steps = 100\n"),
        ("# prime: ignore[wrong-type] why\nmax_steps = 100\n", "max_steps = 100\n"),
        ("# A run.\n# prime: ignore[wrong-type] why\na = 1\n", "# A run.\na = 1\n"),
        ("max_steps = 100  # ten  # prime: ignore[wrong-type] why\n", "max_steps = 100  # ten\n"),
        ("a = 1 # prime: ignore[wrong-type, out-of-range] why\n", "a = 1\n"),
        (
            "max_stepz = 1 # prime: ignore[unknown-key , wrong-type] why\n",
            "max_stepz = 1 # prime: ignore[unknown-key] why\n",
        ),
        (
            "max_stepz = 1 # prime: ignore[wrong-type, unknown-key] why\r\n",
            "max_stepz = 1 # prime: ignore[unknown-key] why\r\n",
        ),
        ("max_steps = 100  # prime: ignore[wrong-type] why\r\n", "max_steps = 100\r\n"),
        ("max_steps = 100  # prime: ignore[wrong-type] why", "max_steps = 100"),
    ],
)
def test_comments_that_suppress_nothing_are_taken_out(before: str, after: str) -> None:
    checker = Checker(Options(root="sft", select=("schema", "suppression")))
    result = fix(checker, Document("sft.toml", before.encode()))
    assert result.after == after
    assert not [one for one in result.report.findings if one.id == "suppression-unused"]


def test_what_is_suppressed_or_ignored_is_not_fixed(tmp_path: Path, run: Run) -> None:
    text = SAFE.replace("# both cards", "# prime: ignore[vllm-old-parallel-key] old server")
    assert fixed(text).after == text
    document = Document("rl.toml", SAFE.encode())
    assert not fix(Checker(Options(ignore=("inference",))), document).changed
    (tmp_path / "rl.toml").write_text(SAFE, encoding="utf-8")
    run("baseline", "write", "rl.toml")
    done = run("validate", "rl.toml", "--fix", "--baseline=prime-train-baseline.json")
    assert (done.code, (tmp_path / "rl.toml").read_text(encoding="utf-8")) == (0, SAFE)


def test_infos_are_fixed_only_where_they_are_shown(tmp_path: Path, run: Run) -> None:
    text = FIXED.replace("max_steps = 100", "max_steps = 200") + '\n[log]\nlevel = "debug"\n'
    (tmp_path / "rl.toml").write_text(text, encoding="utf-8")
    run("validate", "rl.toml", "--fix", "--unsafe-fixes")
    assert 'level = "debug"' in (tmp_path / "rl.toml").read_text(encoding="utf-8")
    run("validate", "rl.toml", "--fix", "--unsafe-fixes", "--show-infos")
    assert 'level = "info"' in (tmp_path / "rl.toml").read_text(encoding="utf-8")


def test_a_composed_config_is_told_of_and_left_alone(tmp_path: Path, run: Run) -> None:
    (tmp_path / "base.toml").write_text(SAFE, encoding="utf-8")
    (tmp_path / "over.toml").write_text("max_steps = 50\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest-prime-train.overlays]\n"over.toml" = ["base.toml"]\n', encoding="utf-8"
    )
    done = run("validate", "over.toml", "--fix")
    assert "it is composed of several files, and fixes are made in one" in done.out
    assert (tmp_path / "base.toml").read_text(encoding="utf-8") == SAFE
    assert run("validate", "--fix", "--", "@", "base.toml").code == 2


def test_a_link_is_not_written_through(tmp_path: Path, run: Run) -> None:
    (tmp_path / "real.toml").write_text(SAFE, encoding="utf-8")
    (tmp_path / "rl.toml").symlink_to("real.toml")
    done = run("validate", "rl.toml", "--fix")
    assert done.code == 1
    assert "not written: rl.toml: it is a symbolic link" in done.out
    assert (tmp_path / "real.toml").read_text(encoding="utf-8") == SAFE


@pytest.mark.parametrize(
    "content",
    [b"max_steps = \n", b"\xff\xfe", b"", b"\xef\xbb\xbfmax_steps = 1\n", b"a" * 5_000_000],
)
def test_what_cannot_be_read_is_left_alone(tmp_path: Path, run: Run, content: bytes) -> None:
    (tmp_path / "rl.toml").write_bytes(content)
    done = run("validate", ".", "--fix", "--unsafe-fixes")
    assert "Traceback" not in done.out + done.err
    assert (tmp_path / "rl.toml").read_bytes() == content


def test_json_says_what_can_be_fixed_and_was(tmp_path: Path, run: Run) -> None:
    (tmp_path / "rl.toml").write_text(SAFE, encoding="utf-8")
    (tmp_path / "sft.toml").write_text(MISSPELT, encoding="utf-8")
    found = {
        one["id"]: (one["fixable"], one["fix_safety"])
        for file in run("validate", ".", "--format=json").json["files"]
        for one in file["findings"]
    }
    assert found["vllm-old-parallel-key"] == (True, "safe")
    assert found["unknown-key"] == (True, "unsafe")
    impossible = SAFE.replace("[deployment]\nnum_infer_gpus = 2\n\n", "")
    (tmp_path / "rl.toml").write_text(impossible, encoding="utf-8")
    document = run("validate", "rl.toml", "--format=json").json
    assert [one["fixable"] for one in document["files"][0]["findings"]].count(True) == 0
    (tmp_path / "rl.toml").write_text(SAFE, encoding="utf-8")
    done = run("validate", "rl.toml", "--format=json", "--fix")
    assert {"id": "vllm-old-parallel-key", "line": 18, "key": "inference.vllm.tp"} in (
        done.json["files"][0]["fixed"]
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rl.toml", "--unsafe-fixes"), "add --fix"),
        (("--fix",), "no path given"),
        (("gone.toml", "--fix"), "gone.toml"),
    ],
)
def test_wrong_use_is_one_sentence(
    tmp_path: Path, run: Run, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "rl.toml").write_text(SAFE, encoding="utf-8")
    done = run("validate", *arguments)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1


def test_the_hook_fixes_and_fails_so_that_the_change_is_staged(tmp_path: Path) -> None:
    file = tmp_path / "rl.toml"
    file.write_text(SAFE, encoding="utf-8")

    def hook(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HOOK, *arguments, "rl.toml"], cwd=tmp_path, capture_output=True, text=True
        )

    done = hook("--diff")
    assert (done.returncode, file.read_text(encoding="utf-8")) == (1, SAFE)
    done = hook("--fix")
    assert (done.returncode, file.read_text(encoding="utf-8")) == (1, FIXED)
    assert "1 finding fixed in 1 file" in done.stdout
    done = hook("--fix")
    assert (done.returncode, done.stderr) == (0, "")
    assert hook("--unsafe-fixes").returncode == 2


# What a recommendation says -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("Set a.b = 2.", [Change("set", ("a", "b"), 2)]),
        (
            "Set a.b = 2 and c = 0.5.",
            [Change("set", ("a", "b"), 2), Change("set", ("a", "c"), 0.5)],
        ),
        ('Set a.0.b = "x.y".', [Change("set", ("a", 0, "b"), "x.y")]),
        ('Set a = "this and that".', [Change("set", ("a",), "this and that")]),
        ("Set a = 1 and delete b.c.", [Change("set", ("a",), 1), Change("delete", ("b", "c"))]),
        ("Delete a.b.", [Change("delete", ("a", "b"))]),
        ("Delete [a.b].", [Change("delete", ("a", "b"))]),
        ("Delete a.b and set c.d instead.", [Change("rename", ("a", "b"), None, ("c", "d"))]),
        ("Rename a.b to c.", [Change("rename", ("a", "b"), None, ("a", "c"))]),
        ("Move a.b to c.", [Change("rename", ("a", "b"), None, ("c",))]),
        ("Add [a.b].", [Change("add", ("a", "b"))]),
        ("Add [a] with b = 1.", [Change("add", ("a",)), Change("set", ("a", "b"), 1)]),
    ],
)
def test_an_exact_sentence_is_understood(sentence: str, changes: list[Change]) -> None:
    assert said_in(sentence) == tuple(changes)


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "Set a.b = 2, or delete c.",
        "Set a.b = 2 unless it is meant.",
        "Set a.b, for example a.b = 2.",
        "Set a.b to a folder.",
        "Set a = 1\nb = 2.",
        "Delete a.b if it is not needed.",
        "Delete a.b; it does nothing.",
        "Rename a to b or c.",
        "Correct the place that the message names.",
        "Set a.b = 2",
    ],
)
def test_a_sentence_that_leaves_something_open_is_no_fix(sentence: str) -> None:
    assert said_in(sentence) == ()


# Every fix ----------------------------------------------------------------------------------------

FIXABLE = [gotcha for gotcha in all_gotchas() if gotcha.fix is not None]


def test_there_are_safe_and_unsafe_ones() -> None:
    assert len(FIXABLE) >= 80
    assert 10 <= sum(gotcha.fix_safe for gotcha in FIXABLE) < 30


@pytest.mark.parametrize("gotcha", FIXABLE, ids=lambda gotcha: gotcha.id)
def test_a_fix_cures_a_fixture(gotcha: object) -> None:
    """A fix that cures no bad fixture would be a promise that nobody has seen kept."""
    id = gotcha.id  # type: ignore[attr-defined]
    cured = 0
    for path in sorted((FIXTURES / id).glob("bad*.toml")):
        document = Document(str(path), path.read_bytes())
        checker = Checker(read_fixture(str(path.parent)).options(Options(select=(id, "schema"))))
        before = checker.check_document(document)
        result = fix(checker, document, unsafe=True)
        cured += sum(one.id == id for one in result.cured)
        had = {one.id for one in before.findings if one.severity == "error"}
        has = {one.id for one in result.report.findings if one.severity == "error"}
        assert has <= had
        assert tomllib.loads(result.after) is not None
        again = fix(checker, Document(str(path), result.after.encode()), unsafe=True)
        assert not again.changed
    assert cured > 0


def test_pages_and_declarations_tell_of_fixes() -> None:
    fixes = {declared.id: declared.fixable for declared in all_declarations()}
    assert fixes["vllm-old-parallel-key"] == "safe"
    assert fixes["ckpt-keep-last-missing"] == "unsafe"
    assert fixes["outdated-key"] == "safe"
    assert fixes["unknown-key"] == "unsafe"
    assert fixes["toml-syntax"] == ""
    page = (ROOT / "docs" / "findings" / "ckpt-keep-last-missing.md").read_text(encoding="utf-8")
    assert "`--fix --unsafe-fixes`" in page


def test_a_fix_of_its_own_is_asked_with_the_config() -> None:
    """A gotcha whose cure needs more than its sentence has a function."""
    gotcha = find("log-level-debug")
    assert gotcha is not None
    assert gotcha.fix is not None
    problem = Problem(("log", "level"), "", 'Set log.level = "info".')
    document = Document("rl.toml", SAFE.encode())
    from pytest_prime_train.config.resolve import resolve

    config = resolve(document.data, "rl", "main-2026-08-21")
    assert gotcha.fix(config, problem) == (Change("set", ("log", "level"), "info"),)
