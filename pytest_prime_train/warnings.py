"""What the pytest plugin warns with."""

from __future__ import annotations

import pytest


class PrimeConfigWarning(pytest.PytestWarning):
    """A finding below the severity that fails an item.

    With ``-W error::pytest_prime_train.warnings.PrimeConfigWarning`` it fails the item after all.
    """
