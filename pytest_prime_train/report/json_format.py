"""Findings for programs: one JSON document, stable from the first release."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_prime_train.checker import FileReport
from pytest_prime_train.findings import Finding
from pytest_prime_train.report.secrets import conceal
from pytest_prime_train.report.totals import Totals

VERSION = 1
"""Version of the document; it grows only when a name changes its meaning or goes away."""


def render_json(reports: Sequence[FileReport]) -> str:
    """The document, with infos whatever is asked for elsewhere; ASCII only, no last newline."""
    totals = Totals.of(reports)
    document = {
        "version": VERSION,
        "files": [
            {
                "path": report.path,
                "root": report.root,
                "prime_rl_version": report.version or None,
                "findings": [finding_document(one, report.text_of(one)) for one in report.findings],
            }
            for report in reports
        ],
        "summary": totals._asdict(),
    }
    return json.dumps(document, indent=2)


def finding_document(finding: Finding, text: str) -> dict[str, Any]:
    """One finding.

    Args:
        finding: What to show.
        text: The text that it is about.
    """
    line = finding.location.line
    return {
        "id": finding.id,
        "severity": finding.severity,
        "message": conceal(finding.message, finding.key, line, text),
        "path": finding.location.path,
        "line": line,
        "column": finding.location.column,
        "key": finding.key,
        "recommendation": conceal(finding.recommendation, finding.key, line, text),
        "hours_lost": finding.hours_lost,
        "fixable": False,
        "docs": finding.docs,
    }
