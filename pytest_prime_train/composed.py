"""Judging what several files and arguments make together, in the words of every other check.

Loaded only where something is composed; the way from one file to its findings does not need it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pytest_prime_train.config.compose import Complaint, Composed, CompositionError, Line
from pytest_prime_train.config.layers import COMMAND_LINE, FileLayer, MarkedLayer
from pytest_prime_train.findings import Finding, Location, UsageError, format_key
from pytest_prime_train.report.secrets import MASK, is_secret_key, names_variable
from pytest_prime_train.schema.versions import WITH_TOML_FILES

if TYPE_CHECKING:
    from pytest_prime_train.checker import Checker, FileReport
    from pytest_prime_train.config.settings import Settings

_SHORTEST_SECRET = 4


def check_composed(checker: Checker, arguments: Sequence[str], path: str = "") -> FileReport:
    """Judge what prime-rl would launch with these arguments.

    Args:
        checker: How to judge.
        arguments: As behind ``prime-train validate --``: ``@ a.toml --trainer @ t.toml --x 1``.
        path: The file that the report is about; empty for the first of the line.

    Raises:
        UsageError: A file cannot be opened, nothing can be made of the line, or it cannot be told
            which program it is for.
    """
    line = _read(checker, arguments)
    named = path or (line.files[0].path if line.files else COMMAND_LINE)
    broken = [_broken(checker, file) for file in line.files if file.broken is not None]
    if broken:
        report = checker.report_on(named, None, "one of its files cannot be read", broken)
        return _with_texts(report, line.from_files(), line)
    root, reason, notes = _root_of(checker, line, path)
    if root is None and not path:
        for problem, _ in line.compose(checker.schema, None).complaints:
            raise UsageError(f"{problem.message}: {problem.recommendation}")
        raise UsageError(
            f"which program of prime-rl the arguments are for cannot be told, as {reason}; "
            "give --root before the --"
        )
    if root is None or root not in checker.schema.roots:
        report = checker.report_on(named, root, reason, notes)
        return _with_texts(report, line.from_files(), line)
    composed = line.compose(checker.schema, root)
    composed.path = named
    complaints = [_complaint(checker, complaint) for complaint in composed.complaints]
    report = checker.judge_as(composed, root, reason, notes + complaints)  # type: ignore[arg-type]
    report = report._replace(findings=tuple(_joined(report.findings, composed)))
    return _with_texts(report, composed, line)


def check_declared(checker: Checker, path: str) -> FileReport | None:
    """The report of a file that pyproject.toml declares as an overlay or a fragment; ``None`` for
    any other, and for one that cannot be read."""
    bases = bases_of(checker.settings, path)
    if bases:
        try:
            return check_composed(checker, _line_of(checker.settings, path, bases), path)
        except UsageError as error:
            if not os.path.exists(path):
                return None
            message = f"it is merged over its bases, and one of them cannot be read: {error}"
            finding = checker.plain(path, "unreadable-file", message)
            return checker.report_on(path, None, "", [finding])
    if not _matches(checker.settings.fragments, checker.settings, path):
        return None
    from pytest_prime_train.config.document import Unreadable, read

    try:
        document = read(path)
    except Unreadable:
        return None
    if document.error is not None:
        return None
    reason = "it is declared as a fragment, which is checked only with its overlays"
    return checker.report_on(path, None, reason, [], document.text)


def check_pulling(checker: Checker, path: str) -> FileReport | None:
    """The report of a file that pulls in others with ``toml_files``; ``None`` where the judging
    version has no such key."""
    if checker.schema.version not in WITH_TOML_FILES:
        return None
    try:
        return check_composed(checker, ("@", path), path)
    except UsageError as error:
        message = f"one of the files that it names in toml_files cannot be read: {error}"
        return checker.report_on(path, None, "", [checker.plain(path, "unreadable-file", message)])


def data_of(checker: Checker, path: str) -> dict[str, Any] | None:
    """What an overlay and its bases make; ``None`` for a file that is no overlay."""
    bases = bases_of(checker.settings, path)
    if not bases:
        return None
    return _read(checker, _line_of(checker.settings, path, bases)).from_files().data


def data_of_line(checker: Checker, arguments: Sequence[str], root: str) -> dict[str, Any]:
    """What files and arguments make for a program.

    Raises:
        UsageError: Nothing can be made of them.
    """
    return _read(checker, arguments).compose(checker.schema, root).data


def bases_of(settings: Settings, path: str) -> tuple[str, ...]:
    """The bases that a file is declared to overlay, relative to pyproject.toml; the first glob
    that matches decides."""
    relative = _relative(settings, path)
    for glob, bases in settings.overlays:
        if relative not in bases and _matches((glob,), settings, path):
            return bases
    return ()


def with_overlays(settings: Settings, paths: Sequence[str]) -> list[str]:
    """The paths, and of every base among them the overlays, which it may have broken."""
    from glob import glob

    known = {os.path.abspath(path) for path in paths}
    found = list(paths)
    for path in paths:
        base = _relative(settings, path)
        for pattern, bases in settings.overlays:
            if base not in bases:
                continue
            for name in sorted(glob(pattern, root_dir=settings.folder, recursive=True)):
                overlay = os.path.join(settings.folder, name)
                if overlay not in known and bases_of(settings, overlay) == bases:
                    known.add(overlay)
                    found.append(os.path.relpath(overlay))
    return found


def _relative(settings: Settings, path: str) -> str:
    return os.path.relpath(path, settings.folder).replace(os.sep, "/")


def _matches(globs: Sequence[str], settings: Settings, path: str) -> bool:
    from fnmatch import fnmatch

    relative = _relative(settings, path)
    return any(fnmatch(relative, glob) for glob in globs)


def _line_of(settings: Settings, path: str, bases: Sequence[str]) -> list[str]:
    arguments = []
    for base in bases:
        full = os.path.join(settings.folder, base)
        arguments += ["@", full if os.path.isabs(path) else os.path.relpath(full)]
    return [*arguments, "@", path]


def _read(checker: Checker, arguments: Sequence[str]) -> Line:
    for argument in ("--help", "-h"):
        if argument in arguments:
            raise UsageError(f"{argument} behind the -- is an option of prime-rl and no config")
    try:
        return Line(arguments, checker.schema.version)
    except CompositionError as error:
        raise UsageError(str(error)) from error


def _root_of(checker: Checker, line: Line, path: str) -> tuple[str | None, str, list[Finding]]:
    """The root as the files tell it, else as files and options tell it together."""
    reason = ""
    notes: list[Finding] = []
    for composed in (line.from_files(), line.compose(checker.schema, None)):
        composed.path = path or composed.path
        root, reason, notes = checker.root_of(composed)  # type: ignore[arg-type]
        if root is not None:
            return root, reason, notes
    return None, reason, notes


def _broken(checker: Checker, file: FileLayer) -> Finding:
    assert file.broken is not None
    message, line, column, recommendation = file.broken
    finding = checker.plain(file.path, "toml-syntax", message)
    place = Location(file.path, line, column, line, column + 1)
    cure = recommendation or finding.recommendation
    return finding._replace(location=place, recommendation=cure)


def _complaint(checker: Checker, complaint: Complaint) -> Finding:
    problem, location = complaint
    finding = checker.plain(location.path, problem.id, problem.message)
    return finding._replace(
        location=location,
        key=format_key(problem.key),
        severity=problem.severity or finding.severity,
        recommendation=problem.recommendation or finding.recommendation,
    )


def _joined(findings: Sequence[Finding], composed: Composed) -> Iterator[Finding]:
    """The findings with the cures that only arguments have; of two about the same key, what
    prime-rl says and why the key came to be, one is left."""
    told = {one.key: one for one in findings if one.id == "command-line" and one.key}
    refused = {one.key for one in findings if one.id == "unknown-key"}
    for finding in findings:
        if finding.id == "command-line" and finding.key in refused:
            continue
        if finding.id == "unknown-key" and finding.key in told:
            finding = finding._replace(recommendation=told[finding.key].recommendation)
        if finding.location.path == COMMAND_LINE and _is_indexed(composed, finding.key):
            flag = "--" + finding.key.replace("_", "-")
            cure = f"Give the whole array as JSON: {flag} '[{{…}}, {{…}}]', or change it in a file."
            finding = finding._replace(recommendation=cure)
        yield finding


def _is_indexed(composed: Composed, key: str) -> bool:
    """Whether options tried to reach into an array by number, which makes a table of it."""
    value: Any = composed.data
    for part in key.split("."):
        if type(value) is not dict or part not in value:
            return False
        value = value[part]
    return type(value) is dict and bool(value) and all(str(name).isdecimal() for name in value)


# Secrets -----------------------------------------------------------------------------------------


def _with_texts(report: FileReport, composed: Composed, line: Line) -> FileReport:
    """The report with all texts, none of them with a secret that the faces would not know."""
    secrets: set[str] = set()
    texts = dict(composed.texts)
    texts[COMMAND_LINE] = _masked(line.text, _secret_arguments(line), secrets)
    for file in composed.files:
        if isinstance(file, MarkedLayer):
            texts[file.path] = _masked(file.text, _secret_values(file), secrets)
    own = texts.get(report.path, report.text)
    report = report._replace(texts=texts, text=own)
    if not secrets:
        return report
    return report._replace(
        findings=tuple(_without(finding, secrets) for finding in report.findings)
    )


def _masked(text: str, spans: Iterator[tuple[int, int]], secrets: set[str]) -> str:
    """A text with stars in place of secrets, as many as they have characters."""
    for start, end in spans:
        value = text[start:end]
        secrets.add(value.strip("\"'"))
        text = text[:start] + "".join("\n" if one == "\n" else "*" for one in value) + text[end:]
    return text


def _secret_values(file: MarkedLayer) -> Iterator[tuple[int, int]]:
    for path, (_, (start, end)) in file.marks.items():
        name = next((str(part) for part in reversed(path) if type(part) is str), "")
        value = file.text[start:end]
        if (
            is_secret_key(name)
            and not value.startswith(("{", "["))
            and not _is_block(file, path)
            and not names_variable(name, value.strip("\"'"))
        ):
            yield start, end


def _is_block(file: MarkedLayer, path: tuple[str | int, ...]) -> bool:
    """Whether a value holds others, which are masked each for itself."""
    value = file.data
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    return type(value) in (dict, list)


_JSON_PAIR = re.compile(r'"(?P<key>(?:[^"\\]|\\.)*)"\s*:\s*"(?P<value>(?:[^"\\]|\\.)*)"')


def _secret_arguments(line: Line) -> Iterator[tuple[int, int]]:
    is_secret, key = False, ""
    for token in line.tokens:
        if token.text.startswith("@"):
            is_secret = False
        elif token.text.startswith("--"):
            name, equals, value = token.text.partition("=")
            key = name[2:].replace("-", "_")
            is_secret = is_secret_key(key)
            if is_secret and equals and not names_variable(key, value):
                yield token.start + len(name) + 1, token.span[1]
        elif is_secret and not names_variable(key, token.text):
            yield token.span
        else:
            for pair in _JSON_PAIR.finditer(token.text):
                if is_secret_key(pair["key"]) and not names_variable(pair["key"], pair["value"]):
                    yield token.start + pair.start("value"), token.start + pair.end("value")


def _without(finding: Finding, secrets: set[str]) -> Finding:
    message, recommendation = finding.message, finding.recommendation
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            message = message.replace(secret, MASK)
            recommendation = recommendation.replace(secret, MASK)
    return finding._replace(message=message, recommendation=recommendation)
