"""``prime-rl-migrate`` in real commits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_hooks import Repository

SCRIPTS = Path(sys.executable).parent
OLD = "max_steps = 5\n\n[wandb]  # ours\n\n[trainer]\n\n[orchestrator]\nbatch_size = 8\n"
NEW = OLD.replace("[wandb]", "[monitors.wandb]")
REFUSED = OLD.replace("batch_size", "batch_sise")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with the hook of this environment."""
    found = Repository(tmp_path / "repo", tmp_path / "pre-commit")
    config = f"""
        repos:
        - repo: local
          hooks:
          - id: prime-rl-migrate
            name: migrate prime-rl configs
            entry: '{SCRIPTS / "prime-rl-migrate"}'
            language: system
            types: [toml]
            require_serial: true
        """
    found.write(".pre-commit-config.yaml", config)
    done = found.run(SCRIPTS / "pre-commit", "install")
    assert done.returncode == 0, done.stdout
    return found


def test_an_old_config_is_rewritten_and_can_be_committed_then(repository: Repository) -> None:
    path = repository.write("configs/rl.toml", OLD)
    done = repository.commit("configs")
    assert done.returncode == 1
    assert "configs/rl.toml: rewritten from prime-rl v0.8.0" in done.stdout
    assert "files were modified by this hook" in done.stdout
    assert path.read_text() == NEW
    assert repository.commits() == 0
    assert repository.commit("configs").returncode == 0
    assert repository.git("show", "HEAD:configs/rl.toml") == NEW


def test_what_is_up_to_date_or_of_other_tools_is_committed_without_a_word(
    repository: Repository,
) -> None:
    repository.write("rl.toml", NEW)
    repository.write("Cargo.toml", '[package]\nname = "x"\n')
    repository.write("site.toml", 'wandb = "a page"\n')
    done = repository.commit("rl.toml", "Cargo.toml", "site.toml")
    assert done.returncode == 0, done.stdout
    assert "Passed" in done.stdout


def test_what_cannot_be_migrated_is_told_and_left(repository: Repository) -> None:
    path = repository.write("rl.toml", REFUSED)
    done = repository.commit("rl.toml")
    assert done.returncode == 1
    assert "rl.toml: left as it is" in done.stdout
    assert "batch_sise" in done.stdout
    assert path.read_text() == REFUSED


def test_work_that_is_not_staged_is_kept(repository: Repository) -> None:
    repository.write("rl.toml", NEW)
    repository.write("notes.toml", "a = 1\n")
    assert repository.commit("rl.toml", "notes.toml").returncode == 0
    # One half of the file is staged, the other is still being worked on.
    staged = NEW.replace("[monitors.wandb]", "[wandb]")
    path = repository.write("rl.toml", staged)
    repository.git("add", "rl.toml")
    path.write_text(staged.replace("batch_size = 8", "batch_size = 8\nseq_len = 64"))
    other = repository.write("notes.toml", "a = 2\n")
    done = repository.run("git", "commit", "--quiet", "-m", "Half")
    assert done.returncode == 1, done.stdout
    assert "seq_len = 64" in path.read_text()
    assert other.read_text() == "a = 2\n"


def test_the_hook_takes_options_and_explains_wrong_ones(tmp_path: Path) -> None:
    path = tmp_path / "rl.toml"
    path.write_text(OLD)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPTS / "prime-rl-migrate", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )

    assert run().returncode == 0
    assert run("rl.toml", "--to", "0.8").returncode == 0
    assert path.read_text() == OLD
    done = run("rl.toml", "--too", "0.8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "prime-rl-migrate: unrecognized arguments: --too 0.8 (try prime-rl-migrate --help)\n"
    )
    done = run("missing.toml")
    assert (done.returncode, done.stderr) == (
        2,
        "prime-rl-migrate: missing.toml: no such file or directory\n",
    )
    assert run("rl.toml").returncode == 1
    assert path.read_text() == NEW
