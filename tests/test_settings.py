"""What a project settles in pyproject.toml and the environment, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faces import GOOD, MISSPELT, Run, runner
from pytest_prime_train.gotchas import registry

TABLE = "[tool.pytest-prime-train]\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "old").mkdir()
    for name in ("old/bad.toml", "bad.toml"):
        (tmp_path / name).write_text(MISSPELT, encoding="utf-8")
    return runner(tmp_path, monkeypatch, capsys)


def settle(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def bad_files(run: Run, *arguments: str) -> list[str]:
    document = run("validate", "old", "bad.toml", "--format=json", *arguments).json
    return [file["path"] for file in document["files"] if file["findings"]]


@pytest.mark.parametrize("name", ["unknown-key", "schema", "error"])
def test_per_file_ignores_take_ids_categories_and_severities(
    tmp_path: Path, run: Run, name: str
) -> None:
    settle(tmp_path, f'{TABLE}per-file-ignores = {{ "old/*.toml" = ["{name}"] }}\n')
    assert bad_files(run) == ["bad.toml"]


def test_every_glob_that_matches_counts(tmp_path: Path, run: Run) -> None:
    settle(
        tmp_path,
        f"{TABLE.replace(']', '.per-file-ignores]')}"
        '"old/*" = ["ckpt-disabled"]\n"*/bad.toml" = ["unknown-key"]\n',
    )
    assert bad_files(run) == ["bad.toml"]


def test_pytest_has_no_item_for_what_a_file_ignores(
    pytester: pytest.Pytester, quick_runs: None
) -> None:
    settle(pytester.path, f'{TABLE}per-file-ignores = {{ "a.toml" = ["checkpointing", "schema"] }}')
    for name in ("a.toml", "b.toml"):
        (pytester.path / name).write_text(GOOD, encoding="utf-8")
    result = pytester.runpytest("--prime-configs=.", "--collect-only", "-q")
    lines = [line for line in result.outlines if "::" in line]
    assert "b.toml::ckpt-disabled" in lines
    assert "b.toml::schema" in lines
    assert "a.toml::ckpt-disabled" not in lines
    assert "a.toml::schema" not in lines
    assert "a.toml::learning-rate-zero" in lines


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("per-file-ignore = {}", "did you mean 'per-file-ignores'?"),
        ("basline = 'x'", "did you mean 'baseline'?"),
        ("per-file-ignores = []", "per-file-ignores has to be a table of globs"),
        ("per-file-ignores = { 'a' = 'b' }", 'per-file-ignores."a" has to be an array of texts'),
        (
            "per-file-ignores = { 'a' = ['unknown-keys'] }",
            "per-file-ignores.\"a\": no finding, category or severity is called 'unknown-keys'; "
            "did you mean 'unknown-key'?",
        ),
        ("select = ['chekpointing']", "tool.pytest-prime-train.select: no finding"),
        ("preview = 'yes'", "preview has to be true or false"),
        ("baseline = 1", "baseline has to be text in quotes"),
        ("baseline = 'gone.json'", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_its_place(
    tmp_path: Path, run: Run, text: str, words: str
) -> None:
    settle(tmp_path, f"{TABLE}{text}\n")
    done = run("validate", "bad.toml")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert words.replace("; did", "; did") in done.err or words in done.err.replace(
        ", did", "; did"
    )


def test_show_settings_tells_where_each_came_from(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(tmp_path, f'{TABLE}prime-rl-version = "0.8.0"\nignore = ["info"]\nselect = ["error"]\n')
    monkeypatch.setenv("PRIME_TRAIN_SELECT", "schema, memory")
    done = run("validate", "--show-settings", "--format=json", "--ignore=ckpt-disabled")
    assert done.code == 0
    rows = {row["name"]: (row["value"], row["origin"]) for row in done.json["settings"]}
    assert rows["prime-rl-version"] == ("0.8.0", str(tmp_path / "pyproject.toml"))
    assert rows["ignore"] == (["ckpt-disabled"], "command line")
    assert rows["select"] == (["schema", "memory"], "environment variable PRIME_TRAIN_SELECT")
    assert rows["baseline"] == ("", "default")
    assert rows["fail-on"] == ("error", "default")
    lines = run("validate", "--show-settings").out.splitlines()
    assert f'ignore = ["info"]  # {tmp_path / "pyproject.toml"}' in lines
    assert lines == sorted(lines)


def test_every_setting_is_shown(run: Run) -> None:
    """The names are those that an unknown one is answered with."""
    names = {
        row["name"] for row in run("validate", "--show-settings", "--format=json").json["settings"]
    }
    settle(Path.cwd(), f"{TABLE}xyzzy = 1\n")
    known = run("validate", "bad.toml").err.strip().rpartition("known are ")[2].split(", ")
    assert set(known) - {"prime-budget"} <= names


def test_the_environment_wins_over_the_file(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(tmp_path, f'{TABLE}ignore = ["unknown-key"]\n')
    assert bad_files(run) == []
    monkeypatch.setenv("PRIME_TRAIN_IGNORE", "wrong-type")
    assert bad_files(run) == ["bad.toml", "old/bad.toml"]
    assert bad_files(run, "--ignore=schema") == [], "and the command line over both"
    monkeypatch.setenv("PRIME_TRAIN_IGNORE", "nonsense")
    done = run("validate", "bad.toml")
    assert done.code == 2
    assert "PRIME_TRAIN_IGNORE: no finding" in done.err


# The life of a finding ----------------------------------------------------------------------------


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One gotcha in preview and a deprecated one, both of which find what they look for."""
    from pytest_prime_train import declarations
    from pytest_prime_train.findings import Problem
    from pytest_prime_train.gotchas.registry import Status

    monkeypatch.setattr(registry, "_declared", dict(registry._declared))
    registry.all_gotchas()

    def declare(id: str, status: Status, replaced_by: str = "") -> None:
        @registry.gotcha(
            id=id, name="A trial", severity="warning", category="checkpointing", hours_lost=0.0,
            hours_basis="", since="0.1", why="It is tried out.", recommendation="Wait.",
            evidence=("none",), confidence="judgement", detected_by="never", keys=("max_steps",),
            status=status, replaced_by=replaced_by,
        )  # fmt: skip
        def check(config):  # type: ignore[no-untyped-def]
            yield Problem(("max_steps",), "it is tried out")

    declare("trial-in-preview", "preview")
    declare("trial-of-yesterday", "deprecated", "ckpt-disabled")
    monkeypatch.setattr(registry, "_applicable", {})
    declarations.all_declarations.cache_clear()
    declarations._by_id.cache_clear()
    yield
    declarations.all_declarations.cache_clear()
    declarations._by_id.cache_clear()


@pytest.mark.usefixtures("declared")
class TestLifeCycle:
    @pytest.fixture(autouse=True)
    def good(self, tmp_path: Path, run: Run) -> None:
        (tmp_path / "good.toml").write_text(GOOD, encoding="utf-8")

    def test_only_stable_ones_are_looked_for(self, run: Run) -> None:
        assert run("validate", "good.toml", "--format=json").ids == []

    def test_preview_is_asked_for(self, tmp_path: Path, run: Run) -> None:
        done = run("validate", "good.toml", "--format=json", "--preview")
        assert done.ids == ["trial-in-preview"]
        settle(tmp_path, f"{TABLE}preview = true\n")
        assert run("validate", "good.toml", "--format=json").ids == ["trial-in-preview"]

    def test_one_in_preview_is_not_selected_by_itself(self, run: Run) -> None:
        done = run("validate", "good.toml", "--select=trial-in-preview")
        assert done.code == 2
        assert "with --preview only" in done.err

    def test_a_deprecated_one_is_looked_for_where_it_is_selected_and_says_so(
        self, run: Run
    ) -> None:
        done = run("validate", "good.toml", "--format=json", "--select=trial-of-yesterday")
        assert done.ids == ["trial-of-yesterday"]
        assert done.err == (
            "prime-train: trial-of-yesterday is deprecated: select ckpt-disabled instead\n"
        )

    def test_a_comment_that_names_a_deprecated_one_suppresses_its_successor(
        self, tmp_path: Path, run: Run
    ) -> None:
        text = "# prime: ignore[trial-of-yesterday] short\n" + GOOD.replace(
            "[ckpt]\ninterval = 50\nkeep_last = 2\n", ""
        )
        (tmp_path / "good.toml").write_text(text, encoding="utf-8")
        document = run("validate", "good.toml", "--format=json").json
        (found,) = document["files"][0]["findings"]
        assert found["id"] == "suppression-outdated"
        assert found["message"] == "trial-of-yesterday is deprecated: ckpt-disabled took its place"
        assert [one["id"] for one in document["files"][0]["suppressed"]] == ["ckpt-disabled"]
        assert run("validate", "good.toml", "--fix").code == 0
        fixed = (tmp_path / "good.toml").read_text(encoding="utf-8")
        assert fixed == text.replace("trial-of-yesterday", "ckpt-disabled")

    def test_pages_tell_the_status(self, run: Run) -> None:
        assert "Status: preview" in run("explain", "trial-in-preview").out
        assert "Status: deprecated; use `ckpt-disabled`" in run("explain", "trial-of-yesterday").out

    def test_pytest_collects_stable_ones(self, pytester: pytest.Pytester, quick_runs: None) -> None:
        (pytester.path / "good.toml").write_text(GOOD, encoding="utf-8")
        collected = pytester.runpytest("--prime-configs=.", "--collect-only", "-q").outlines
        assert not [line for line in collected if "::trial" in line]
        collected = pytester.runpytest(
            "--prime-configs=.", "--collect-only", "-q", "--prime-preview"
        ).outlines
        assert "good.toml::trial-in-preview" in collected
        result = pytester.runpytest(
            "--prime-configs=.", "--prime-select=trial-of-yesterday", "-W", "default"
        )
        result.stdout.fnmatch_lines(["*trial-of-yesterday is deprecated*"])
        result = pytester.runpytest("--prime-configs=.", "--prime-select=trial-in-preview")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
