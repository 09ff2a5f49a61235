"""A baseline: findings that a project lives with while it adopts the checks.

It is keyed by file, id, stable key path and count, never by line, so that it holds while files
change around what it allows. Loaded only where a project has one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_prime_train.findings import Finding, Location, UsageError
from pytest_prime_train.looked_for import is_looked_for
from pytest_prime_train.reports import FileReport

if TYPE_CHECKING:
    from pytest_prime_train.checker import Checker

DEFAULT_FILE = "prime-train-baseline.json"
"""Where a baseline is written if nobody says where."""

VERSION = 1
"""Version of the file; it grows only when an old reader would take a new file for another."""

# What is about the baseline or about comments stays visible.
_NEVER_ALLOWED = frozenset(("baseline-stale",))
_MAX_BYTES = 64 * 2**20

Allowed: TypeAlias = "dict[str, dict[str, dict[str, int]]]"
"""File -> id -> key -> how often; files are relative to the folder of the baseline."""


class Baseline:
    """What a baseline file allows.

    Attributes:
        path: The file.
        allowed: What it allows.
    """

    def __init__(self, path: str, allowed: Allowed) -> None:
        self.path = path
        self.allowed = allowed
        self._folder = os.path.dirname(os.path.abspath(path))

    def name_of(self, path: str) -> str:
        """A file as the baseline names it."""
        return os.path.relpath(path, self._folder).replace(os.sep, "/")

    def apply(self, checker: Checker, report: FileReport) -> FileReport:
        """The report without what is allowed, and with what is allowed though it is gone."""
        allowed = self.allowed.get(self.name_of(report.path))
        if not allowed:
            return report
        left = {id: dict(keys) for id, keys in allowed.items()}
        kept: list[Finding] = []
        passed: list[Finding] = []
        for finding in report.findings:
            key = stable_key(finding)
            number = left.get(finding.id, {}).get(key, 0)
            if number and finding.id not in _NEVER_ALLOWED:
                left[finding.id][key] = number - 1
                passed.append(finding)
            else:
                kept.append(finding)
        hidden = Counter((one.id, stable_key(one)) for one in report.suppressed)
        for id, keys in left.items():
            for key, number in keys.items():
                gone = number - hidden[id, key]
                if gone > 0 and is_looked_for(checker, report, id):
                    kept.append(self._stale(checker, report.path, id, key, gone))
        if not passed and len(kept) == len(report.findings):
            return report
        bill = report.bill
        if bill is not None:
            bill = bill._replace(findings=_without(bill.findings, passed))
        return report._replace(
            findings=tuple(sorted(filter(checker.wants, kept), key=lambda one: one.sort_key)),
            baselined=tuple(passed),
            cards=tuple(
                card._replace(findings=_without(card.findings, passed)) for card in report.cards
            ),
            bill=bill,
        )

    def gone(self, checker: Checker, folders: Iterable[str]) -> list[FileReport]:
        """A report about the baseline where it allows something in files that are gone.

        Args:
            checker: How is judged.
            folders: The folders that were checked; files elsewhere are not looked at.
        """
        tops = [os.path.realpath(folder) for folder in folders]
        findings: list[Finding] = []
        for name in self.missing():
            full = os.path.join(os.path.realpath(self._folder), *name.split("/"))
            if any(os.path.commonpath((top, full)) == top for top in tops):
                message = f"the baseline allows findings in {name}, and there is no such file"
                finding = checker.plain(self.path, "baseline-stale", message)
                findings.append(finding._replace(location=self._place(name)))
        wanted = tuple(filter(checker.wants, findings))
        return [FileReport(self.path, None, "", "", wanted, "")] if wanted else []

    def missing(self) -> list[str]:
        """The files that it names and that there are not, sorted."""
        return [
            name
            for name in sorted(self.allowed)
            if not os.path.lexists(os.path.join(self._folder, *name.split("/")))
        ]

    def _place(self, name: str) -> Location:
        """Where the baseline names a file."""
        from json import dumps

        quoted = dumps(name)
        with open(self.path, encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                column = line.find(quoted)
                if column >= 0:
                    end = column + len(quoted) + 1
                    return Location(self.path, number, column + 1, number, end)
        return Location(self.path)

    def _stale(self, checker: Checker, path: str, id: str, key: str, number: int) -> Finding:
        times = "" if number == 1 else f" {number} times"
        place = f" at {key}" if key else ""
        message = f"the baseline allows {id}{place}{times}, and it is not found any more"
        cure = "Run prime-train baseline update, which takes out what is gone."
        return checker.plain(path, "baseline-stale", message)._replace(recommendation=cure)


def stable_key(finding: Finding) -> str:
    """The key of a finding without the numbers of elements, which change when one is added.

    >>> stable_key(Finding("a", "error", "", Location(""), "train.source.0.env"))
    'train.source[].env'
    """
    text = ""
    for part in finding.key.split("."):
        text += "[]" if part.isdecimal() else f".{part}"
    return text.removeprefix(".")


def load(path: str) -> Baseline:
    """Read a baseline.

    Raises:
        UsageError: It cannot be read, or is none.
    """
    from json import loads

    try:
        with open(path, "rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = " (prime-train baseline write makes one)"
        raise UsageError(
            f"the baseline {path} cannot be read: {reason[:1].lower()}{reason[1:]}{hint}"
        ) from error
    if len(content) > _MAX_BYTES:
        raise UsageError(f"the baseline {path} is larger than any: more than 64 MiB")
    try:
        data = loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the baseline {path} is no JSON: {error}") from error
    return Baseline(path, _checked(path, data))


def _checked(path: str, data: Any) -> Allowed:
    def fail(reason: str) -> UsageError:
        return UsageError(f"the baseline {path} cannot be used: {reason}")

    if type(data) is not dict or "files" not in data:
        raise fail('it has no "files"')
    if data.get("version") != VERSION:
        raise fail(f'its "version" is {data.get("version")!r}, and only {VERSION} is understood')
    files = data["files"]
    if type(files) is not dict:
        raise fail('"files" has to be an object of files')
    for name, ids in files.items():
        if type(ids) is not dict:
            raise fail(f"what it allows in {name!r} has to be an object of ids")
        for id, keys in ids.items():
            if type(keys) is not dict:
                raise fail(f"what it allows of {id!r} in {name!r} has to be an object of keys")
            for key, number in keys.items():
                if type(number) is not int or number < 1:
                    raise fail(f"the count of {id!r} at {key!r} in {name!r} is {number!r}")
    return dict(files)


def collected(reports: Iterable[FileReport], baseline: Baseline, *, infos: bool) -> Allowed:
    """What a baseline has to allow so that the reports have nothing any more.

    Args:
        reports: Judged without a baseline.
        baseline: The one that is to be written, which files are named relative to.
        infos: Whether it is to allow infos as well.
    """
    allowed: Allowed = {}
    for report in reports:
        for finding in report.findings:
            if finding.id in _NEVER_ALLOWED or (finding.severity == "info" and not infos):
                continue
            keys = allowed.setdefault(baseline.name_of(report.path), {}).setdefault(finding.id, {})
            key = stable_key(finding)
            keys[key] = keys.get(key, 0) + 1
    return allowed


def shrunk(baseline: Baseline, found: Allowed, checked: Iterable[str]) -> Allowed:
    """What a baseline allows and is still found; what it allows in files that were not checked,
    and are still there, stays.

    Args:
        baseline: The baseline.
        found: What is found now.
        checked: The files that were checked, as the baseline names them.
    """
    seen = {*checked, *baseline.missing()}
    result: Allowed = {}
    for name, ids in baseline.allowed.items():
        if name not in seen:
            result[name] = ids
            continue
        for id, keys in ids.items():
            for key, number in keys.items():
                left = min(number, found.get(name, {}).get(id, {}).get(key, 0))
                if left:
                    result.setdefault(name, {}).setdefault(id, {})[key] = left
    return result


def render(allowed: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    """The text of a baseline file: sorted, an entry on each line."""
    from json import dumps

    files = {
        name: {id: dict(sorted(keys.items())) for id, keys in sorted(ids.items())}
        for name, ids in sorted(allowed.items())
    }
    return dumps({"version": VERSION, "files": files}, indent=2) + "\n"


def entries(allowed: Allowed) -> Iterator[tuple[str, str, str, int]]:
    """File, id, key and count of everything that a baseline allows, sorted."""
    for name, ids in sorted(allowed.items()):
        for id, keys in sorted(ids.items()):
            for key, number in sorted(keys.items()):
                yield name, id, key, number


def _without(findings: Iterable[Finding], gone: list[Finding]) -> tuple[Finding, ...]:
    return tuple(one for one in findings if one not in gone)
