"""Fixing files: each is written whole or not at all, after its new text was checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pytest_prime_train.config.atomic import NotWritten, replace
from pytest_prime_train.config.document import Document, Unreadable, read_bytes
from pytest_prime_train.findings import Finding
from pytest_prime_train.fixing.engine import Fixed, Refused, fix, kind_of
from pytest_prime_train.reports import FileReport

if TYPE_CHECKING:
    from pytest_prime_train.checker import Checker


class Outcome(NamedTuple):
    """What became of one file.

    Attributes:
        fixed: The new text and what is found in it; where it could not be written, the old one.
        written: Whether the new text is in the file.
        failure: Why it could not be written; empty where it was, or nothing was to be.
    """

    fixed: Fixed
    written: bool = False
    failure: str = ""


def fix_files(
    checker: Checker, paths: Sequence[str], *, unsafe: bool, infos: bool, write: bool
) -> list[Outcome]:
    """Fix what is found in every TOML file named by, or found below, the paths.

    Args:
        checker: How to judge.
        paths: As for ``check``.
        unsafe: Make fixes that can change what is meant as well.
        infos: Fix findings of severity info as well.
        write: Write the results; otherwise only say what they would be.

    Raises:
        UsageError: A path does not exist or cannot be opened.
    """
    from pytest_prime_train.checker import check_with

    outcomes: list[Outcome] = []
    for report in check_with(checker, paths):
        outcomes.append(_fix_file(checker, report, unsafe=unsafe, infos=infos, write=write))
    return outcomes


def _fix_file(
    checker: Checker, report: FileReport, *, unsafe: bool, infos: bool, write: bool
) -> Outcome:
    untouched = Outcome(Fixed(report.path, report.text, report.text, report))
    if not any(kind_of(finding) for finding in report.findings):
        return untouched
    if report.texts:  # It is composed of several files.
        return Outcome(untouched.fixed._replace(refused=_composed(report)))
    try:
        content = read_bytes(report.path)
    except Unreadable as error:
        return untouched._replace(failure=str(error))
    found = fix(checker, Document(report.path, content), unsafe=unsafe, infos=infos)
    if not write or not found.changed:
        return Outcome(found)
    try:
        replace(report.path, content, found.after.encode())
    except NotWritten as error:
        refused = tuple(Refused(one, f"the file is left as it was: {error}") for one in found.cured)
        return Outcome(untouched.fixed._replace(refused=refused), failure=str(error))
    return Outcome(found, written=True)


def fix_text(checker: Checker, document: Document, *, unsafe: bool, infos: bool) -> Outcome:
    """Fix what is found in a text that is in no file."""
    if document.error is not None:
        report = checker.check_document(document)
        return Outcome(Fixed(document.path, document.text, document.text, report))
    return Outcome(fix(checker, document, unsafe=unsafe, infos=infos))


def fixes_of(checker: Checker, reports: Iterable[FileReport]) -> dict[Finding, str]:
    """The findings that a fix cures, each with ``safe`` or ``unsafe``; nothing is written."""
    known: dict[Finding, str] = {}
    for report in reports:
        kinds = {one: kind for one in report.findings if (kind := kind_of(one))}
        if not kinds or report.texts:
            continue
        document = Document(report.path, report.text.encode())
        for kind in sorted(set(kinds.values())):
            for finding in fix(checker, document, unsafe=kind == "unsafe").cured:
                known.setdefault(finding, kind)
    return known


def _composed(report: FileReport) -> tuple[Refused, ...]:
    reason = "it is composed of several files, and fixes are made in one"
    return tuple(Refused(one, reason) for one in report.findings if kind_of(one))
