"""A schema of one's own: taken from a checkout's classes, kept in a folder, judged by."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pytest_prime_train.checker import Checker, Options, check
from pytest_prime_train.cli import main
from pytest_prime_train.findings import UsageError
from pytest_prime_train.schema.bundle import Schema, schema_of
from pytest_prime_train.schema.checkout import load
from pytest_prime_train.schema.versions import NEWEST

# The classes of a checkout answer with a JSON Schema; these have it written down.
PYDANTIC = "class GenerateJsonSchema: pass\n"
TRAINER = """
print("what an import prints is nobody's schema")

class TrainerConfig:
    @classmethod
    def model_json_schema(cls, schema_generator):
        return {
            "additionalProperties": False,
            "properties": {
                "max_steps": {"type": "integer", "minimum": 0, "default": None},
                "my_block": {"$ref": "#/$defs/MyConfig", "default": {"depth": 3}},
                "weight_broadcast": {"type": "string", "default": "x"},
            },
            "$defs": {
                "MyConfig": {
                    "additionalProperties": False,
                    "properties": {"depth": {"type": "integer", "default": 3}},
                }
            },
        }
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one of the programs, beside a config with keys of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    folder = tmp_path / "fork"
    for name, text in {
        "src/pydantic/__init__.py": "",
        "src/pydantic/json_schema.py": PYDANTIC,
        "src/prime_rl/configs/trainer.py": TRAINER,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    text = 'weight_broadcast = "y"\n[my_block]\ndepth = 4\nwidth = 5\n'
    (tmp_path / "trainer.toml").write_text(text, encoding="utf-8")
    return folder


def keys(options: Options = Options()) -> list[tuple[str, str]]:
    [report] = check(["trainer.toml"], options)
    return [(one.id, one.key) for one in report.findings if one.severity == "error"]


def test_a_checkout_is_run_only_when_asked_for_and_says_so(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", "--from-checkout", "fork", "--output", "own"]) == 0
    output = capsys.readouterr().out
    assert f"running the config classes of fork with {sys.executable}\n" in output
    assert "wrote own/schema.json for trainer\n" in output
    assert "left out rl: ModuleNotFoundError" in output
    assert keys(Options(schema="own", root="trainer")) == [("unknown-key", "my_block.width")]
    report = Checker(Options(schema="own", root="trainer")).check_file("trainer.toml")
    assert "its schema was taken from a checkout" in report.version_reason
    assert report.taken_from == load("own").taken_from


def test_the_folder_of_the_project_judges_for_every_face(checkout: Path) -> None:
    assert main(["schema", "--from-checkout", "fork"]) == 0
    Path("pyproject.toml").write_text(
        '[tool.pytest-prime-train]\nschema = "prime-rl-schema"\nroots = { "*.toml" = "trainer" }\n',
        encoding="utf-8",
    )
    assert keys() == [("unknown-key", "my_block.width")]
    # What is asked for on the command line wins.
    assert ("unknown-key", "my_block") in keys(Options(version="main"))


def test_the_interpreter_is_the_checkouts_own(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert main(["schema", "--from-checkout", "fork"]) == 0
    assert f"with {Path('fork/.venv/bin/python')}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from-checkout", "."], ". is no checkout of prime-rl"),
        (["--from-checkout", "missing"], "missing is no checkout"),
        (["--from-checkout", "fork", "--python", "/no/python"], "no interpreter /no/python"),
        (["--from-checkout", "fork", "--python", "/bin/false"], "could not run the classes"),
        (["--from-checkout", "fork", "--output", "trainer.toml"], "trainer.toml: file exists"),
        ([], "--from-checkout"),
    ],
)
def test_what_cannot_be_taken_is_one_sentence(
    checkout: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["schema", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_classes_that_cannot_be_imported_are_told(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "src/prime_rl/configs/trainer.py").write_text("import no_such_thing\n")
    assert main(["schema", "--from-checkout", "fork"]) == 2
    assert "--python PATH" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "tables": 3}'])
def test_a_damaged_folder_is_wrong_use(checkout: Path, text: str) -> None:
    Path("own").mkdir()
    Path("own/schema.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="make it anew"):
        keys(Options(schema="own"))


def test_a_folder_that_is_missing_is_wrong_use(checkout: Path) -> None:
    with pytest.raises(UsageError, match=r"own.schema\.json: no such file"):
        keys(Options(schema="own"))


def test_a_version_and_a_folder_cannot_both_judge(checkout: Path) -> None:
    with pytest.raises(UsageError, match="cannot both judge"):
        Checker(Options(schema="own", version="main"))


def test_the_schemas_of_the_newest_version_judge_as_the_bundled_one(
    shared: Path, checkout: Path
) -> None:
    """The same classes say the same, whichever way their schemas came here."""
    folder = shared / "prime-rl" / "schemas" / NEWEST
    for path in folder.glob("*.schema.json"):
        root = path.name.removesuffix(".schema.json")
        if root.endswith(".effective"):
            continue
        name = json.loads(path.read_text(encoding="utf-8"))["x-prime-rl"]["class"]
        module = checkout / "src" / "prime_rl" / "configs" / f"{root}.py"
        module.write_text(
            f"class {name}:\n    @classmethod\n    def model_json_schema(cls, schema_generator):\n"
            f"        import json\n        return json.load(open({str(path)!r}))\n",
            encoding="utf-8",
        )
    assert main(["schema", "--from-checkout", "fork", "--output", "own"]) == 0
    own, bundled = load("own"), schema_of(NEWEST)
    assert list(own.roots) == [root for root in own.roots if root in bundled.roots]
    assert len(own.roots) == len(bundled.roots)
    configs = shared / "prime-rl" / "configs" / NEWEST
    files = sorted(configs.rglob("*.toml"))
    assert len(files) > 50
    for path in files:
        found = [_findings(Checker(Options()), own, path), _findings(Checker(), bundled, path)]
        assert found[0] == found[1], path


def _findings(checker: Checker, schema: Schema, path: Path) -> list[tuple[str, str, str]]:
    checker.schema = schema
    report = checker.check_file(os.fspath(path))
    return [(one.id, one.key, one.message) for one in report.findings]
