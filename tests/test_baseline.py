"""A baseline: what is found today passes, what is new blocks, what is gone is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces import GOOD, MISSPELT, Run, runner
from pytest_prime_train.baseline import Baseline, render, shrunk, stable_key
from pytest_prime_train.findings import Finding, Location

FILE = "prime-train-baseline.json"
HOOK = Path(sys.executable).parent / "prime-rl-check"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "configs").mkdir()
    write(tmp_path, bad=MISSPELT, good=GOOD)
    return runner(tmp_path, monkeypatch, capsys)


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / "configs" / f"{name}.toml").write_text(text, encoding="utf-8")


def test_what_is_found_today_passes(tmp_path: Path, run: Run) -> None:
    assert run("validate", "configs").code == 1
    done = run("baseline", "write", "configs")
    assert (done.code, done.out) == (0, f"{FILE} allows 1 finding in 1 file\n")
    assert json.loads((tmp_path / FILE).read_text()) == {
        "version": 1,
        "files": {"configs/bad.toml": {"unknown-key": {"max_stepz": 1}}},
    }
    done = run("validate", "configs", f"--baseline={FILE}")
    assert done.code == 0
    assert "1 allowed by the baseline" in done.out
    assert run("validate", "configs").code == 1, "nobody asked for it"


def test_without_a_verb_it_is_written(tmp_path: Path, run: Run) -> None:
    assert run("baseline", "configs").code == 0
    assert (tmp_path / FILE).exists()


def test_lines_do_not_matter(tmp_path: Path, run: Run) -> None:
    run("baseline", "write", "configs")
    write(tmp_path, bad=f"# Moved down.\n\n\n{MISSPELT}")
    assert run("validate", "configs", f"--baseline={FILE}").code == 0


def test_what_is_new_blocks(tmp_path: Path, run: Run) -> None:
    run("baseline", "write", "configs")
    write(tmp_path, bad=f"another_key = 1\n{MISSPELT}", good=MISSPELT)
    done = run("validate", "configs", "--format=json", f"--baseline={FILE}")
    assert done.code == 1
    keys = [(file["path"], one["key"]) for file in done.json["files"] for one in file["findings"]]
    assert keys == [
        (os.path.join("configs", "bad.toml"), "another_key"),
        (os.path.join("configs", "good.toml"), "max_stepz"),
    ]
    assert done.json["files"][0]["baselined"][0]["key"] == "max_stepz"


def test_what_is_gone_is_told(tmp_path: Path, run: Run) -> None:
    run("baseline", "write", "configs")
    write(tmp_path, bad=GOOD)
    done = run("validate", "configs", f"--baseline={FILE}")
    assert done.code == 0
    assert "warning baseline-stale: the baseline allows unknown-key at max_stepz" in done.out
    assert run("validate", "configs", f"--baseline={FILE}", "--fail-on=warning").code == 1


def test_what_was_not_looked_for_is_not_called_gone(run: Run) -> None:
    run("baseline", "write", "configs")
    for narrowing in ("--select=checkpointing", "--ignore=unknown-key"):
        done = run("validate", "configs", f"--baseline={FILE}", "--format=json", narrowing)
        assert done.ids == []


def test_a_file_that_is_gone_is_told_at_its_line(tmp_path: Path, run: Run) -> None:
    run("baseline", "write", "configs")
    (tmp_path / "configs" / "bad.toml").unlink()
    done = run("validate", "configs", f"--baseline={FILE}", "--format=json")
    (stale,) = [one for file in done.json["files"] for one in file["findings"]]
    assert (stale["id"], stale["path"], stale["line"]) == ("baseline-stale", FILE, 4)
    assert run("validate", "configs/good.toml", f"--baseline={FILE}", "--format=json").ids == []


def test_update_only_shrinks(tmp_path: Path, run: Run) -> None:
    write(tmp_path, other=MISSPELT)
    run("baseline", "write", "configs")
    write(tmp_path, bad=GOOD, good=MISSPELT)
    done = run("baseline", "update", "configs")
    assert done.out == f"1 taken out; {FILE} allows 1 finding in 1 file\n"
    assert list(json.loads((tmp_path / FILE).read_text())["files"]) == ["configs/other.toml"]
    assert run("baseline", "update", "configs", "--add").out.startswith("1 added")
    assert list(json.loads((tmp_path / FILE).read_text())["files"]) == [
        "configs/good.toml",
        "configs/other.toml",
    ]


def test_update_keeps_what_was_not_looked_at(tmp_path: Path, run: Run) -> None:
    run("baseline", "write", "configs")
    before = (tmp_path / FILE).read_bytes()
    run("baseline", "update", "configs/good.toml")
    assert (tmp_path / FILE).read_bytes() == before


def test_update_takes_out_files_that_are_gone(tmp_path: Path, run: Run) -> None:
    run("baseline", "write", "configs")
    (tmp_path / "configs" / "bad.toml").unlink()
    run("baseline", "update", "configs/good.toml")
    assert json.loads((tmp_path / FILE).read_text())["files"] == {}


def test_counts_are_kept(tmp_path: Path, run: Run) -> None:
    """Two elements of an array have the same stable key."""
    source = "\n[[orchestrator.train.source]]\nenv.taskset.id = 'x'\ngroup_sizes = 1\n"
    text = "[trainer]\n[orchestrator]\n"
    write(tmp_path, bad=text + 2 * source)
    run("baseline", "write", "configs")
    allowed = json.loads((tmp_path / FILE).read_text())["files"]["configs/bad.toml"]
    assert allowed["unknown-key"] == {"orchestrator.train.source[].group_sizes": 2}
    write(tmp_path, bad=text + 3 * source)
    found = run("validate", "configs", f"--baseline={FILE}", "--format=json")
    assert found.ids.count("unknown-key") == 1
    write(tmp_path, bad=text + source)
    found = run("validate", "configs", f"--baseline={FILE}", "--format=json")
    assert found.ids.count("unknown-key") == 0
    assert found.ids.count("baseline-stale") == 1


def test_show_prints_what_is_allowed(run: Run) -> None:
    run("baseline", "write", "configs")
    assert run("baseline", "show").out == (
        f"configs/bad.toml: unknown-key at max_stepz\n{FILE} allows 1 finding in 1 file\n"
    )


def test_the_same_findings_make_the_same_file(tmp_path: Path, run: Run) -> None:
    write(tmp_path, a=MISSPELT, z=MISSPELT.replace("[ckpt]", "[chkpt]"))
    run("baseline", "write", "configs")
    first = (tmp_path / FILE).read_bytes()
    run("baseline", "write", "configs/z.toml", "configs/a.toml", "configs", "--force")
    assert (tmp_path / FILE).read_bytes() == first
    assert all(len(line) < 100 for line in first.splitlines()), "an entry on each line"


def test_files_are_named_from_the_baseline(tmp_path: Path, run: Run) -> None:
    (tmp_path / "ci").mkdir()
    run("baseline", "write", "configs", "--baseline=ci/known.json")
    assert "../configs/bad.toml" in (tmp_path / "ci" / "known.json").read_text()
    assert run("validate", str(tmp_path / "configs"), "--baseline=ci/known.json").code == 0


def test_pyproject_names_it_for_every_face(tmp_path: Path, run: Run) -> None:
    run("baseline", "write", "configs", "--baseline=known.json")
    settings = '[tool.pytest-prime-train]\nbaseline = "known.json"\n'
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    assert run("validate", "configs").code == 0
    assert run("validate", "configs", "--baseline=").code == 1
    hook = subprocess.run(
        [HOOK, "bad.toml"], cwd=tmp_path / "configs", capture_output=True, text=True
    )
    assert (hook.returncode, hook.stdout) == (0, "")


def test_write_does_not_replace_what_is_there(tmp_path: Path, run: Run) -> None:
    run("baseline", "write", "configs")
    before = (tmp_path / FILE).read_bytes()
    write(tmp_path, good=MISSPELT)
    done = run("baseline", "write", "configs")
    assert done.code == 2
    assert "is there already" in done.err
    assert (tmp_path / FILE).read_bytes() == before
    assert run("baseline", "write", "configs", "--force").code == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", 'has no "files"'),
        (b'{"version": 1}', 'has no "files"'),
        (b'{"version": 2, "files": {}}', "only 1 is understood"),
        (b'{"version": 1, "files": []}', "object of files"),
        (b'{"version": 1, "files": {"a": []}}', "object of ids"),
        (b'{"version": 1, "files": {"a": {"b": 1}}}', "object of keys"),
        (b'{"version": 1, "files": {"a": {"b": {"c": 0}}}}', "count"),
        (b'{"version": 1, "files": {"a": {"b": {"c": true}}}}', "count"),
    ],
)
def test_a_broken_one_is_one_sentence(tmp_path: Path, run: Run, content: bytes, words: str) -> None:
    (tmp_path / FILE).write_bytes(content)
    for arguments in (("validate", "configs", f"--baseline={FILE}"), ("baseline", "show")):
        done = run(*arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.count("\n") == 1
        assert words in done.err
        assert FILE in done.err


def test_one_that_is_not_there_says_how_to_make_one(run: Run) -> None:
    done = run("validate", "configs", "--baseline=gone.json")
    assert done.code == 2
    assert "prime-train baseline write makes one" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("baseline", "prune"), "none of write, update, show"),
        (("baseline", "write"), "no path given"),
        (("baseline", "show", "configs"), "takes no path"),
        (("baseline", "write", "configs", "--add"), "--add belongs to update"),
        (("baseline", "update", "configs", "--force"), "--force belongs to write"),
        (("baseline", "update", "configs"), "cannot be read"),
        (("baseline", "write", "configs", "--baseline=no/such/folder.json"), "cannot be written"),
    ],
)
def test_wrong_use_is_one_sentence(run: Run, arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert done.err.count("\n") == 1


def test_infos_are_left_out_unless_asked_for(tmp_path: Path, run: Run) -> None:
    for file in (tmp_path / "configs").iterdir():
        file.unlink()
    example = Path(__file__).parent.parent / "examples" / "rl.toml"
    write(tmp_path, rl=example.read_text(encoding="utf-8"))
    assert run("baseline", "write", "configs").out.endswith("allows 0 findings in 0 files\n")
    run("baseline", "write", "configs", "--force", "--show-infos")
    assert "unchecked-taskset" in (tmp_path / FILE).read_text()
    assert run("validate", "configs", "--fail-on=info", f"--baseline={FILE}").code == 0


def test_in_pytest(pytester: pytest.Pytester, quick_runs: None) -> None:
    folder = pytester.path
    (folder / "configs").mkdir()
    write(folder, bad=MISSPELT)
    (folder / "known.json").write_text(
        render({"configs/bad.toml": {"unknown-key": {"max_stepz": 1, "gone": 1}}})
    )
    result = pytester.runpytest("--prime-configs=configs", "-W", "default")
    result.assert_outcomes(failed=1, skipped=result.parseoutcomes()["skipped"])
    result = pytester.runpytest(
        "--prime-configs=configs", "--prime-baseline=known.json", "-W", "default"
    )
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["configs/bad.toml:1:1: warning baseline-stale: the baseline allows unknown-key at gone*"]
    )
    result = pytester.runpytest("--prime-configs=configs", "--prime-baseline=gone.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the baseline *gone.json cannot be read: *"])


def test_stable_keys_have_no_numbers() -> None:
    for key, stable in (
        ("orchestrator.train.source.0.env", "orchestrator.train.source[].env"),
        ("a.0", "a[]"),
        ("", ""),
        ("ckpt", "ckpt"),
    ):
        assert stable_key(Finding("x", "error", "", Location("f"), key)) == stable


ALLOWED = st.dictionaries(
    st.sampled_from(["a.toml", "b.toml", "sub/c.toml"]),
    st.dictionaries(
        st.sampled_from(["unknown-key", "wrong-type"]),
        st.dictionaries(st.sampled_from(["x", "y[].z"]), st.integers(1, 3), min_size=1),
        min_size=1,
    ),
)


@given(known=ALLOWED, now=ALLOWED)
def test_a_shrunk_one_allows_only_what_was_allowed_and_is_found(
    known: dict[str, dict[str, dict[str, int]]], now: dict[str, dict[str, dict[str, int]]]
) -> None:
    names = ["a.toml", "b.toml", "sub/c.toml"]
    result = shrunk(Baseline("no/such/folder/x.json", known), now, names)
    for name, ids in result.items():
        for id, keys in ids.items():
            for key, number in keys.items():
                assert 0 < number <= min(known[name][id][key], now[name][id][key])
    again = shrunk(Baseline("no/such/folder/x.json", result), now, names)
    assert again == result
    assert json.loads(render(result))["files"] == result
