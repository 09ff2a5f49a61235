"""Replacing a file: whole, with its permissions, and nowhere but where it is."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_prime_train.config.atomic import NotWritten, replace, work_tree

SCRIPTS = Path(sys.executable).parent
OLD = b"[wandb]\n[trainer]\n[orchestrator]\n"
NEW = b"[monitors.wandb]\n[trainer]\n[orchestrator]\n"


def migrate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / "prime-train", "migrate", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o2640])
def test_permissions_stay(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "rl.toml"
    path.write_bytes(OLD)
    path.chmod(mode)
    kept = stat.S_IMODE(path.stat().st_mode)
    replace(str(path), OLD, NEW)
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == kept
    assert os.listdir(tmp_path) == ["rl.toml"]


def test_what_somebody_else_has_written_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "rl.toml"
    path.write_bytes(b"another = 1\n")
    with pytest.raises(NotWritten, match="it has changed since it was read"):
        replace(str(path), OLD, NEW)
    assert path.read_bytes() == b"another = 1\n"
    assert os.listdir(tmp_path) == ["rl.toml"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.toml"
    target.write_bytes(OLD)
    link = tmp_path / "rl.toml"
    link.symlink_to(target)
    done = migrate(tmp_path, "rl.toml")
    assert done.returncode == 1
    assert "symbolic link" in done.stdout
    assert target.read_bytes() == OLD
    assert link.is_symlink()


def test_a_linked_folder_does_not_lead_out_of_the_repository(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "rl.toml").write_bytes(OLD)
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "configs").symlink_to(outside)
    done = migrate(project, "configs/rl.toml")
    assert done.returncode == 1
    assert "it lies outside" in done.stdout
    assert (outside / "rl.toml").read_bytes() == OLD


def test_the_folder_of_a_repository_is_its_top(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert work_tree(str(inner / "rl.toml")) == str(tmp_path)


def test_without_permission_nothing_is_written(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root may write anywhere; a folder without a file system behind it cannot be written.
        with pytest.raises(NotWritten, match="it cannot be written"):
            replace("/proc/self/missing.toml", OLD, NEW)
        return
    path = tmp_path / "rl.toml"
    path.write_bytes(OLD)
    path.chmod(0o444)
    with pytest.raises(NotWritten, match="permissions"):
        replace(str(path), OLD, NEW)
    assert path.read_bytes() == OLD


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """The file system takes no file of more than a few bytes, as a full one does."""
    path = tmp_path / "rl.toml"
    path.write_bytes(OLD)

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    # The limit also holds for what is printed, so that goes to pipes.
    done = subprocess.run(
        [SCRIPTS / "prime-train", "migrate", "rl.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1, done.stderr
    assert "it cannot be written: file too large" in done.stdout
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["rl.toml"]
