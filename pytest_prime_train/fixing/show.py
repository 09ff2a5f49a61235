"""What was fixed, and what was not and why, in words and as a diff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import unified_diff
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Finding
from pytest_prime_train.fixing.engine import Fixed
from pytest_prime_train.report.console import clean
from pytest_prime_train.report.secrets import conceal
from pytest_prime_train.report.text import count

if TYPE_CHECKING:
    from pytest_prime_train.fixing.files import Outcome


def render_diff(fixed: Fixed) -> str:
    """The change of a text as a unified diff; empty where there is none."""
    old = fixed.before.splitlines(keepends=True)
    new = fixed.after.splitlines(keepends=True)
    path = clean(fixed.path)
    lines = []
    for line in unified_diff(old, new, f"a/{path}", f"b/{path}"):
        lines.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(lines)


def render_outcomes(outcomes: Sequence[Outcome], *, is_diff: bool) -> str:
    """A line for every finding that was fixed or could not be, and a summary; empty for none."""
    lines: list[str] = []
    for one in outcomes:
        lines += _lines_of(one, is_diff=is_diff)
    cured = sum(len(one.fixed.cured) for one in outcomes)
    unsafe = sum(refused.is_unsafe for one in outcomes for refused in one.fixed.refused)
    files = sum(one.fixed.changed for one in outcomes)
    if cured:
        verb = "can be fixed" if is_diff else "fixed"
        lines.append(f"{count(cured, 'finding')} {verb} in {count(files, 'file')}")
    if unsafe:
        lines.append(f"{count(unsafe, 'finding')} more with --unsafe-fixes")
    return "".join(f"{line}\n" for line in lines)


def _lines_of(one: Outcome, *, is_diff: bool) -> Iterator[str]:
    word = "to fix" if is_diff else "fixed"
    for finding in one.fixed.cured:
        yield f"{word}: {_named(finding, one.fixed.before)}: {_shown(finding, one.fixed.before)}"
    for refused in one.fixed.refused:
        if not refused.is_unsafe:
            yield f"not fixed: {_named(refused.finding, one.fixed.after)}: {clean(refused.reason)}"
    if one.failure:
        yield f"not written: {clean(one.fixed.path)}: {clean(one.failure)}"


def _named(finding: Finding, text: str) -> str:
    return f"{clean(str(finding.location))}: {finding.id}"


def _shown(finding: Finding, text: str) -> str:
    """What was written, or what was found where old keys became new ones."""
    said = finding.recommendation or finding.message
    return clean(conceal(said, finding.key, finding.location.line, text))
