"""What the terminal says at the end of a run: files, findings by severity, hours at risk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import pytest

from pytest_prime_train.findings import SEVERITIES, Severity, at_least
from pytest_prime_train.pytest_options import SETTINGS
from pytest_prime_train.report.text import count, format_hours

TITLE = "prime-train"
"""Heading of the section."""

Properties: TypeAlias = list[tuple[str, Any]]


class Line(NamedTuple):
    """A finding as the reports of its item tell it, wherever the item ran."""

    file: str
    line: int
    column: int
    rule: str
    severity: Severity
    message: str
    hours_lost: float


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Write the findings that failed nothing, and the totals of everything that ran."""
    if terminalreporter.verbosity < 0 or config.option.no_summary:
        return
    properties = _properties_of_ours(terminalreporter)
    files = {value for pairs in properties for name, value in pairs if name == "file"}
    if not files:
        return
    settings = config.stash[SETTINGS]
    findings = sorted(line for pairs in properties for line in _lines(pairs))
    terminalreporter.write_sep("=", TITLE)
    for found in findings:
        is_shown = settings.show_infos or found.severity != "info"
        if is_shown and not at_least(found.severity, settings.fail_on):
            path = os.path.relpath(config.rootpath / found.file, config.invocation_params.dir)
            place = f"{path}:{found.line}:{found.column}"
            terminalreporter.write_line(f"{place}: {found.severity} {found.rule}: {found.message}")
    terminalreporter.write_line(_totals(len(files), findings, show_infos=settings.show_infos))


def _totals(files: int, findings: list[Line], *, show_infos: bool) -> str:
    numbers = {severity: 0 for severity in reversed(SEVERITIES)}
    for found in findings:
        numbers[found.severity] += 1
    hidden = 0 if show_infos else numbers.pop("info")
    parts = [count(number, severity) for severity, number in numbers.items() if number]
    totals = f"{count(files, 'file')}: {', '.join(parts) or 'no findings'}"
    hours = sum(found.hours_lost for found in findings)
    if hours:
        totals += f", about {format_hours(hours)} at risk"
    if hidden:
        totals += f" ({count(hidden, 'info')} not shown, see --prime-show-infos)"
    return totals


def _properties_of_ours(terminalreporter: pytest.TerminalReporter) -> list[Properties]:
    """The properties of each of our items that ran; of one that ran twice, the last."""
    found: dict[str, Properties] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call" and "prime_train" in report.keywords:
                found[report.nodeid] = report.user_properties
    return list(found.values())


def _lines(properties: Properties) -> Iterator[Line]:
    """The findings among the properties, each of which begins with its rule."""
    values: dict[str, Any] = {}
    for name, value in properties:
        if name == "rule":
            if "rule" in values:
                yield Line(**values)
            values = {}
        if name in Line._fields:
            values[name] = value
    if "rule" in values:
        yield Line(**values)
