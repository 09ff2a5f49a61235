"""What files and arguments make together, and where findings about it point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_prime_train.checker import Checker, FileReport, Options, check
from pytest_prime_train.config.compose import Composed, CompositionError, Line
from pytest_prime_train.config.layers import COMMAND_LINE
from pytest_prime_train.findings import KeyPath, UsageError
from pytest_prime_train.schema.bundle import schema_of
from pytest_prime_train.schema.versions import NEWEST

RECORDED = Path(__file__).parent / "data" / "compositions.jsonl"
BASE = """\
max_steps = 100
seq_len = 4096

[trainer.model]
name = "Qwen/Qwen3-0.6B"

[orchestrator]
batch_size = 64
group_size = 8

[[orchestrator.train.source]]
env.taskset.id = "reverse-text"

[ckpt]
interval = 10
"""
YAML_IS_MISSING = "extra pyyaml is not installed"

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write files into a folder that is the current one, which has a base.toml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()

    def write(**texts: str) -> None:
        for name, text in texts.items():
            stem, _, suffix = name.rpartition("_")
            (tmp_path / f"{stem.replace('__', '/')}.{suffix}").write_text(text, encoding="utf-8")

    write(base_toml=BASE)
    return write


def compose(*arguments: str, root: str = "rl", version: str = NEWEST) -> Composed:
    return Line(arguments, version).compose(schema_of(version), root)


def judge(*arguments: str, root: str | None = None, version: str | None = None) -> FileReport:
    return Checker(Options(root=root, version=version)).check_composed(arguments)


def places(report: FileReport, *ids: str) -> list[tuple[str, int, int, str, str]]:
    """Path, line, column, id and key of the errors, or of the findings with these ids."""
    return [
        (*found.location[:3], found.id, found.key)
        for found in report.findings
        if (found.id in ids if ids else found.severity == "error")
    ]


# The same result as prime-rl's own loader ---------------------------------------------------------


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]


def test_composes_as_prime_rl_did_in_every_recorded_case(write: Write) -> None:
    # Recorded from prime-pydantic-config 0.4.3 with prime-rl's own classes at 559b44772.
    cases = recorded()
    assert len(cases) >= 300
    wrong = []
    for case in cases:
        if any(name.endswith("yaml") for name in case["files"]):
            pytest.importorskip("yaml", reason=YAML_IS_MISSING)
        for name, text in case["files"].items():
            Path(name).write_text(text, encoding="utf-8")
        composed = compose(*case["arguments"], root=case["root"])
        refused = any(one.problem.severity is None for one in composed.complaints)
        if case["expected"] is None:
            same = refused
        else:
            same = not refused and json.dumps(composed.data, sort_keys=True) == json.dumps(
                case["expected"], sort_keys=True
            )
        if not same:
            wrong.append(case)
    assert not wrong


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("@ base.toml @ over.toml", {"ckpt": {"interval": 5, "keep_last": 3}}),
        ("@ over.toml @ base.toml", {"ckpt": {"interval": 10, "keep_last": 3}}),
        ("@ base.toml", {"max_steps": 100}),
        ("@ base.toml --max-steps 5", {"max_steps": "5"}),
        ("--max-steps 5 @ base.toml", {"max_steps": "5"}),
        ("@ base.toml --max-steps=5", {"max_steps": "5"}),
        ("@ base.toml --max_steps 5", {"max_steps": "5"}),
        ("@ base.toml --max-steps 5 --max-steps 7", {"max_steps": "7"}),
        ("@ base.toml --max-steps None", {"max_steps": "None"}),
        ("@ base.toml --ckpt", {"ckpt": {"interval": 10}}),
        ("@ base.toml --no-ckpt", {"ckpt": "None"}),
        ("@ base.toml --ckpt None", {"ckpt": "None"}),
        ("@ base.toml --ckpt.keep-last 2", {"ckpt": {"interval": 10, "keep_last": "2"}}),
        ("@ base.toml --ckpt.x [1,2]", {"ckpt": {"interval": 10, "x": [1, 2]}}),
        ("@ base.toml --dry-run", {"dry_run": True}),
        ("@ base.toml --no-dry-run", {"dry_run": False}),
        ("@ base.toml --dry-run false", {"dry_run": False}),
        ("@ base.toml --env-vars.A 1", {"env_vars": {"A": "1"}}),
        ("--trainer @ part.toml @ base.toml", {"trainer": {"model": {"name": "part"}}}),
        ("--trainer @part.toml @ base.toml", {"trainer": {"model": {"name": "part"}}}),
        (
            "--trainer @ part.toml --trainer @ other.toml @ base.toml",
            {"trainer": {"model": {"name": "Qwen/Qwen3-0.6B", "seq_len": 1}}},
        ),
        (
            "--trainer @ part.toml @ base.toml --trainer.model.name flag",
            {"trainer": {"model": {"name": "flag"}}},
        ),
        (
            "@ base.toml @ sources.toml",
            {"orchestrator": {"batch_size": 64, "group_size": 8, "train": {"source": [{"x": 1}]}}},
        ),
        (
            "@ base.toml --orchestrator.train.source.0.ratio 5",
            {
                "orchestrator": {
                    "batch_size": 64,
                    "group_size": 8,
                    "train": {"source": {"0": {"ratio": "5"}}},
                }
            },
        ),
        ("@ data.json", {"max_steps": 7}),
    ],
)
def test_rules_of_composition(write: Write, arguments: str, expected: dict[str, Any]) -> None:
    write(
        over_toml="[ckpt]\ninterval = 5\nkeep_last = 3\n",
        part_toml='[model]\nname = "part"\n',
        other_toml="[model]\nseq_len = 1\n",
        sources_toml="[[orchestrator.train.source]]\nx = 1\n",
        data_json='{"max_steps": 7}',
    )
    composed = compose(*arguments.split())
    assert not composed.complaints
    assert {key: composed.data[key] for key in expected} == expected


def test_lists_are_words_or_json(write: Write) -> None:
    path = "--monitors.wandb.tags"  # below an optional block: JSON only
    assert compose(path, '["a", "b"]').data == {"monitors": {"wandb": {"tags": ["a", "b"]}}}
    assert compose("--trainer.model.lora.target-modules", "q").data == {
        "trainer": {"model": {"lora": {"target_modules": "q"}}}
    }
    plain = compose("--labels", "a", "-1", "b", "--max-steps", "5", root="orchestrator").data
    assert plain["max_steps"] == "5"


def test_two_names_of_one_key_are_one(write: Write) -> None:
    write(a_toml="[deployment]\nnum_eval_gpus = 3\n")
    composed = compose("@", "a.toml", "--deployment.num-infer-gpus", "4", root="sft")
    assert composed.data["deployment"] == {"num_infer_gpus": "4"}
    composed = compose("@", "a.toml", root="sft")
    assert composed.data["deployment"] == {"num_infer_gpus": 3}
    assert composed.locate(("deployment", "num_infer_gpus"))[:3] == ("a.toml", 2, 1)


def test_old_versions_pull_in_files_that_replace_whole_tables(write: Write) -> None:
    (Path.cwd() / "more").mkdir()
    write(
        top_toml='toml_files = ["more/one.toml"]\nmax_steps = 5\n[ckpt]\ninterval = 1\n',
        more__one_toml='toml_files = ["two.toml"]\n[ckpt]\nkeep = 2\n',
        more__two_toml="max_steps = 9\n",
    )
    composed = compose("@", "top.toml", version="v0.4.0")
    assert composed.data["max_steps"] == 9
    assert composed.data["ckpt"] == {"keep": 2}
    assert composed.locate(("max_steps",)).path == os.path.join("more", "two.toml")
    assert compose("@", "top.toml").data["max_steps"] == 5


def test_an_old_file_is_checked_with_the_files_that_it_pulls_in(write: Write) -> None:
    text = 'toml_files = ["more.toml"]\nmax_steps = 5\n[trainer]\n[orchestrator]\n'
    write(rl_toml=text, more_toml="oops = 1\n")
    options = Options(version="v0.4.0")
    [report] = check(["rl.toml"], options)
    assert ("more.toml", 1, 1, "unknown-key", "oops") in places(report)
    Path("more.toml").unlink()
    [report] = check(["."], options)[1:]
    assert [found.id for found in report.findings] == ["unreadable-file"]


# Where findings point ----------------------------------------------------------------------------


def test_a_finding_points_into_the_file_or_argument_that_it_comes_from(write: Write) -> None:
    write(
        over_toml="max_stepz = 5\n[ckpt]\nkeep_last = 3\n",
        part_toml="[model]\nseq_len = 4096\nlr = 4\n",
    )
    arguments = "@ base.toml @ over.toml --trainer @ part.toml --trainer.optim.lr abc --oops 1"
    report = judge(*arguments.split())
    assert report.path == "base.toml"
    assert report.root == "rl"
    assert places(report) == [
        (COMMAND_LINE, 1, arguments.index("abc") + 1, "wrong-type", "trainer.optim.lr"),
        (COMMAND_LINE, 1, arguments.index("--oops") + 1, "unknown-key", "oops"),
        ("over.toml", 1, 1, "unknown-key", "max_stepz"),
        ("part.toml", 3, 1, "unknown-key", "trainer.model.lr"),
    ]
    assert report.text_of(report.findings[0]) == arguments


def test_the_name_of_a_nested_file_is_the_place_of_its_key(write: Write) -> None:
    write(part_toml="max_steps = 100\n")
    report = judge("@", "base.toml", "--trainner", "@", "part.toml")
    assert places(report) == [(COMMAND_LINE, 1, 13, "unknown-key", "trainner")]


def test_what_is_missing_is_shown_in_the_last_file_that_has_the_table(write: Write) -> None:
    write(over_toml="\n[ckpt]\ninterval = 5\n")
    report = judge("@", "base.toml", "@", "over.toml", "--ckpt")
    found = places(report, "ckpt-keep-last-missing")
    assert found == [("over.toml", 2, 1, "ckpt-keep-last-missing", "ckpt.keep_last")]


def test_places_in_json(write: Write) -> None:
    write(
        part_json='{\n  "model": {"lr": 1,\n    "seq_len": [4096]},\n'
        '  "x\\"y": [{"z": "a"}, {"z": {"deep": 1}}, 3]\n}\n'
    )
    report = judge("@", "base.toml", "--trainer", "@", "part.json")
    assert places(report) == [
        ("part.json", 2, 13, "unknown-key", "trainer.model.lr"),
        ("part.json", 3, 5, "rule-rl-share-conflict", "trainer.model.seq_len"),
        ("part.json", 3, 16, "wrong-type", "trainer.model.seq_len"),
        ("part.json", 4, 3, "unknown-key", 'trainer.x"y'),
    ]
    composed = compose("--trainer", "@", "part.json")
    key: KeyPath = ("trainer", 'x"y', 1, "z", "deep")
    assert composed.locate(key)[:3] == ("part.json", 4, 31)
    assert composed.locate(key, "value")[:3] == ("part.json", 4, 39)
    assert composed.locate(("trainer", 'x"y', 2))[:3] == ("part.json", 4, 44)


def test_places_in_yaml(write: Write) -> None:
    pytest.importorskip("yaml", reason=YAML_IS_MISSING)
    write(part_yaml="model:\n  lr: 1\n  seq_len: &x abc\n7: 1\nwhen: 2020-01-01\n")
    report = judge("@", "base.toml", "--trainer", "@", "part.yaml")
    assert places(report) == [
        ("part.yaml", 2, 3, "unknown-key", "trainer.model.lr"),
        ("part.yaml", 3, 3, "rule-rl-share-conflict", "trainer.model.seq_len"),
        ("part.yaml", 3, 12, "wrong-type", "trainer.model.seq_len"),
        ("part.yaml", 4, 1, "unknown-key", "trainer.7"),
        ("part.yaml", 4, 1, "wrong-type", "7"),
        ("part.yaml", 5, 1, "unknown-key", "trainer.when"),
    ]


NAMES = st.sampled_from(["a", "b", "c"])
TABLES = st.recursive(
    st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
LAYERS = st.lists(st.dictionaries(NAMES, TABLES, max_size=3), min_size=1, max_size=4)


@settings(deadline=None)
@given(layers=LAYERS)
def test_every_value_is_located_in_the_last_layer_that_wrote_it(
    tmp_path_factory: pytest.TempPathFactory, layers: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("layers")
    arguments = []
    for number, data in enumerate(layers):
        path = folder / f"{number}.json"
        path.write_text(json.dumps(data, indent=1), encoding="utf-8")
        arguments += ["@", str(path)]
    composed = compose(*arguments)
    for path_, value in _leaves(composed.data, ()):
        last = max(n for n, data in enumerate(layers) if _reaches(data, path_))
        place = composed.locate(path_, "value")
        assert place.path == str(folder / f"{last}.json")
        lines = composed.texts[place.path].split("\n")[place.line - 1 : place.end_line]
        lines[-1] = lines[-1][: place.end_column - 1]
        assert json.loads("\n".join(lines)[place.column - 1 :]) == value


def _leaves(value: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if type(value) is dict and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, key))]
    # A table that is empty has no value of its own where several layers have it.
    return [] if type(value) is dict else [(path, value)]


def _reaches(value: Any, path: Sequence[str]) -> bool:
    for part in path:
        if type(value) is not dict or part not in value:
            return False
        value = value[part]
    return True


# What the command line itself refuses ------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "column", "cure"),
    [
        ("@ base.toml @over.toml", 13, "@ over.toml"),
        ("@ base.toml over.toml", 13, "@ over.toml"),
        ("@ base.toml --trainer 5", 13, "--trainer.<key> VALUE"),
        ("@ base.toml --max-steps", 13, "--max-steps VALUE"),
        ("@ base.toml --env-vars [bad", 24, "JSON"),
    ],
)
def test_arguments_that_prime_rl_does_not_take(
    write: Write, arguments: str, column: int, cure: str
) -> None:
    report = judge(*arguments.split())
    [found] = [one for one in report.findings if one.id == "command-line"]
    assert found.severity == "error"
    assert found.location[:3] == (COMMAND_LINE, 1, column)
    assert cure in found.recommendation


def test_an_equals_sign_below_an_optional_block_is_part_of_the_key(write: Write) -> None:
    report = judge("@", "base.toml", "--ckpt.interval=5")
    [found] = [one for one in report.findings if one.location.path == COMMAND_LINE]
    assert (found.id, found.key) == ("unknown-key", "ckpt.interval=5")
    assert "--ckpt.interval 5" in found.recommendation
    # Where prime-rl takes any key, nothing else would tell.
    report = judge("@", "base.toml", "--inference.vllm.max-model-len=99")
    [found] = [one for one in report.findings if one.id == "command-line"]
    assert (found.location.path, found.severity) == (COMMAND_LINE, "warning")


def test_an_option_that_is_dropped_is_told(write: Write) -> None:
    composed = compose("--foo", "1", "--foo.bar", "2")
    assert composed.data == {"foo": "1"}
    [complaint] = composed.complaints
    assert complaint.location.column == 9


def test_an_index_into_an_array_is_an_error_that_says_what_to_write(write: Write) -> None:
    report = judge("@", "base.toml", "--orchestrator.train.source.0.ratio", "5")
    [found] = [one for one in report.findings if one.location.path == COMMAND_LINE]
    assert found.id == "wrong-type"
    assert "--orchestrator.train.source '[" in found.recommendation


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("@", "followed by the path"),
        ("--trainer @", "'@' after --trainer"),
        ("@ missing.toml", "missing.toml: no such file"),
        ("@ base.txt", "'.txt'"),
        ("@ base.toml --help", "--help"),
        ("--max-steps 5", "--root"),
        ("base.toml --max-steps 5", "Write @ before every file: @ base.toml"),
        ("@ .", ". has no suffix"),
    ],
)
def test_wrong_use_is_one_sentence(write: Write, arguments: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace(".", r"\.")) as caught:
        judge(*arguments.split())
    assert "\n" not in str(caught.value)


def test_files_that_are_broken_are_findings_in_them(write: Write) -> None:
    write(a_toml="x = \n", b_json='{\n  "a": }', c_json="[1]", d_json='{"a": 1e999999999}')
    arguments = "@ base.toml @ a.toml --trainer @ b.json @ c.json @ d.json"
    report = judge(*arguments.split())
    assert places(report) == [
        ("a.toml", 1, 3, "toml-syntax", ""),
        ("b.json", 2, 8, "toml-syntax", ""),
        ("c.json", 1, 1, "toml-syntax", ""),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: [1\nb: 2",
        "a: \x00",
        "a: 2020-99-99",
        "a: &a {b: *a}",
        "a: &a [x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{n}: &{n} [{','.join(f'*{p}' for _ in range(8))}]\n"
            for p, n in zip("abcdefg", "bcdefgh", strict=True)
        ),
        "a: !!python/object/apply:os.system [exit]",
        "- 1",
        "",
    ],
)
def test_yaml_that_cannot_be_merged(write: Write, text: str) -> None:
    pytest.importorskip("yaml", reason=YAML_IS_MISSING)
    write(a_yaml=text)
    report = judge("@", "a.yaml")
    assert [found.id for found in report.findings] == ["toml-syntax"]


def test_yaml_without_pyyaml_is_refused_by_name(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    write(a_yaml="max_steps: 5")
    with pytest.raises(UsageError, match=r"a\.yaml .*PyYAML.* pip install pyyaml"):
        judge("@", "base.toml", "@", "a.yaml")


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            ["@", "base.toml", "@base.toml", "--trainer", "--ckpt", "--no-ckpt", "--max-steps",
             "--ckpt.interval=1", "--x", "--", "---", "-", "", "=", "--=", "--.", "--a..b", "5",
             "None", "[", "{}", "--trainer.model", "--env-vars", "--trainer.model.0", "\u00e9\n"]
        ),
        max_size=7,
    )
)  # fmt: skip
def test_no_line_is_a_crash(tmp_path_factory: pytest.TempPathFactory, line: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "base.toml").write_text(BASE, encoding="utf-8")
    arguments = [one.replace("base.toml", str(folder / "base.toml")) for one in line]
    try:
        report = judge(*arguments, root="rl")
    except UsageError:
        return
    texts = {**report.texts}
    for found in report.findings:
        assert found.location.path in texts


# Secrets -----------------------------------------------------------------------------------------


def test_no_report_shows_a_secret(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    from pytest_prime_train.cli import main

    write(part_json='{"env_vars": {"WANDB_API_KEY": ["in-the-json"]}}')
    code = main(
        [
            *("validate", "--", "@", "base.toml", "--trainer", "@", "part.json"),
            *("--orchestrator.env-vars", '{"HF_TOKEN": "in-the-argument", "B": 1}'),
            *("--api-key", "behind-the-flag", "--my-token=with-equals", "--oops", "1"),
        ]
    )
    output = capsys.readouterr().out
    assert code == 1
    assert "WANDB_API_KEY" in output
    assert "--oops" in output
    for secret in ("in-the-json", "in-the-argument", "behind-the-flag", "with-equals"):
        assert secret not in output


# Faces -------------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from pytest_prime_train.cli import main; "
               "sys.exit(main())", *arguments]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_judges_what_would_be_launched(write: Write) -> None:
    clean = run("validate", "--", "@", "base.toml", "--max-steps", "5")
    assert clean.returncode == 0, clean.stdout
    result = run("validate", "--format", "json", "--", "@", "base.toml", "--max-stepz", "5")
    assert result.returncode == 1
    assert result.stderr == ""
    [entry] = json.loads(result.stdout)["files"]
    assert (entry["path"], entry["root"]) == ("base.toml", "rl")
    [found] = [one for one in entry["findings"] if one["severity"] == "error"]
    assert (found["path"], found["line"], found["column"]) == (COMMAND_LINE, 1, 13)
    assert (found["id"], found["key"]) == ("unknown-key", "max_stepz")
    text = run("validate", "--root", "trainer", "--", "--max-stepz", "5")
    assert f"{COMMAND_LINE}:1:1: error unknown-key" in text.stdout
    assert "1 | --max-stepz 5" in text.stdout
    wrong = run("validate", "--", "@", "missing.toml")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "prime-train: missing.toml: no such file or directory\n"


PROJECT = """\
[tool.pytest-prime-train]
overlays = { "configs/exp-*.toml" = ["configs/base.toml"] }
fragments = ["configs/base.toml"]
"""


@pytest.fixture
def project(write: Write) -> Path:
    """A project with a base that is no whole config, and two overlays."""
    (Path.cwd() / "configs").mkdir()
    write(
        pyproject_toml=PROJECT,
        **{
            "configs__base_toml": BASE + "oops = 1\n",
            "configs__exp-1_toml": "max_steps = 5\n",
            "configs__exp-2_toml": "max_stepz = 5\n",
        },
    )
    return Path.cwd()


def test_overlays_are_checked_with_their_bases_and_fragments_not_alone(project: Path) -> None:
    reports = {Path(report.path).name: report for report in check(["configs"])}
    base = os.path.join("configs", "base.toml")
    assert places(reports["exp-1.toml"]) == [(base, 16, 1, "unknown-key", "ckpt.oops")]
    assert places(reports["exp-2.toml"]) == [
        (base, 16, 1, "unknown-key", "ckpt.oops"),
        (os.path.join("configs", "exp-2.toml"), 1, 1, "unknown-key", "max_stepz"),
    ]
    assert reports["base.toml"].findings == ()
    assert reports["base.toml"].root is None


def test_a_changed_base_has_its_overlays_checked(project: Path) -> None:
    reports = check([os.path.join("configs", "base.toml")])
    assert [Path(report.path).name for report in reports] == [
        "base.toml", "exp-1.toml", "exp-2.toml",
    ]  # fmt: skip
    assert all(report.findings for report in reports[1:])


def test_overlays_are_found_from_any_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("configs")
    [report] = check(["exp-1.toml"])
    assert places(report) == [("base.toml", 16, 1, "unknown-key", "ckpt.oops")]


def test_a_broken_fragment_is_a_finding(project: Path) -> None:
    Path("configs/base.toml").write_text("x = \n", encoding="utf-8")
    [base, *_] = check(["configs/base.toml"])
    assert [found.id for found in base.findings] == ["toml-syntax"]


def test_the_hook_checks_overlays_composed(project: Path) -> None:
    command = [sys.executable, "-m", "pytest_prime_train._hooks.check", "configs/exp-2.toml"]
    command[1:3] = ["-c", "import sys; from pytest_prime_train._hooks.check import main; "
                    "sys.exit(main())"]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "configs/base.toml:16:1: error unknown-key" in result.stdout
    assert "16 | oops = 1" in result.stdout
    assert "1 | max_stepz = 5" in result.stdout


def test_the_plugin_checks_overlays_composed(pytester: pytest.Pytester, quick_runs: None) -> None:
    pytester.path.joinpath("configs").mkdir()
    for name, text in {
        "pyproject.toml": PROJECT,
        "configs/base.toml": BASE + "oops = 1\n",
        "configs/exp-1.toml": "max_steps = 5\n",
    }.items():
        pytester.path.joinpath(name).write_text(text, encoding="utf-8")
    result = pytester.runpytest("--prime-configs=configs", "--prime-select=schema")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["configs/base.toml:16:1: error unknown-key*", "16 | oops = 1"])
    result.stdout.fnmatch_lines(["FAILED configs/exp-1.toml::schema*"])
    result.stdout.no_fnmatch_line("*configs/base.toml::*")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('overlayz = { "a" = "b" }', "did you mean 'overlays'"),
        ("overlays = 1", "has to be a table of overlays with their bases"),
        ('overlays = { "a" = [] }', 'the bases of "a" have to be paths'),
        ('overlays = { "a" = [1] }', 'the bases of "a" have to be paths'),
        ('overlays = { "a" = "bas.toml" }', "is no file; did you mean 'base.toml'"),
        ('fragments = "a"', "has to be an array of texts"),
        ('extra-keys = ["a..b"]', "is no dotted key"),
    ],
)
def test_settings_that_cannot_be_used(write: Write, setting: str, words: str) -> None:
    write(pyproject_toml=f"[tool.pytest-prime-train]\n{setting}\n")
    with pytest.raises(UsageError, match=words):
        check(["base.toml"])


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], ["my_key", "trainer.model.my_other", "trainer.my_block"]),
        (["trainer.my_block"], ["my_key", "trainer.model.my_other"]),
        (["trainer.my_block.*"], ["my_key", "trainer.model.my_other"]),
        (["trainer.my_block.a"], ["my_key", "trainer.model.my_other", "trainer.my_block.b"]),
        (
            ["trainer.my_block.*.c"],
            ["my_key", "trainer.model.my_other", "trainer.my_block.a", "trainer.my_block.b.d"],
        ),
        (["my_*", "*.*.my_*"], ["trainer.my_block"]),
        (["trainer.*"], ["my_key"]),
        (["my"], ["my_key", "trainer.model.my_other", "trainer.my_block"]),
    ],
)
def test_keys_of_a_fork(write: Write, patterns: list[str], left: list[str]) -> None:
    write(
        pyproject_toml=f"[tool.pytest-prime-train]\nextra-keys = {json.dumps(patterns)}\n",
        rl_toml="my_key = 1\n"
        + BASE
        + "[trainer.my_block]\na = 1\nb.c = 1\nb.d = 2\n[trainer.model.my_other]\nx = 1\n",
    )
    [report] = check(["rl.toml"])
    assert sorted(key for *_, id, key in places(report) if id == "unknown-key") == left


def test_a_key_of_a_fork_does_not_hide_other_faults(write: Write) -> None:
    write(
        pyproject_toml='[tool.pytest-prime-train]\nextra-keys = ["trainer.*"]\n',
        rl_toml=BASE + '[trainer]\nmax_steps = "x"\n',
    )
    [report] = check(["rl.toml"])
    assert ("wrong-type", "trainer.max_steps") in [place[3:] for place in places(report)]


def test_a_single_file_is_checked_without_the_modules_of_composition(write: Write) -> None:
    program = (
        "import sys; from pytest_prime_train.checker import check; check(['base.toml']); "
        "names = ('composed', 'config.compose', 'config.layers', 'config.options', "
        "'config.extra_keys'); "
        "sys.exit([n for n in names if 'pytest_prime_train.' + n in sys.modules] or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_line_says_what_it_cannot_read() -> None:
    with pytest.raises(CompositionError):
        Line(["@"], NEWEST)
