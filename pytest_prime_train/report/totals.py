"""The figures that sum up a check, the same in every format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from pytest_prime_train.checker import FileReport


class Totals(NamedTuple):
    """Findings by severity over a number of files.

    Attributes:
        files: Files that were looked at, prime-rl's or not.
        errors: Findings of severity ``error``.
        warnings: Findings of severity ``warning``.
        infos: Findings of severity ``info``.
        hours_at_risk: Sum of the hours that the findings may cost.
    """

    files: int
    errors: int
    warnings: int
    infos: int
    hours_at_risk: float

    @classmethod
    def of(cls, reports: Iterable[FileReport]) -> Totals:
        """Count what the reports found."""
        files = 0
        hours = 0.0
        severities: Counter[str] = Counter()
        for report in reports:
            files += 1
            severities.update(finding.severity for finding in report.findings)
            hours += sum(finding.hours_lost for finding in report.findings)
        return cls(
            files=files,
            errors=severities["error"],
            warnings=severities["warning"],
            infos=severities["info"],
            hours_at_risk=round(hours, 2),
        )
