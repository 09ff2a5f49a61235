"""Findings as JUnit XML, which most CI servers read: a test case for each finding.

Format: the xunit2 schema that Jenkins reads, as pytest writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from pytest_prime_train.findings import Finding, Severity, at_least
from pytest_prime_train.report.console import clean
from pytest_prime_train.report.secrets import conceal
from pytest_prime_train.reports import FileReport

SUITE = "prime-train"
"""Name of the test suite, and of the case of a file without findings."""


def render_junit(reports: Sequence[FileReport], fail_on: Severity) -> str:
    """A document without times and host names, so that equal findings make equal files; no last
    newline.

    Args:
        reports: What was found; files that are not prime-rl's and have no findings are left out.
        fail_on: Mildest severity that makes a case fail; others pass, and say what was found.
    """
    cases = [case for report in reports for case in _cases(report, fail_on)]
    failures = sum(
        at_least(finding.severity, fail_on) for report in reports for finding in report.findings
    )
    numbers = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="0"'
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<testsuites name="{SUITE}">',
        f'<testsuite name="{SUITE}" {numbers}>',
        *cases,
        "</testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines)


def _cases(report: FileReport, fail_on: Severity) -> Iterator[str]:
    if not report.findings and report.root is not None:
        yield f"<testcase classname={_attribute(report.path)} name={_attribute(SUITE)}/>"
    for finding in report.findings:
        yield _case(report, finding, fail_on)


def _case(report: FileReport, finding: Finding, fail_on: Severity) -> str:
    text = report.text_of(finding)
    line = finding.location.line
    message = clean(conceal(finding.message, finding.key, line, text))
    parts = [f"{clean(str(finding.location))}: {finding.severity} {finding.id}: {message}"]
    for label, said in (("why", finding.why), ("fix", finding.recommendation)):
        if said:
            parts.append(f"{label}: {clean(conceal(said, finding.key, line, text))}")
    body = escape("\n".join(parts))
    head = (
        f"<testcase classname={_attribute(report.path)} "
        f"name={_attribute(f'{finding.id} {finding.key}'.rstrip())}>"
    )
    if at_least(finding.severity, fail_on):
        inside = (
            f"<failure type={_attribute(finding.id)} message={_attribute(message)}>{body}</failure>"
        )
    else:
        inside = f"<system-out>{body}</system-out>"
    return f"{head}{inside}</testcase>"


def _attribute(text: str) -> str:
    return quoteattr(clean(text))
