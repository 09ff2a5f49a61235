"""``prime-train migrate`` as users run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

from conftest import ROOT
from pytest_prime_train.schema.versions import NEWEST

SCRIPTS = Path(sys.executable).parent

OLD = """\
max_steps = 20

[wandb]  # ours
project = "x"

[trainer]

[orchestrator]
batch_size = 8

[[orchestrator.env]]
id = "reverse-text"
"""
NEW = """\
max_steps = 20

[monitors.wandb]  # ours
project = "x"

[trainer]

[orchestrator]
batch_size = 8

[[orchestrator.train.source]]
env.taskset.id = "reverse-text"
"""
PERSON = OLD.replace('"reverse-text"', '"math-env"\nargs = { split = "train" }')
REFUSED = OLD.replace("batch_size", "batch_sise")


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of its own, in no git repository."""
    made = tmp_path / "project"
    made.mkdir()
    return made


def run(folder: Path, *arguments: str | Path) -> Done:
    done = subprocess.run(
        [SCRIPTS / "prime-train", "migrate", *arguments],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "COLUMNS": "300"},
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def write(folder: Path, text: str, name: str = "rl.toml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def is_accepted(path: Path) -> bool:
    """Whether the check finds nothing that prime-rl would refuse."""
    command = (SCRIPTS / "prime-train", "validate", path, "--select=schema")
    return subprocess.run(command, capture_output=True).returncode == 0


def report(folder: Path, *arguments: str) -> dict[str, Any]:
    done = run(folder, *arguments, "--format", "json")
    assert done.err == ""
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_file_is_rewritten_in_place(folder: Path) -> None:
    path = write(folder, OLD)
    done = run(folder, "rl.toml")
    assert (done.code, done.err) == (0, "")
    assert path.read_text() == NEW
    assert done.out == (
        f"rl.toml: written for prime-rl {NEWEST}, was v0.7.0\n"
        f"1 prime-rl config: 1 written, 0 already read by prime-rl {NEWEST}\n"
    )
    again = run(folder, "rl.toml")
    assert (again.code, path.read_text()) == (0, NEW)
    assert again.out.startswith("1 prime-rl config: 0 to change, 1 already read")


def test_the_json_has_the_names_of_its_contract(folder: Path) -> None:
    write(folder, PERSON)
    document = report(folder, "rl.toml")
    (entry,) = document["files"]
    (finding,) = entry.pop("needs_person")
    assert document["version"] == 1
    assert document["summary"] == {"changed": 1, "needs_person": 1, "refused": 0}
    assert entry == {
        "path": "rl.toml",
        "root": "rl",
        "from": "v0.7.0",
        "to": NEWEST,
        "changed": True,
        "written": True,
        "notes": [],
    }
    assert finding["id"] == "migration-needs-person"
    assert finding["key"] == "orchestrator.train.source.0.env.taskset"
    assert (finding["path"], finding["line"], finding["column"]) == ("rl.toml", 12, 5)
    assert "split" in finding["message"]


def test_a_key_that_needs_a_person_makes_the_exit_code_1(folder: Path) -> None:
    path = write(folder, PERSON)
    done = run(folder, "rl.toml")
    assert done.code == 1
    assert "rl.toml:12:5: warning migration-needs-person: arguments of the environment" in done.out
    assert 'env.taskset.split = "train"' in path.read_text()


@pytest.mark.parametrize("text", [OLD, PERSON])
@pytest.mark.parametrize("option", ["--diff", "--check", "--stdout"])
def test_what_only_looks_writes_nothing(folder: Path, option: str, text: str) -> None:
    path = write(folder, text)
    done = run(folder, "rl.toml", option)
    assert path.read_text() == text
    expected = 0 if option == "--stdout" and text is OLD else 1
    assert done.code == expected


def test_nothing_to_do_is_exit_code_0_everywhere(folder: Path) -> None:
    write(folder, NEW)
    for option in ("--diff", "--check", "--stdout", "--annotate"):
        assert run(folder, "rl.toml", option).code == 0
    assert run(folder, "rl.toml", "--diff").out == ""
    assert run(folder, "rl.toml", "--stdout").out == NEW


def test_the_diff_can_be_applied(folder: Path) -> None:
    path = write(folder, OLD)
    diff = run(folder, "rl.toml", "--diff").out
    assert diff.startswith("--- a/rl.toml\n+++ b/rl.toml\n@@")
    subprocess.run(["git", "apply", "-"], input=diff.encode(), cwd=folder, check=True)
    assert path.read_text() == NEW


def test_the_new_text_goes_to_standard_output_alone(folder: Path) -> None:
    write(folder, PERSON)
    done = run(folder, "rl.toml", "--stdout")
    assert done.out.startswith("max_steps = 20\n")
    assert "migration-needs-person" in done.err
    write(folder, OLD, "other.toml")
    assert run(folder, "rl.toml", "other.toml", "--stdout").code == 2
    entries = report(folder, "rl.toml", "other.toml", "--stdout")["files"]
    assert entries[0]["text"] == NEW
    assert not any(entry["written"] for entry in entries)


def test_a_file_that_would_be_refused_stays_with_its_reasons(folder: Path) -> None:
    path = write(folder, REFUSED)
    document = report(folder, "rl.toml")
    (entry,) = document["files"]
    assert (entry["changed"], entry["written"]) == (False, False)
    assert document["summary"]["refused"] == 1
    (reason,) = entry["needs_person"]
    assert reason["id"] == "unknown-key"
    assert (reason["key"], reason["line"]) == ("orchestrator.batch_sise", 9)
    assert "no bundled release of prime-rl had one of that name" in reason["message"]
    assert path.read_text() == REFUSED
    assert run(folder, "rl.toml", "--partial").code == 1
    assert path.read_text() == NEW.replace("batch_size", "batch_sise")


def test_another_version_can_be_aimed_at_and_come_from(folder: Path) -> None:
    path = write(folder, OLD)
    # v0.6.0 still read the old names, so only who comes from v0.5.0 has something to change.
    assert run(folder, "rl.toml", "--to", "0.6").out.startswith("1 prime-rl config: 0 to change")
    assert run(folder, "rl.toml", "--from", "0.5", "--to", "0.6").code == 0
    assert "[[orchestrator.train.env]]" in path.read_text()
    assert "[wandb]" in path.read_text()
    assert run(folder, "rl.toml", "--from", "0.6", "--to", "v0.8.0").code == 0
    assert "[[orchestrator.train.source]]\nlegacy.id" in path.read_text()
    assert run(folder, "rl.toml").code == 0
    assert path.read_text() == NEW


def test_there_is_no_way_back(folder: Path) -> None:
    path = write(folder, NEW)
    done = run(folder, "rl.toml", "--to", "0.6")
    assert done.code == 1
    assert "there is no way back to v0.6.0" in done.out
    assert path.read_text() == NEW


def test_a_half_migrated_file_is_migrated_and_told(folder: Path) -> None:
    text = OLD.replace("[trainer]\n", "[trainer]\n\n[resume]\nstep = 5\n")
    path = write(folder, text)
    done = run(folder, "rl.toml")
    assert done.code == 0
    assert "mixed-versions: it mixes keys of different times (mixed: resume came with" in done.out
    assert path.read_text() == NEW.replace("[trainer]\n", "[trainer]\n\n[resume]\nstep = 5\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.toml"], "missing.toml: no such file or directory"),
        (["rl.toml", "--to", "0.1"], "no schema of prime-rl '0.1' is bundled"),
        (["rl.toml", "--from", "9"], "no schema of prime-rl '9' is bundled"),
        (["rl.toml", "--root", "vllm"], "prime-rl has no program 'vllm'"),
        (["rl.toml", "--format", "xml"], "'xml' is neither text nor json"),
        (["rl.toml", "--explain-upgrade", "0.8", "0.6"], "v0.6.0 is not after v0.8.0"),
    ],
)
def test_wrong_use_is_exit_code_2_and_one_line(
    folder: Path, arguments: list[str], message: str
) -> None:
    path = write(folder, OLD)
    done = run(folder, *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert path.read_text() == OLD


def test_broken_toml_is_left_and_told(folder: Path) -> None:
    path = write(folder, "[trainer\n")
    done = run(folder, "rl.toml")
    assert done.code == 1
    assert "rl.toml:1" in done.out
    assert "toml-syntax" in done.out
    assert path.read_text() == "[trainer\n"


def test_files_of_other_tools_are_none_of_its_business(folder: Path) -> None:
    write(folder, '[package]\nname = "x"\n', "Cargo.toml")
    write(folder, 'title = "A site"\n[params]\nwandb = 1\n', "site.toml")
    done = run(folder, ".")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("0 prime-rl configs")


HOSTED = """\
model = "Qwen/Qwen3-4B-Instruct-2507"
max_steps = 50
rollouts_per_example = 4
learning_rate = 1e-5  # slow

[sampling]
max_tokens = 512

[[env]]
id = "primeintellect/reverse-text"
"""


def test_a_hosted_config_is_left_alone_unless_it_is_to_be_turned_into_another(folder: Path) -> None:
    path = write(folder, HOSTED)
    (entry,) = report(folder, "rl.toml")["files"]
    assert (entry["root"], entry["changed"], entry["needs_person"]) == ("hosted", False, [])
    assert "hosted training is left as it is" in entry["notes"][0]["message"]
    assert path.read_text() == HOSTED
    assert run(folder, "rl.toml", "--from", "hosted").code == 0
    text = path.read_text()
    assert "group_size = 4" in text
    assert "lr = 1e-5  # slow" in text
    assert "batch_size = 128" in text
    assert is_accepted(path)


def test_old_defaults_can_be_kept(folder: Path) -> None:
    path = write(folder, OLD)
    assert run(folder, "rl.toml", "--from", "0.6", "--keep-behaviour").code == 0
    text = path.read_text()
    for line in ('type = "filesystem"', 'ac = "None"', "ep = 1", 'attn = "flash_attention_2"'):
        assert line in text
    assert is_accepted(path)


def test_what_an_upgrade_changes_without_an_error_is_explained(folder: Path) -> None:
    text = OLD.replace("[trainer]\n", "[trainer.model]\nep = 4\n")
    path = write(folder, text)
    done = run(folder, "--explain-upgrade", "0.6", "0.8", ".")
    assert (done.code, path.read_text()) == (0, text)
    lines = re.findall(r"^  (\S+) (\S+): (.*)$", done.out, re.MULTILINE)
    assert ("v0.7.0", "trainer.model.optim_cpu_offload", "false -> true") in lines
    assert ("v0.7.0", "weight_broadcast.type", "filesystem -> nccl") in lines
    assert ("v0.8.0", "trainer.model.attn", "flash_attention_2 -> auto") in lines
    # What the file sets itself does not change.
    assert "trainer.model.ep" not in {key for _, key, _ in lines}
    document = report(folder, "--explain-upgrade", "0.6", "0.8", ".")
    (entry,) = document["files"]
    assert len(entry["changes"]) == len(lines)


def test_a_file_that_is_newer_than_an_upgrade_has_nothing_left_to_change(folder: Path) -> None:
    write(folder, NEW)
    done = run(folder, "--explain-upgrade", "0.4", "0.8", "rl.toml")
    assert done.out.startswith("0 of 1 prime-rl configs")


def test_secrets_in_old_configs_are_not_shown(folder: Path) -> None:
    write(folder, PERSON.replace('split = "train"', 'api_key = "sk-1234567890abcdef"'))
    for arguments in (["--format", "json"], []):
        assert "sk-1234567890abcdef" not in run(folder, "rl.toml", "--check", *arguments).out


def overlays(folder: Path) -> None:
    """A project with a base, which is no whole config, and an overlay."""
    write(
        folder,
        dedent(
            """\
            [tool.pytest-prime-train]
            fragments = ["base.toml"]

            [tool.pytest-prime-train.overlays]
            "exp.toml" = ["base.toml"]
            """
        ),
        "pyproject.toml",
    )
    write(folder, '[wandb]\nproject = "x"\n\n[trainer]\n', "base.toml")
    write(folder, OLD.partition("[trainer]\n")[2].lstrip(), "exp.toml")


def test_an_overlay_and_its_base_are_written_together(folder: Path) -> None:
    overlays(folder)
    done = run(folder, "exp.toml")
    assert done.code == 0, done.out
    assert "[monitors.wandb]" in (folder / "base.toml").read_text()
    # It need not be a whole config itself.
    assert "[trainer]" not in (folder / "exp.toml").read_text()
    assert "[[orchestrator.train.source]]" in (folder / "exp.toml").read_text()


def test_neither_is_written_where_they_would_be_refused_together(folder: Path) -> None:
    overlays(folder)
    base, overlay = folder / "base.toml", folder / "exp.toml"
    overlay.write_text(overlay.read_text().replace("batch_size", "batch_sise"))
    before = base.read_text(), overlay.read_text()
    done = run(folder, "base.toml")
    assert done.code == 1
    assert "batch_sise" in done.out
    assert (base.read_text(), overlay.read_text()) == before


def test_a_file_that_pulls_in_another_is_judged_with_it(folder: Path) -> None:
    write(folder, OLD, "base.toml")
    path = write(folder, 'toml_files = ["base.toml"]\nseq_len = 128 # short\n', "short.toml")
    done = run(folder, "short.toml")
    assert done.code == 1
    assert "in this order: @ base.toml @ this file" in done.out
    assert path.read_text() == "seq_len = 128 # short\n"
    assert (folder / "base.toml").read_text() == NEW


def test_the_page_about_it_says_what_the_command_can() -> None:
    page = (ROOT / "docs" / "how-to" / "migrate-configs.md").read_text(encoding="utf-8")
    text = re.sub(r"\x1b\[[0-9;]*m", "", run(ROOT, "--help").out)
    options = set(re.findall(r"(--[a-z-]+)", text)) - {"--help", "--root"}
    assert options == set(re.findall(r"(--[a-z][a-z-]+)", page))
