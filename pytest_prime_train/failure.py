"""How a failing item looks: its findings, and no traceback.

pytest has no public class for that. These private ones, unchanged since pytest 7, also carry the
headline into the short summary, into junit files and through xdist, which a plain string does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from _pytest._code.code import ReprExceptionInfo, ReprFileLocation, ReprTracebackNative
from _pytest._io import TerminalWriter

from pytest_prime_train.findings import Finding
from pytest_prime_train.report.text import render_finding, render_headline


class FindingsRepr(ReprExceptionInfo):
    """Findings, in colours where the terminal has them.

    Attributes:
        colored: What a terminal with colours is shown.
    """

    colored: str

    def toterminal(self, tw: TerminalWriter) -> None:
        """Write the findings."""
        if tw.hasmarkup:
            tw.line(self.colored)
        else:
            super().toterminal(tw)


def represent(findings: Sequence[Finding], texts: Sequence[str], path: str) -> FindingsRepr:
    """What pytest shows for findings.

    Args:
        findings: At least one.
        texts: Of each the whole text that it is about.
        path: The file they are about, absolute.
    """
    headline = render_headline(findings[0], texts[0])
    more = len(findings) - 1
    if more:
        headline += f" (and {more} more)"
    shown = FindingsRepr(
        reprtraceback=ReprTracebackNative([_render(findings, texts, color=False) + "\n"]),
        reprcrash=ReprFileLocation(path, findings[0].location.line, headline),
    )
    shown.colored = _render(findings, texts, color=True)
    return shown


def represent_crash(traceback: str, path: str) -> ReprExceptionInfo:
    """What pytest shows when a check ended with an error of its own.

    Args:
        traceback: Of that error, with a last newline.
        path: The file that was checked, absolute.
    """
    headline = f"internal error, please report it: {traceback.splitlines()[-1]}"
    return ReprExceptionInfo(
        reprtraceback=ReprTracebackNative([f"{headline}\n", traceback]),
        reprcrash=ReprFileLocation(path, 1, headline),
    )


def _render(findings: Sequence[Finding], texts: Sequence[str], *, color: bool) -> str:
    return "\n\n".join(
        render_finding(finding, text, color=color)
        for finding, text in zip(findings, texts, strict=True)
    )
