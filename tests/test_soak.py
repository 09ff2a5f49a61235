"""A few runs of the long soak: random faults, and nothing may be lost by them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
from soak import soak


@pytest.mark.parametrize("seed", [101, 102, 103, 104, 105, 106])
def test_random_faults_lose_nothing(seed: int, tmp_path: Path) -> None:
    faults, problem = soak(seed, tmp_path)
    assert problem == "", faults
