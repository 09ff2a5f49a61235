"""What is known before a cent is spent: the verdict of every check, and this machine's facts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_prime_train.findings import UsageError
from pytest_prime_train.supervision.options import RunOptions

if TYPE_CHECKING:
    from pytest_prime_train.checker import Checker, FileReport
    from pytest_prime_train.config.resolve import Config

_PROJECT = "prime-rl"
GIB = 1 << 30


class Checked(NamedTuple):
    """A launch that has been looked at.

    Attributes:
        report: What every check says of it.
        config: The config as prime-rl will see it; ``None`` where prime-rl refuses it.
        root: Program that reads it.
        version: Version that judged.
        version_reason: Why that version.
        commit: Commit of the prime-rl that will be launched; empty where it is not known.
        notes: What is not known, or not as it should be, though it stops nothing.
    """

    report: FileReport
    config: Config | None
    root: str
    version: str
    version_reason: str
    commit: str
    notes: tuple[str, ...]

    @property
    def errors(self) -> int:
        """Findings of severity error."""
        return sum(finding.severity == "error" for finding in self.report.findings)


def check_launch(options: RunOptions) -> Checked:
    """Look at a launch with every check that pytest and the hooks make.

    Raises:
        UsageError: A file cannot be opened, or it cannot be told which program it is for.
    """
    from pytest_prime_train.checker import Checker, Options, find_files

    for path in options.configs:
        if os.path.isdir(path):
            raise UsageError(f"{path}: it is a directory; name the config of the run")
    find_files(options.configs)
    version, reason, commit = _version(options)
    checker = Checker(Options(root=options.root, version=version))
    report = _report(checker, options)
    if report.root is None:
        refusal = next(iter(report.findings), None)
        raise UsageError(
            f"{options.configs[0]}: {refusal.message if refusal else report.root_reason}"
        )
    config = _config(checker, options, report)
    notes = []
    if config is not None and config.get("slurm") is not None:
        raise UsageError(
            f"{options.configs[0]}: with [slurm] prime-rl only submits a job and returns at once; "
            "run this within the job, without [slurm]"
        )
    if not _gpus():
        notes.append("unknown: whether the GPUs are enough, because none is visible here")
    if shutil.which(options.command[0]) is None:
        notes.append(f"unknown: whether it starts, because there is no {options.command[0]} here")
    return Checked(
        report,
        config,
        report.root,
        report.version or checker.schema.version,
        reason or report.version_reason,
        commit,
        tuple(notes),
    )


def _report(checker: Checker, options: RunOptions) -> FileReport:
    if len(options.configs) == 1 and not options.overrides:
        return checker.check_file(options.configs[0])
    return checker.check_composed(_layers(options), options.configs[0])


def _layers(options: RunOptions) -> list[str]:
    layered: list[str] = []
    for path in options.configs:
        layered += ["@", path]
    return layered + list(options.overrides)


def _config(checker: Checker, options: RunOptions, report: FileReport) -> Config | None:
    from pytest_prime_train.config.document import read
    from pytest_prime_train.config.resolve import Config

    root = report.root
    if root is None or root not in checker.schema.roots:
        return None
    if len(options.configs) == 1 and not options.overrides:
        document = read(options.configs[0])
        data: dict[str, Any] | None = None if document.error is not None else document.data
    else:
        from pytest_prime_train.composed import data_of_line

        data = data_of_line(checker, _layers(options), root)
    return None if data is None else Config(data, root, checker.schema)


def _version(options: RunOptions) -> tuple[str | None, str, str]:
    """The version that judges, why, and the commit that will be launched."""
    if options.version is not None:
        return options.version, "", ""
    checkout = _checkout()
    if checkout is not None:
        from pytest_prime_train.config.pinned import identify

        commit = _head(checkout)
        if commit:
            found = identify(commit)
            if found.version:
                return found.version, f"{checkout} is at {commit[:12]}", commit
    return None, "", ""


def _checkout() -> Path | None:
    """The checkout of prime-rl that ``uv run`` would use here."""
    folder = Path.cwd()
    for candidate in (folder, *folder.parents):
        project = candidate / "pyproject.toml"
        if project.is_file():
            import tomllib

            try:
                data = tomllib.loads(project.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return None
            name = data.get("project", {})
            is_it = isinstance(name, dict) and name.get("name") == _PROJECT
            return candidate if is_it else None
    return None


def _head(checkout: Path) -> str:
    """The commit that is checked out; empty where that cannot be told."""
    import subprocess

    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _gpus() -> list[str]:
    """NVIDIA devices of this machine; empty where there are none, or none can be seen."""
    try:
        names = os.listdir("/dev")
    except OSError:
        return []
    return sorted(name for name in names if name.startswith("nvidia") and name[6:].isdigit())


def text_of(report: FileReport, *, color: bool) -> str:
    """Findings as every other face shows them; infos are left out."""
    from pytest_prime_train.report.text import render_finding

    shown: Sequence[Any] = [one for one in report.findings if one.severity != "info"]
    return "".join(
        render_finding(finding, report.text_of(finding), color=color) + "\n\n" for finding in shown
    )
