"""The history of a machine: what is kept, found, compared and written again."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_prime_train.findings import UsageError
from pytest_prime_train.history import database
from pytest_prime_train.history.cutting import cut, fill, holes_in
from pytest_prime_train.history.database import MIGRATIONS, opened, transaction
from pytest_prime_train.history.entries import Draft, add, find, listed
from pytest_prime_train.history.recorder import HistoryRecorder
from pytest_prime_train.supervision.recording import AttemptEnd, RunEnd, RunStart

CANARY = "sk-canary0123456789abcdefghij"
OTHER_CANARY = "plain-canary-without-a-form"
CONFIG = f"""\
max_steps = 20

[model]
name = "Qwen/Qwen3-0.6B"  # small

[ckpt]
interval = 5

[trainer]

[orchestrator]
batch_size = 64
group_size = 8

[[orchestrator.train.source]]
env.taskset.id = "reverse-text"

[env_vars]
WANDB_API_KEY = "{OTHER_CANARY}"
NAME = "{CANARY}"

[inference]
"""


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Machine:
    """A machine with a history of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config = folder / "rl.toml"
        self.config.write_text(CONFIG)

    def run(self, *arguments: str, **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-c",
             "import sys; from pytest_prime_train.cli import main; sys.exit(main(sys.argv[1:]))",
             *arguments],
            cwd=self.folder,
            env={**os.environ, "XDG_STATE_HOME": str(self.state), **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--format", "json").out)

    @property
    def database(self) -> Path:
        return self.state / "prime-train" / "history.sqlite3"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_config_is_kept_found_tagged_and_shown(machine: Machine) -> None:
    assert machine.run("config", "save", "rl.toml", "--note", "first try").out == "kept as 1\n"
    assert machine.run("config", "tag", "1", "good").code == 0
    entry = machine.json("config", "show", "good")["entry"]
    assert (entry["kind"], entry["root"], entry["tags"]) == ("saved", "rl", ["good"])
    assert entry["note"] == "first try"
    for words in ("first", "good", "reverse-text", "rl.toml"):
        (found,) = machine.json("config", "search", words)["entries"]
        assert found["id"] == 1
    assert machine.json("config", "search", "100%")["entries"] == []
    assert machine.run("config", "tag", "1", "good", "--delete").code == 0
    assert machine.run("config", "show", "good").code == 2


def test_what_means_something_else_is_told_with_defaults(machine: Machine) -> None:
    machine.run("config", "save", "rl.toml")
    text = CONFIG.replace("interval = 5", "interval = 5.0").replace("max_steps = 20\n", "")
    machine.config.write_text(text.replace("group_size = 8", "group_size = 1"))
    result = machine.run("config", "diff", "1", "rl.toml", "--text")
    assert result.code == 1
    lines = result.out.splitlines()
    assert "max_steps: 20 -> none" in lines
    assert "orchestrator.group_size: 8 -> 1" in lines
    assert "-group_size = 8" in lines
    machine.config.write_text("# a comment changes nothing\n" + CONFIG)
    result = machine.run("config", "diff", "1", "rl.toml")
    assert (result.code, result.out) == (0, "both mean the same\n")


def test_a_value_that_is_the_default_is_compared_with_a_key_left_out(machine: Machine) -> None:
    machine.run("config", "save", "rl.toml")
    machine.config.write_text(CONFIG + "[trainer.optim]\nlr = 1e-6\n")
    assert machine.run("config", "diff", "1", "rl.toml").code == 0
    machine.config.write_text(CONFIG + "[trainer.optim]\nlr = 1e-5\n")
    result = machine.run("config", "diff", "1", "rl.toml")
    assert result.out == "trainer.optim.lr: 1e-06 -> 1e-05 (was the default)\n"


def test_defaults_that_changed_between_versions_are_told(machine: Machine) -> None:
    machine.config.write_text('[model]\nname = "a/b"\n[data]\ntype = "fake"\n')
    for version in ("0.6", "0.8"):
        assert machine.run("config", "save", "rl.toml", "--prime-rl-version", version).code == 0
    result = machine.run("config", "diff", "1", "2")
    assert "model.attn" in result.out
    assert "(the default changed)" in result.out


def test_restoring_asks_for_every_secret_and_for_leave_to_replace(machine: Machine) -> None:
    machine.run("config", "save", "rl.toml")
    machine.config.unlink()
    result = machine.run("config", "restore", "1")
    assert result.code == 2
    assert "--set env_vars." in result.err
    assert not machine.config.exists()
    sets = ("--set", "env_vars.WANDB_API_KEY=env:ONE", "--set", "NAME=env:TWO")
    secrets = {"ONE": OTHER_CANARY, "TWO": CANARY}
    assert machine.run("config", "restore", "1", *sets, **secrets).code == 0
    assert machine.config.read_text() == CONFIG
    changed = CONFIG.replace("interval = 5", "interval = 6")
    machine.config.write_text(changed)
    result = machine.run("config", "restore", "1")
    assert result.code == 2
    assert "--force" in result.err
    assert machine.config.read_text() == changed
    # The secrets of the file of today are kept.
    assert machine.run("config", "restore", "1", "--force").code == 0
    assert machine.config.read_text() == CONFIG
    assert machine.run("config", "restore", "1").out.endswith("is as it was\n")


@pytest.mark.parametrize("setting", ["KEY", "KEY=value", "=env:X", "KEY=env:NOT_SET_ANYWHERE"])
def test_a_secret_is_taken_from_a_variable_alone(machine: Machine, setting: str) -> None:
    machine.run("config", "save", "rl.toml")
    result = machine.run("config", "restore", "1", "--set", setting)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1


def test_the_database_is_for_its_user_alone(machine: Machine) -> None:
    machine.run("config", "save", "rl.toml")
    for path in machine.database.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def kept(machine: Machine) -> bytes:
    return b"".join(path.read_bytes() for path in machine.database.parent.iterdir())


def test_no_secret_is_kept_or_shown(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", OTHER_CANARY)
    recorder = HistoryRecorder(machine.database)
    recorder.run_started(
        RunStart(
            "math", machine.folder, (str(machine.config),),
            ("--env-vars.OTHER_TOKEN", OTHER_CANARY, f"--wandb.api-key={CANARY}"),
            ("uv", "run", "rl", "--api-key", OTHER_CANARY), "rl", "main-2026-08-21", "",
            ({"id": "x", "message": f"the key is {CANARY}"},), tomllib.loads(CONFIG),
        )
    )  # fmt: skip
    recorder.attempt_started(1, None)
    detail = f"AuthError: bad token {OTHER_CANARY} for https://me:{CANARY}@example.com"
    recorder.attempt_ended(AttemptEnd(1, 0, 3, 1.0, "config", detail, 1))
    recorder.run_ended(RunEnd(10, "config", 3, 0, None, 1.0))
    machine.run("config", "save", "rl.toml", "--note", f"with {CANARY}", "--tag", "t")
    shown = ""
    for arguments in (
        ("status",), ("config", "list"), ("config", "show", "1"), ("config", "show", "2"),
        ("config", "diff", "1", "2", "--text", "--run"), ("config", "diff", "1", "rl.toml"),
        ("config", "search", "AuthError"), ("config", "restore", "2", "--stdout"),
    ):  # fmt: skip
        for format in ((), ("--format", "json")):
            result = machine.run(*arguments, *format)
            shown += result.out + result.err
    assert "AuthError: bad token ***" in shown
    for secret in (CANARY, OTHER_CANARY):
        assert secret not in shown
        assert secret.encode() not in kept(machine)


def test_a_run_is_kept_with_what_came_of_it(machine: Machine) -> None:
    recorder = HistoryRecorder(machine.database)
    start = RunStart(
        "math", machine.folder / "outputs", (str(machine.config),), (), ("rl",), "rl",
        "main-2026-08-21", "", (), tomllib.loads(CONFIG),
    )  # fmt: skip
    recorder.run_started(start)
    (entry,) = machine.json("status")["runs"]
    assert (entry["run"], entry["state"], entry["attempts"]) == ("math", "running", 0)
    recorder.attempt_started(1, None)
    recorder.checkpoint(5, "complete")
    recorder.checkpoint(5, "backed-up")
    recorder.checkpoint(10, "complete")
    recorder.attempt_ended(AttemptEnd(1, 0, 12, 60.0, "hardware", "NCCL error", 1))
    recorder.attempt_started(2, 10)
    recorder.attempt_ended(AttemptEnd(2, 10, 20, 60.0, "finished", "", 0))
    recorder.run_ended(RunEnd(0, "finished", 20, 2, 3.5, 120.0))
    (entry,) = machine.json("status")["runs"]
    assert (entry["state"], entry["outcome"], entry["attempts"]) == ("ended", "finished", 2)
    assert (entry["complete"], entry["backed_up"], entry["cost_usd"]) == (10, 5, 3.5)
    assert "finished, 2 launches, step 20, checkpoint 10, $3.50" in machine.run("status").out
    came = machine.json("config", "diff", "1", "rl.toml", "--run")["outcomes"]
    assert came[0]["lost_steps"] == 2


def test_a_run_whose_runner_was_killed_is_told_to_be_dead(machine: Machine) -> None:
    with opened(machine.database) as connection:
        add(
            connection,
            Draft("launched", (str(machine.config),), "rl", "main-2026-08-21", {}, run="math",
                  pid=2**22 - 3, pid_started=1.0),
        )  # fmt: skip
    assert "died" in machine.run("status").out


def test_a_file_of_the_first_version_is_brought_up_to_date(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(machine.database) as connection:
        draft = Draft("saved", (str(machine.config),), "rl", "main-2026-08-21", {})
        add(connection, draft)
    later = (
        *MIGRATIONS,
        "ALTER TABLE entries ADD COLUMN mood TEXT; CREATE INDEX m ON entries(mood)",
    )
    monkeypatch.setattr(database, "MIGRATIONS", later)
    with opened(machine.database) as connection:
        assert [entry.id for entry in listed(connection)] == [1]
        assert connection.execute("SELECT mood FROM entries").fetchall() == [(None,)]
    monkeypatch.undo()
    result = machine.run("config", "list")
    assert result.code == 2
    assert "newer version of this package" in result.err


@pytest.mark.parametrize(
    "content", [b"", b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 200]
)
def test_a_damaged_database_is_one_sentence(machine: Machine, content: bytes) -> None:
    machine.database.parent.mkdir(parents=True)
    machine.database.write_bytes(content)
    result = machine.run("config", "list")
    if content:
        assert result.code == 2
        assert len(result.err.splitlines()) == 1
    else:
        assert (result.code, result.out) == (0, "nothing is kept\n")


def _write_for_ever(path: Path, config: str, ready: Any) -> None:
    draft = Draft("saved", (config,), "rl", "main-2026-08-21", {}, note="written")
    with opened(path) as connection:
        while True:
            ready.send(add(connection, draft))


def test_what_was_acknowledged_survives_the_death_of_its_writer(machine: Machine) -> None:
    context = multiprocessing.get_context("spawn")
    acknowledged: set[int] = set()
    for _ in range(3):
        pairs = [context.Pipe(duplex=False) for _ in range(3)]
        writers = [
            context.Process(
                target=_write_for_ever, args=(machine.database, str(machine.config), sender)
            )
            for _, sender in pairs
        ]
        for writer in writers:
            writer.start()
        for receiver, _ in pairs:
            for _ in range(5):
                acknowledged.add(receiver.recv())
        for writer in writers:
            assert writer.pid is not None
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
        for receiver, sender in pairs:
            sender.close()
            while receiver.poll():
                try:
                    acknowledged.add(receiver.recv())
                except EOFError:
                    break
    with opened(machine.database) as connection:
        assert acknowledged <= {entry.id for entry in listed(connection)}
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_full_or_forbidden_place_does_not_stop_a_run(tmp_path: Path) -> None:
    config = tmp_path / "rl.toml"
    config.write_text(CONFIG)
    said: list[str] = []
    blocked = tmp_path / "file"
    blocked.touch()
    recorder = HistoryRecorder(blocked / "history.sqlite3", said.append)
    recorder.run_started(
        RunStart("m", tmp_path, (str(config),), (), (), "rl", "main-2026-08-21", "", (), {})
    )
    recorder.attempt_started(1, None)
    recorder.run_ended(RunEnd(0, "finished", 1, 0, None, 1.0))
    assert len(said) == 1
    assert "not kept in the history" in said[0]


def test_a_name_is_a_number_a_tag_a_run_or_a_file(machine: Machine) -> None:
    with opened(machine.database) as connection:
        for run in ("a", "b", "a"):
            add(connection, Draft("launched", (str(machine.config),), "rl", "v", {}, run=run))
        with transaction(connection):
            connection.execute("INSERT INTO tags VALUES (2, 'best')")
        assert find(connection, "1").id == 1
        assert find(connection, "best").id == 2
        assert find(connection, "a").id == 3
        assert find(connection, str(machine.config)).id == 3
        with pytest.raises(UsageError, match="nothing in the history"):
            find(connection, "c")


SECRET_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="\"'\\"),
    min_size=4,
    max_size=40,
).filter(lambda text: text == text.strip() and "{{cut:" not in text)


@given(SECRET_TEXT, st.sampled_from(["api_key", "hf_token", "password", '"auth.key"']))
def test_what_is_cut_out_can_be_put_back(secret: str, key: str) -> None:
    text = f'a = 1\n[env]\n{key} = "{secret}"  # keep\nb = [1]\n'
    found = cut(text)
    assert secret not in found.text or secret in text.replace(f'"{secret}"', "")
    assert len(found.holes) == 1
    assert tomllib.loads(found.text)["a"] == 1
    assert fill(found.text, {found.holes[0].number: secret}) == text
    assert holes_in(fill(found.text, {})) == [1]


@given(st.text(max_size=300))
def test_cutting_never_fails(text: str) -> None:
    found = cut(text)
    assert len(found.holes) == len(set(holes_in(found.text)))
