"""Findings as the workflow commands of GitHub Actions, which show them at the lines of a change.

Format: GitHub Docs, Workflow commands for GitHub Actions, "Setting an error message".
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_prime_train.findings import Finding, Severity
from pytest_prime_train.report.console import clean
from pytest_prime_train.report.secrets import conceal
from pytest_prime_train.reports import FileReport

_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}


def render_github(reports: Sequence[FileReport]) -> str:
    """A line for each finding; no last newline."""
    return "\n".join(
        _line(finding, report.text_of(finding)) for report in reports for finding in report.findings
    )


def _line(finding: Finding, text: str) -> str:
    place = finding.location
    line = place.line
    properties = {"file": place.path, "line": str(line), "col": str(place.column)}
    if place.end_line == line:
        # The last column counts in, unlike in a finding.
        properties["endColumn"] = str(max(place.end_column - 1, place.column))
    properties["endLine"] = str(place.end_line)
    properties["title"] = finding.id
    parts = [conceal(finding.message, finding.key, line, text)]
    if finding.recommendation:
        parts.append(conceal(finding.recommendation, finding.key, line, text))
    shown = ",".join(f"{name}={_property(clean(value))}" for name, value in properties.items())
    message = "\n".join(clean(part) for part in parts)
    return f"::{_COMMANDS[finding.severity]} {shown}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
