"""The verdict against torch itself: real distributed saves, killed and spoiled."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from conftest import ROOT

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None, reason="the extra meta is not installed (torch)"
)


def test_complete_means_that_torch_resumes() -> None:
    """A slice of the long campaign in benchmarks/checkpoint_faults.py."""
    done = subprocess.run(
        [
            sys.executable, ROOT / "benchmarks/checkpoint_faults.py",
            "--kills", "10", "--hand", "18", "--format", "json",
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["wrong"] == []
    assert result["torch_failed_on_complete"] == 0
    assert (result["kills"], result["by_hand"]) == (10, 18)
    assert done.returncode == 0
