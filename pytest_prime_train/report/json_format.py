"""Findings for programs: one JSON document, stable from the first release."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pytest_prime_train.checker import FileReport
from pytest_prime_train.findings import Finding
from pytest_prime_train.report.secrets import conceal
from pytest_prime_train.report.totals import Totals

VERSION = 1
"""Version of the document; it grows only when a name changes its meaning or goes away."""


def render_json(
    reports: Sequence[FileReport],
    *,
    fixes: Mapping[Finding, str] = MappingProxyType({}),
    fixed: Mapping[str, Sequence[Finding]] = MappingProxyType({}),
) -> str:
    """The document, with infos whatever is asked for elsewhere; ASCII only, no last newline.

    Args:
        reports: What was found.
        fixes: Findings that a fix cures, each with ``safe`` or ``unsafe``.
        fixed: Path -> what was found in a file before it was fixed.
    """
    totals = Totals.of(reports)
    document = {
        "version": VERSION,
        "files": [
            {
                "path": report.path,
                "root": report.root,
                "prime_rl_version": report.version or None,
                "findings": [
                    finding_document(one, report.text_of(one), fixes.get(one, ""))
                    for one in report.findings
                ],
                **({"unknown": dict(report.unknown)} if report.unknown else {}),
                **_passed(report, fixed.get(report.path, ())),
            }
            for report in reports
        ],
        "summary": totals._asdict(),
    }
    return json.dumps(document, indent=2)


def _passed(report: FileReport, fixed: Sequence[Finding]) -> dict[str, Any]:
    """What is not counted as found, where there is such a thing."""
    kinds = {"suppressed": report.suppressed, "baselined": report.baselined, "fixed": fixed}
    return {
        name: [{"id": one.id, "line": one.location.line, "key": one.key} for one in found]
        for name, found in kinds.items()
        if found
    }


def finding_document(finding: Finding, text: str, fix: str = "") -> dict[str, Any]:
    """One finding.

    Args:
        finding: What to show.
        text: The text that it is about.
        fix: ``safe`` or ``unsafe`` where a fix cures it; empty where none does.
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
        "fixable": bool(fix),
        "fix_safety": fix or None,
        "docs": finding.docs,
    }
