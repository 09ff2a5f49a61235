"""Every format tells the same findings, in the same order, in the form that its readers want."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from faces import GOOD, MISSPELT, Run, runner
from pytest_prime_train.findings import Finding, Location
from pytest_prime_train.report.github import render_github
from pytest_prime_train.report.junit import render_junit
from pytest_prime_train.report.sarif import render_sarif
from pytest_prime_train.reports import FileReport

SARIF_SCHEMA = Path(__file__).parent / "data" / "sarif-2.1.0-subset.schema.json"
SECRET = "wandb_v1_0123456789abcdef0123456789abcdef"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "bad.toml").write_text(MISSPELT, encoding="utf-8")
    (folder / "good.toml").write_text(GOOD, encoding="utf-8")
    (folder / "rl.toml").write_text((ROOT / "examples" / "rl.toml").read_text(encoding="utf-8"))
    suppressed = MISSPELT.replace("= 400", "= 400  # prime: ignore[unknown-key] why")
    (folder / "suppressed.toml").write_text(suppressed, encoding="utf-8")
    (folder / "broken.toml").write_text("max_steps = \n", encoding="utf-8")
    return runner(tmp_path, monkeypatch, capsys)


def sarif_validator() -> Any:
    schema = json.loads(SARIF_SCHEMA.read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())


def reports_of(*findings: Finding, text: str = "") -> list[FileReport]:
    return [FileReport("a.toml", "rl", "", "main-2026-08-21", findings, text)]


def test_all_tell_the_same(run: Run) -> None:
    found = [
        (one["id"], one["path"], one["line"], one["column"])
        for file in run("validate", "a folder", "--format=json").json["files"]
        for one in file["findings"]
    ]
    assert [id for id, *_ in found] == ["unknown-key", "toml-syntax", "unchecked-taskset"]
    results = run("validate", "a folder", "--format=sarif").json["runs"][0]["results"]
    assert [one["ruleId"] for one in results if "suppressions" not in one] == [
        id for id, *_ in found
    ]
    lines = run("validate", "a folder", "--format=github").out.splitlines()
    assert [
        re.search(r"file=(.*),line=(\d+),col=(\d+),.*title=([\w-]+)::", line).groups()  # type: ignore[union-attr]
        for line in lines
    ] == [(path, str(line), str(column), id) for id, path, line, column in found]
    suite = ElementTree.fromstring(run("validate", "a folder", "--format=junit").out)
    names = [case.attrib["name"].split()[0] for case in suite.iter("testcase")]
    assert [name for name in names if name != "prime-train"] == [id for id, *_ in found]


@pytest.mark.parametrize("form", ["json", "sarif", "github", "junit", "text", "concise"])
def test_the_same_files_make_the_same_output(run: Run, form: str) -> None:
    """Whatever the order of the arguments, and without a date or a time."""
    first = run("validate", "a folder", f"--format={form}")
    files = [f"a folder/{name}.toml" for name in ("rl", "good", "bad", "broken", "suppressed")]
    assert run("validate", *files, f"--format={form}").out == first.out
    assert first.code == 1


@pytest.mark.parametrize("form", ["json", "sarif", "github", "junit"])
def test_infos_are_in_all_that_machines_read(run: Run, form: str) -> None:
    assert "unchecked-taskset" in run("validate", "a folder/rl.toml", f"--format={form}").out
    for people in ("text", "concise"):
        done = run("validate", "a folder/rl.toml", f"--format={people}")
        assert "unchecked-taskset" not in done.out
        done = run("validate", "a folder/rl.toml", f"--format={people}", "--show-infos")
        assert "unchecked-taskset" in done.out


def test_sarif_is_valid(run: Run) -> None:
    document = run("validate", "a folder", "--format=sarif").json
    sarif_validator().validate(document)
    (one_run,) = document["runs"]
    rules = [rule["id"] for rule in one_run["tool"]["driver"]["rules"]]
    assert rules == sorted(rules)
    for result in one_run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].startswith(
            "a%20folder/"
        )
    suppressed = [one for one in one_run["results"] if "suppressions" in one]
    assert [one["suppressions"] for one in suppressed] == [[{"kind": "inSource"}]]


def test_sarif_of_the_whole_catalogue_is_valid(run: Run) -> None:
    sarif_validator().validate(
        run("validate", str(ROOT / "gotcha_fixtures"), "--format=sarif").json
    )


def test_the_subset_of_the_schema_refuses_what_is_wrong(run: Run) -> None:
    """A schema that takes everything would prove nothing."""
    document = run("validate", "a folder", "--format=sarif").json
    changes: tuple[Callable[[Any], Any], ...] = (
        lambda one: one.pop("version"),
        lambda one: one["runs"][0].pop("tool"),
        lambda one: one["runs"][0]["results"][0].update(level="info"),
        lambda one: one["runs"][0]["results"][0].pop("message"),
        lambda one: one["runs"][0]["results"][0].update(message="text"),
        lambda one: one["runs"][0]["results"][0]["locations"][0]["physicalLocation"][
            "region"
        ].update(startLine=0),
    )
    for change in changes:
        other = json.loads(json.dumps(document))
        change(other)
        assert list(sarif_validator().iter_errors(other))


def test_fingerprints_stay_while_lines_move(tmp_path: Path, run: Run) -> None:
    def prints() -> list[Any]:
        document = run("validate", "a folder/bad.toml", "--format=sarif").json
        return [one["partialFingerprints"] for one in document["runs"][0]["results"]]

    before = prints()
    (tmp_path / "a folder" / "bad.toml").write_text(f"# Down.\n\n{MISSPELT}", encoding="utf-8")
    assert prints() == before


def test_junit_fails_only_at_the_threshold(run: Run) -> None:
    for arguments, failures in (((), 2), (("--fail-on=info",), 3)):
        done = run("validate", "a folder", "--format=junit", *arguments)
        suite = ElementTree.fromstring(done.out).find("testsuite")
        assert suite is not None
        assert int(suite.attrib["failures"]) == failures == len(list(suite.iter("failure")))
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        passed = [one for one in suite if one.attrib["name"] == "prime-train"]
        assert [one.attrib["classname"] for one in passed] == [
            "a folder/good.toml",
            "a folder/suppressed.toml",
        ]


@pytest.mark.parametrize("form", ["text", "concise", "json", "sarif", "github", "junit"])
def test_no_format_shows_a_secret(tmp_path: Path, run: Run, form: str) -> None:
    text = GOOD + f'\n[env_vars]\nWANDB_API_KEY = "{SECRET}"\nHF_TOKEN = 5\n'
    (tmp_path / "secret.toml").write_text(text, encoding="utf-8")
    done = run("validate", "secret.toml", f"--format={form}")
    assert "secret" in done.out
    assert SECRET not in done.out


@given(message=st.text(), path=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_text_breaks_out_of_its_place(message: str, path: str) -> None:
    finding = Finding("unknown-key", "error", message, Location(path, 2, 3, 2, 4), "a.b", "why")
    reports = reports_of(finding)
    sarif = render_sarif(reports)
    assert sarif.isascii()
    sarif_validator().validate(json.loads(sarif))
    github = render_github(reports)
    assert github.count("\n") == 0
    assert github.count("::") >= 2
    properties = github.split("::")[1]
    assert properties.startswith("error file=")
    assert [one.split("=")[0] for one in properties.partition(" ")[2].split(",")] == [
        "file", "line", "col", "endColumn", "endLine", "title",
    ]  # fmt: skip
    assert len(list(ElementTree.fromstring(render_junit(reports, "error")).iter("failure"))) == 1


def test_the_exit_code_can_be_left_to_others(run: Run) -> None:
    for form in ("json", "text"):
        done = run("validate", "a folder", f"--format={form}", "--exit-zero")
        assert done.code == 0
        assert "unknown-key" in done.out
    assert run("validate", "gone.toml", "--exit-zero").code == 2


def test_github_has_one_line_for_each_finding(run: Run) -> None:
    lines = run("validate", "a folder/bad.toml", "--format=github").out.splitlines()
    (line,) = lines
    assert line.startswith("::error file=a folder/bad.toml,line=")
    assert "%0ARename max_stepz to max_steps." in line
    assert run("validate", "a folder/good.toml", "--format=github").out == ""
