"""The one way from paths to findings; every face goes through here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pytest_prime_train.findings import SEVERITIES, Finding, Location, Severity

if TYPE_CHECKING:
    from pytest_prime_train.config.document import Document
    from pytest_prime_train.config.recognise import Recognition
    from pytest_prime_train.config.resolve import Config
    from pytest_prime_train.config.settings import Settings
    from pytest_prime_train.findings import Problem
    from pytest_prime_train.gotchas.registry import Gotcha
    from pytest_prime_train.memory.gpus import Gpu
    from pytest_prime_train.schema.ids import SchemaId

TOML_SUFFIX = ".toml"
# Folders that hold other people's files.
_SKIPPED_FOLDERS = frozenset(("node_modules", "site-packages", "__pycache__", "venv"))


class Options(NamedTuple):
    """How to judge; the same for every face.

    Attributes:
        root: Root that every file is taken for (``rl``, ``sft``…); ``None`` recognises each file.
        version: Version of prime-rl that judges, such as ``main-2026-08-21``; ``None`` decides
            per file.
        select: Ids, categories or severities to report; empty reports all.
        ignore: Ids, categories or severities to leave out.
        gpus: GPUs, by the names that users write, on which memory is estimated.
        num_gpus: GPUs of the trainer instead of the config's own.
    """

    root: str | None = None
    version: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    num_gpus: int | None = None


class CardReport(NamedTuple):
    """What is known about the memory of a config on one GPU.

    Attributes:
        gpu: The GPU, by the name that was asked for.
        findings: Those of the report's findings that speak of this GPU.
        unknown: What cannot be told and what is missing; ``""`` where everything is known.
    """

    gpu: str
    findings: tuple[Finding, ...]
    unknown: str


class FileReport(NamedTuple):
    """All that is known about one file.

    Attributes:
        path: As given by the user, or found below a directory given by the user.
        root: Which of prime-rl's programs reads it; ``None`` where it is not prime-rl's.
        root_reason: Why this root, in one sentence.
        version: Version of prime-rl that judged it, such as ``main-2026-08-21``; ``""`` if none.
        findings: Sorted by line, column and id.
        text: The text that was judged, for code frames; ``""`` when it could not be read.
        unchecked: Why the gotchas were not checked; ``""`` where they were.
        cards: Memory on each GPU that was asked for.
    """

    path: str
    root: str | None
    root_reason: str
    version: str
    findings: tuple[Finding, ...]
    text: str
    unchecked: str = ""
    cards: tuple[CardReport, ...] = ()


class UsageError(Exception):
    """Wrong use: an unknown option value, or a named path that cannot be opened (exit code 2)."""


def find_files(paths: Iterable[str]) -> list[str]:
    """Every TOML file named by, or found below, the paths, sorted and without duplicates.

    A file that is named is taken whatever its suffix; links to folders are not followed.

    Raises:
        UsageError: A path does not exist or cannot be opened.
    """
    found: set[str] = set()
    for path in paths:
        if os.path.isdir(path):
            found.update(_files_below(path))
            continue
        try:
            os.stat(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"{path}: {reason[:1].lower()}{reason[1:]}") from error
        found.add(path)
    return sorted(found)


def _files_below(folder: str) -> Iterable[str]:
    def fail(error: OSError) -> None:
        if error.filename == folder:
            raise UsageError(f"{folder}: {(error.strerror or str(error)).lower()}") from error

    for current, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [
            name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS
        ]
        for name in files:
            if name.endswith(TOML_SUFFIX):
                yield os.path.join(current, name)


def check(paths: Sequence[str], options: Options = Options()) -> list[FileReport]:
    """Judge every TOML file named by, or found below, the paths.

    Raises:
        UsageError: A path does not exist or cannot be opened, or an option or a setting of
            pyproject.toml has a value that it cannot have.
    """
    checker = Checker(options)
    named = {path for path in paths if not os.path.isdir(path)}
    reports = []
    for path in find_files(paths):
        report = checker.check_file(path)
        if path in named:
            for finding in report.findings:
                if finding.id == "unreadable-file":
                    raise UsageError(f"{path}: {finding.message}")
        reports.append(report)
    return reports


def check_file(path: str, options: Options = Options()) -> FileReport:
    """Judge one file. Never raises for what is in it: a file that cannot be read or parsed is a
    report with one finding.

    Raises:
        UsageError: An option or a setting of pyproject.toml has a value that it cannot have.
    """
    return Checker(options).check_file(path)


def load_config(path: str, options: Options = Options()) -> Config:
    """Read and resolve one file for what is worked out of a valid config, such as its memory.

    Raises:
        UsageError: The file cannot be read, is no prime-rl config, or prime-rl would refuse it.
    """
    return Checker(options).load_config(path)


def worst(reports: Iterable[FileReport]) -> Severity | None:
    """The highest severity in the reports; ``None`` where there is no finding."""
    found = [SEVERITIES.index(finding.severity) for item in reports for finding in item.findings]
    return SEVERITIES[max(found)] if found else None


def _card(name: str) -> Gpu:
    from pytest_prime_train.memory.judge import known_card

    try:
        return known_card(name)
    except ValueError as error:
        raise UsageError(str(error)) from error


class Checker:
    """Judges files under the same options and settings.

    Raises:
        UsageError: An option or a setting of pyproject.toml has a value that it cannot have.
    """

    def __init__(self, options: Options = Options(), folder: str = ".") -> None:
        from pytest_prime_train.config.settings import SettingsError, load
        from pytest_prime_train.schema.bundle import schema_of
        from pytest_prime_train.schema.versions import NEWEST, VERSIONS, canonical

        try:
            self.settings: Settings = load(folder)
        except SettingsError as error:
            raise UsageError(str(error)) from error
        self.root = options.root
        name = options.version or self.settings.version
        version = canonical(name) if name else NEWEST
        if version is None:
            raise UsageError(
                f"no schema of prime-rl {name!r} is bundled; known are {', '.join(VERSIONS)}"
            )
        self.schema = schema_of(version)
        if options.root is not None and options.root not in self.schema.roots:
            raise UsageError(
                f"prime-rl {version} has no program {options.root!r}; "
                f"known are {', '.join(self.schema.roots)}"
            )
        self.select = frozenset(options.select or self.settings.select)
        self.ignore = frozenset(options.ignore or self.settings.ignore)
        if self.settings.select or self.settings.ignore:
            from pytest_prime_train.declarations import require_known

            require_known((*self.settings.select, *self.settings.ignore))
        self.num_gpus = options.num_gpus
        self.cards = {name: _card(name) for name in options.gpus}
        # Working out a place takes longer than the whole check of a file without findings.
        self.shows_infos = "info" not in self.ignore

    def check_file(self, path: str) -> FileReport:
        """Judge one file. Never raises for what is in it."""
        from pytest_prime_train.config.document import TooLarge, Unreadable, read

        try:
            document = read(path)
        except TooLarge as error:
            return self._report(path, None, "", [self._plain(path, "unrecognised-config", error)])
        except Unreadable as error:
            return self._report(path, None, "", [self._plain(path, "unreadable-file", error)])
        if document.error is not None:
            return self._broken(document)
        root, reason, notes = self._root_of(document)
        if root is None or root not in self.schema.roots:
            return self._report(path, root, reason, notes, text=document.text)
        return self._judge(document, root, reason, notes)

    def load_config(self, path: str) -> Config:
        """Read and resolve one file.

        Raises:
            UsageError: It cannot be read, is no prime-rl config, or prime-rl would refuse it.
        """
        report = self.check_file(path)
        errors = [one for one in report.findings if one.category == "schema"]
        refusal = next((one for one in errors if one.severity == "error"), None)
        if refusal is not None:
            raise UsageError(f"{refusal.location}: {refusal.message}")
        if report.root not in self.schema.roots:
            raise UsageError(f"{path}: {report.root_reason or 'it is no prime-rl config'}")
        from pytest_prime_train.config.document import read
        from pytest_prime_train.config.resolve import Config

        return Config(read(path).data, report.root, self.schema)

    def _root_of(self, document: Document) -> tuple[str | None, str, list[Finding]]:
        """The root, the reason for it, and what is to be said about that."""
        if self.root is not None:
            return self.root, "it was given on the command line", []
        pinned = self._pinned(document.path)
        if pinned is not None:
            root = None if pinned == "none" else pinned
            return root, "it is pinned in pyproject.toml", []
        from pytest_prime_train.config.recognise import FOREIGN_NAMES, recognise

        if os.path.basename(document.path) in FOREIGN_NAMES:
            return None, "its name is that of another tool's file", []
        found = recognise(document.data, document.path, self.schema)
        return found.root, found.reason, self._notes(document, found)

    def _notes(self, document: Document, found: Recognition) -> list[Finding]:
        if not self.shows_infos:
            return []
        if found.doubtful:
            message = f"this may be a prime-rl config, but {found.reason}"
            return [self._plain(document.path, "unrecognised-config", message)]
        if found.refused_by is not None:
            message = (
                f"the name says {found.refused_by}, but prime-rl {self.schema.version} would "
                f"refuse it there; it is checked as a {found.root} config"
            )
            return [self._plain(document.path, "stale-config", message)]
        return []

    def _pinned(self, path: str) -> str | None:
        if not self.settings.roots:
            return None
        from fnmatch import fnmatch

        relative = os.path.relpath(path, self.settings.folder).replace(os.sep, "/")
        return next((root for glob, root in self.settings.roots if fnmatch(relative, glob)), None)

    def _broken(self, document: Document) -> FileReport:
        from pytest_prime_train.config.recognise import FOREIGN_NAMES
        from pytest_prime_train.config.syntax import explain

        if os.path.basename(document.path) in FOREIGN_NAMES:
            return self._report(document.path, None, "its name is that of another tool's file", [])
        assert document.error is not None
        problem = explain(document.error, document.text)
        finding = self._plain(document.path, "toml-syntax", problem.message)
        end = problem.end_column
        place = Location(document.path, problem.line, problem.column, problem.line, end)
        finding = finding._replace(location=place, key=problem.key)
        if problem.recommendation:
            finding = finding._replace(recommendation=problem.recommendation)
        reason = "it is not valid TOML"
        return self._report(document.path, None, reason, [finding], text=document.text)

    def _judge(
        self, document: Document, root: str, reason: str, notes: list[Finding]
    ) -> FileReport:
        from pytest_prime_train.config.resolve import Config

        config = Config(document.data, root, self.schema)
        findings = list(notes)
        unchecked = ""
        cards: tuple[CardReport, ...] = ()
        if config.faults or config.conflicts:
            from pytest_prime_train.schema.faults import problems

            findings += [self._finding(document, problem) for problem in problems(config)]
            unchecked = "prime-rl refuses the file, so what it would do with it was not checked"
        else:
            findings += self._gotchas(document, config)
            cards = tuple(self._on_card(name, document, config) for name in self.cards)
            for card in cards:
                findings += [one for one in card.findings if one not in findings]
        if self.shows_infos:
            for block, package in config.open_blocks:
                findings.append(self._open_block(document, block, package))
        report = self._report(document.path, root, reason, findings, document.text, unchecked)
        return report._replace(cards=cards) if cards else report

    def _on_card(self, name: str, document: Document, config: Config) -> CardReport:
        from pytest_prime_train.memory.judge import judge

        judged = judge(config, self.cards[name], num_gpus=self.num_gpus, path=document.path)
        findings = [self._finding(document, problem) for problem in judged.problems]
        return CardReport(name, tuple(findings), judged.unknown)

    def _gotchas(self, document: Document, config: Config) -> list[Finding]:
        from pytest_prime_train.gotchas.registry import run

        # Working out a place costs more than the check, so what nobody wants is dropped first.
        return [
            self._finding(document, problem, gotcha)
            for gotcha, problem in run(config, self._looks_for)
            if self._wants(gotcha.id, gotcha.category, problem.severity or gotcha.severity)
        ]

    def _looks_for(self, gotcha: Gotcha) -> bool:
        """Whether a gotcha could have a finding that is wanted."""
        return self.ignore.isdisjoint((gotcha.id, gotcha.category, gotcha.severity))

    def _open_block(
        self, document: Document, block: tuple[str | int, ...], package: str
    ) -> Finding:
        from pytest_prime_train.findings import Problem, format_key

        return self._finding(
            document,
            Problem(
                block,
                f"the keys of {format_key(block)} were not checked: they belong to the package of "
                f"the taskset {package!r}",
                id="unchecked-taskset",
            ),
        )

    def _report(
        self,
        path: str,
        root: str | None,
        reason: str,
        findings: list[Finding],
        text: str = "",
        unchecked: str = "",
    ) -> FileReport:
        wanted = [one for one in findings if self._wants(one.id, one.category, one.severity)]
        kept = sorted(wanted, key=lambda finding: finding.sort_key)
        version = self.schema.version if root is not None else ""
        return FileReport(path, root, reason, version, tuple(kept), text, unchecked)

    def _wants(self, *names: str) -> bool:
        """Whether a finding of this id, category and severity is to be reported."""
        selected = not self.select or not self.select.isdisjoint(names)
        return selected and self.ignore.isdisjoint(names)

    def _plain(self, path: str, id: str, message: object) -> Finding:
        """A finding about a whole file."""
        from pytest_prime_train.schema.ids import schema_id

        kind = schema_id(id)
        return Finding(
            id,
            kind.severity,
            str(message),
            Location(path),
            why=kind.why,
            recommendation=kind.recommendation,
            hours_lost=kind.hours_lost,
        )

    def _finding(
        self, document: Document, problem: Problem, gotcha: Gotcha | None = None
    ) -> Finding:
        """A problem with its place in the text and the facts of its declaration."""
        from pytest_prime_train.findings import format_key
        from pytest_prime_train.schema.ids import schema_id

        kind: Gotcha | SchemaId = gotcha or schema_id(problem.id)
        return Finding(
            kind.id,
            problem.severity or kind.severity,
            problem.message,
            document.locate(problem.key, problem.part),
            format_key(problem.key),
            problem.why or kind.why,
            problem.recommendation or kind.recommendation,
            kind.hours_lost,
            kind.category,
        )
