"""Running the command line inside the test's own process, which is quick; see test_cli.py for it
as a process of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conftest import ROOT
from pytest_prime_train.cli import main

GOOD = (ROOT / "examples" / "sft.toml").read_text(encoding="utf-8")
"""A config without findings."""

MISSPELT = GOOD.replace("max_steps", "max_stepz")
"""The same with an unknown key, which can be guessed."""


class Done(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on standard output."""
        return json.loads(self.out)

    @property
    def ids(self) -> list[str]:
        """The ids of all findings in the document, file by file."""
        return [one["id"] for file in self.json["files"] for one in file["findings"]]


Run = Callable[..., Done]


def runner(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """What runs ``prime-train`` in a folder, with a text on standard input if one is given."""
    monkeypatch.chdir(folder)
    for variable in ("SELECT", "IGNORE", "BASELINE", "RL_VERSION"):
        monkeypatch.delenv(f"PRIME_TRAIN_{variable}", raising=False)

    def run(*arguments: str, stdin: bytes = b"") -> Done:
        stream = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
        monkeypatch.setattr("sys.stdin", stream)
        capsys.readouterr()
        code = main(list(arguments))
        return Done(code, *capsys.readouterr())

    return run
