"""The nodes of the pytest plugin: a file is one config, each of its items one check of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_prime_train.checker import FileReport
from pytest_prime_train.conftests import HooksFor
from pytest_prime_train.findings import Finding, Location, at_least
from pytest_prime_train.item_plan import plan_items
from pytest_prime_train.pytest_options import SETTINGS
from pytest_prime_train.warnings import PrimeConfigWarning

CRASH_ITEM = "internal-error"
"""Name of the item that fails when the check of a file ends with an error of its own."""


class ConfigFailure(Exception):
    """Findings at or above the threshold; how they look is up to the item."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(*(finding.message for finding in findings))
        self.findings = findings


class CheckCrash(Exception):
    """The check itself failed; the message is the traceback of its error."""


class PrimeFile(pytest.File):
    """A TOML file that was judged when it was collected.

    Attributes:
        report: What was found; ``None`` if the check crashed.
        crash: The traceback of the error that the check ended with; ``""`` if it did not crash.
        is_seen: Whether an item has looked whether the file is still there.
        shown_path: Its path, with escapes for what a terminal must not see.
        display_path: The same from the directory that pytest was started in.
    """

    report: FileReport | None
    crash: str
    is_seen: bool
    shown_path: Path
    display_path: str
    _hooks: HooksFor

    @classmethod
    def judge(cls, parent: pytest.Collector, path: Path) -> PrimeFile | None:
        """The node of a file, or ``None`` if there is nothing to say about it.

        Never raises for what is in the file: a collection error would end the whole run.
        """
        report, crash = None, ""
        try:
            report = parent.config.stash[SETTINGS].checker.check_file(str(path))
        except Exception as error:
            import traceback

            crash = "".join(traceback.format_exception(error))
        if report is not None and report.root is None and not report.findings:
            return None
        node_id = _show(os.path.relpath(path, parent.config.rootpath).replace(os.sep, "/"))
        name = node_id if parent is parent.session else _show(path.name)
        node: PrimeFile = cls.from_parent(parent, path=path, name=name, nodeid=node_id)
        node.report, node.crash, node.is_seen = report, crash, False
        # Asked by every item, and a file has hundreds.
        node.shown_path = Path(_show(str(path)))
        node.display_path = _show(os.path.relpath(path, node.config.invocation_params.dir))
        node._hooks = HooksFor(node.config, path)
        node.add_marker(pytest.mark.prime_train)
        return node

    @property
    def ihook(self) -> Any:
        """The hooks of all plugins and of each loaded conftest.py above the file."""
        return self._hooks

    def text_of(self, finding: Finding) -> str:
        """The text that a finding is about; that of the file, or of one it is composed of."""
        return self.report.text_of(finding) if self.report is not None else ""

    def collect(self) -> Iterator[PrimeItem]:
        """An item for each check of the file, one if it cannot be checked."""
        report = self.report
        if report is None:
            yield PrimeItem.of(self, CRASH_ITEM, ())
            return
        settings = self.config.stash[SETTINGS]
        for planned in plan_items(report, settings.checker, compact=settings.compact):
            item = PrimeItem.of(self, planned.name, planned.findings)
            if planned.unchecked:  # to pass would say that there is nothing to find
                item.add_marker(pytest.mark.skip(reason=planned.unchecked))
            yield item


class PrimeItem(pytest.Item):
    """One check of one config; fails if it found something at or above the threshold.

    Attributes:
        findings: All that it found.
    """

    parent: PrimeFile
    findings: Sequence[Finding]

    @classmethod
    def of(cls, parent: PrimeFile, name: str, findings: Sequence[Finding]) -> PrimeItem:
        """The item of a file, with what reports of every kind should know about its findings."""
        item: PrimeItem = cls.from_parent(parent, name=name)
        item.findings = findings
        item.user_properties.extend(_properties(item, findings))
        return item

    @property
    def ihook(self) -> Any:
        """The hooks that concern the file."""
        return self.parent.ihook

    def runtest(self) -> None:
        """Report what was found when the file was collected.

        Raises:
            ConfigFailure: There are findings at or above the threshold.
            CheckCrash: The file could not be checked because of an error of our own.
        """
        file = self.parent
        if file.crash:
            raise CheckCrash(file.crash)
        if not file.is_seen:
            file.is_seen = True
            if not os.path.exists(file.path):
                gone = [_vanished(file.path)]
                self.user_properties.extend(_properties(self, gone))
                raise ConfigFailure(gone)
        if not self.findings:
            return
        settings = self.config.stash[SETTINGS]
        failing = [found for found in self.findings if at_least(found.severity, settings.fail_on)]
        for finding in self.findings:
            if finding in failing or (finding.severity == "info" and not settings.show_infos):
                continue
            try:
                _warn(self, finding)
            except PrimeConfigWarning:  # a filter of the user makes it an error
                failing.append(finding)
        if failing:
            raise ConfigFailure(failing)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The findings in the words of every face; a traceback only for an error of our own."""
        from pytest_prime_train.failure import represent, represent_crash

        if isinstance(excinfo.value, ConfigFailure):
            shown = [self.localize(finding) for finding in excinfo.value.findings]
            texts = [self.parent.text_of(finding) for finding in excinfo.value.findings]
            return represent(shown, texts, _show(str(self.path)))
        if isinstance(excinfo.value, CheckCrash):
            return represent_crash(str(excinfo.value), _show(str(self.path)))
        return super().repr_failure(excinfo, style=style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Path, line counted from 0, and a title for the failure."""
        line = 0
        if self.findings:
            own = [one for one in self.findings if one.location.path == str(self.path)]
            line = own[0].location.line - 1 if own else 0
        file = self.parent
        return file.shown_path, line, f"{self.name}: {file.display_path}"

    def localize(self, finding: Finding) -> Finding:
        """The finding with its path as the user's terminal would name it."""
        if finding.location.path == str(self.path):
            path = self.parent.display_path
        elif os.path.isabs(finding.location.path):  # a file that this one is composed with
            directory = self.config.invocation_params.dir
            path = _show(os.path.relpath(finding.location.path, directory))
        else:
            return finding
        location = finding.location._replace(path=path)
        return finding._replace(location=location)


def _vanished(path: Path) -> Finding:
    message = "the file vanished after it was collected"
    return Finding("unreadable-file", "error", message, Location(str(path)))


def _properties(item: PrimeItem, findings: Sequence[Finding]) -> Iterator[tuple[str, object]]:
    """What junit files hold, and what the summary is made of on the other side of xdist."""
    file = item.parent.nodeid
    if not findings:
        yield "file", file
    for finding in findings:
        yield "rule", finding.id
        yield "severity", finding.severity
        yield "file", _file_of(item, finding)
        yield "line", finding.location.line
        yield "column", finding.location.column
        yield "hours_lost", finding.hours_lost
        yield "message", _message(item, finding)


def _file_of(item: PrimeItem, finding: Finding) -> str:
    """The file that a finding is about, as node ids name it."""
    path = finding.location.path
    if path == str(item.path) or not os.path.isabs(path):
        return item.parent.nodeid
    return _show(os.path.relpath(path, item.config.rootpath).replace(os.sep, "/"))


def _warn(item: PrimeItem, finding: Finding) -> None:
    # Python shows the line of a real file below a warning, with any secret on it.
    warnings.warn_explicit(
        f"{finding.severity} {finding.id}: {_message(item, finding)}",
        PrimeConfigWarning,
        filename=f"<{item.localize(finding).location.path}>",
        lineno=finding.location.line,
    )


def _message(item: PrimeItem, finding: Finding) -> str:
    from pytest_prime_train.report.console import clean
    from pytest_prime_train.report.secrets import conceal

    line = finding.location.line
    return clean(conceal(finding.message, finding.key, line, item.parent.text_of(finding)))


def _show(path: str) -> str:
    """A path without line breaks and undecodable bytes, which end the run in xdist and junit."""
    from pytest_prime_train.report.console import clean

    return clean(path)
