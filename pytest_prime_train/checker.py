"""The one way from paths to findings; every face goes through here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_prime_train.findings import SEVERITIES, Finding, Location, Severity, UsageError

if TYPE_CHECKING:
    from pytest_prime_train.config.document import Document
    from pytest_prime_train.config.recognise import Recognition
    from pytest_prime_train.config.resolve import Config
    from pytest_prime_train.config.settings import Settings
    from pytest_prime_train.cost.providers.http import SourceResult
    from pytest_prime_train.findings import Problem
    from pytest_prime_train.gotchas.registry import Gotcha
    from pytest_prime_train.memory.gpus import Gpu
    from pytest_prime_train.schema.ids import SchemaId
    from pytest_prime_train.schema.rules.registry import Rule

TOML_SUFFIX = ".toml"
_REFUSED = "prime-rl refuses the file, so what it would do with it was not checked"
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
        schema: Folder with a schema of one's own that judges in place of a version's.
        budget: USD that the completed run may be expected to cost; ``None`` works out no bill.
    """

    root: str | None = None
    version: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    num_gpus: int | None = None
    schema: str | None = None
    budget: float | None = None


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
        version_reason: Why this version judged, in one sentence; ``""`` where it was asked for
            or is the newest.
        taken_from: The commit and date of prime-rl, and the versions of verifiers and renderers,
            that the version's schema was taken from; empty where none judged.
        texts: Path -> text of everything that a composed config was made of; empty for a file.
        bill: The expected bill against the budget that was given; ``None`` where none was.
    """

    path: str
    root: str | None
    root_reason: str
    version: str
    findings: tuple[Finding, ...]
    text: str
    unchecked: str = ""
    cards: tuple[CardReport, ...] = ()
    version_reason: str = ""
    taken_from: Mapping[str, str] = MappingProxyType({})
    texts: Mapping[str, str] = MappingProxyType({})
    bill: CardReport | None = None

    def text_of(self, finding: Finding) -> str:
        """The text that a finding is about."""
        return self.texts.get(finding.location.path, self.text) if self.texts else self.text


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
    found = find_files(paths)
    if checker.settings.overlays:
        from pytest_prime_train.composed import with_overlays

        found = with_overlays(checker.settings, found)
    for path in found:
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


class Checker:
    """Judges files under the same options and settings.

    Raises:
        UsageError: An option or a setting of pyproject.toml has a value that it cannot have.
    """

    def __init__(self, options: Options = Options(), folder: str = ".") -> None:
        from pytest_prime_train.config.pinned import Pin, find_pin
        from pytest_prime_train.config.settings import SettingsError, load
        from pytest_prime_train.schema.bundle import schema_of
        from pytest_prime_train.schema.versions import VERSIONS, canonical

        try:
            self.settings: Settings = load(folder)
        except SettingsError as error:
            raise UsageError(str(error)) from error
        self.root = options.root
        name = options.version or self.settings.version
        self.pin = Pin(canonical(name) or "") if name else find_pin(self.settings.folder or folder)
        version = self.pin.version
        if not version:
            raise UsageError(
                f"no schema of prime-rl {name!r} is bundled; known are {', '.join(VERSIONS)}"
            )
        self.schema = schema_of(version)
        if options.schema or self.settings.schema:
            self._judge_by_folder(options, name)
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
        self.cards: dict[str, Gpu] = {}
        if options.gpus:
            from pytest_prime_train.memory.judge import known_card

            self.cards = {name: known_card(name) for name in options.gpus}
        self.budget = options.budget
        self._offers: list[SourceResult] | None = None
        # What is looked for, by kind, root and version; the same for file after file.
        self._chosen: dict[tuple[str, str, str], Any] = {}
        # Working out a place takes longer than the whole check of a file without findings.
        self.shows_infos = "info" not in self.ignore

    def _judge_by_folder(self, options: Options, version: str | None) -> None:
        from pytest_prime_train.config.pinned import Pin
        from pytest_prime_train.schema.checkout import CheckoutError, load

        if options.version is not None or (version and not options.schema):
            if not options.schema and options.version is not None:
                return  # What is asked for on the command line wins.
            raise UsageError("a schema folder and a version of prime-rl cannot both judge")
        folder = options.schema or os.path.join(self.settings.folder, self.settings.schema)
        try:
            self.schema = load(folder)
        except CheckoutError as error:
            raise UsageError(str(error)) from error
        commit = self.schema.taken_from.get("commit", "")[:12]
        built = f" at {commit}" if commit else ""
        reason = f"its schema was taken from a checkout{built} and is kept in {folder}"
        self.pin = Pin(self.schema.version, reason=reason)

    def check_file(self, path: str) -> FileReport:
        """Judge one file. Never raises for what is in it."""
        from pytest_prime_train.config.document import TooLarge, Unreadable, read

        if self.settings.overlays or self.settings.fragments:
            from pytest_prime_train.composed import check_declared

            declared = check_declared(self, path)
            if declared is not None:
                return declared
        try:
            document = read(path)
        except TooLarge as error:
            return self._report(path, None, "", [self._plain(path, "unrecognised-config", error)])
        except Unreadable as error:
            return self._report(path, None, "", [self._plain(path, "unreadable-file", error)])
        if document.error is not None:
            return self._broken(document)
        if "toml_files" in document.data:
            from pytest_prime_train.composed import check_pulling

            pulled = check_pulling(self, path)
            if pulled is not None:
                return pulled
        root, reason, notes = self._root_of(document)
        if root is None or root not in self.schema.roots:
            return self._report(path, root, reason, notes, text=document.text)
        return self._judge(document, root, reason, notes)

    def check_composed(self, arguments: Sequence[str], path: str = "") -> FileReport:
        """Judge what prime-rl would launch with files and arguments.

        Args:
            arguments: As prime-rl takes them: ``@ base.toml --trainer @ t.toml --max-steps 5``.
            path: The file that the report is about; empty for the first one.

        Raises:
            UsageError: A file cannot be opened, nothing can be made of the arguments, or it
                cannot be told which program they are for.
        """
        from pytest_prime_train.composed import check_composed

        return check_composed(self, arguments, path)

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

        data = None
        if self.settings.overlays:
            from pytest_prime_train.composed import data_of

            data = data_of(self, path)
        return Config(data or read(path).data, report.root, self.schema)

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
        if config.faults and self.settings.extra_keys:
            self._accept_extra_keys(config)
        findings = list(notes)
        unchecked = ""
        cards: tuple[CardReport, ...] = ()
        bill: CardReport | None = None
        if self.pin.before and (config.faults or config.conflicts):
            from pytest_prime_train.schema.accepted import better_of

            config = better_of(config, self.pin.before)
            self._accept_extra_keys(config)
        rules = self._rules(document, config)
        if config.faults or config.conflicts:
            from pytest_prime_train.schema.accepted import in_context
            from pytest_prime_train.schema.faults import problems

            found = in_context(problems(config), config, self.pin.known)
            findings += [self._finding(document, problem) for problem in found]
            unchecked = _REFUSED
            if any(problem.id == "outdated-key" for problem in found):
                findings += self._once_migrated(document, config)
        elif any(one.severity == "error" for _, one in rules):
            unchecked = _REFUSED
        else:
            gotchas = self._gotchas(document, config)
            told = {one.id for one in gotchas} | self.ignore
            rules = [pair for pair in rules if pair[0].gotcha not in told]
            findings += gotchas
            cards = tuple(self._on_card(name, document, config) for name in self.cards)
            for card in cards:
                findings += [one for one in card.findings if one not in findings]
            if self.budget is not None:
                bill = self._bill(document, config, self.budget)
                findings += bill.findings
        findings += [one for _, one in rules]
        if self.shows_infos:
            for block, package in config.open_blocks:
                findings.append(self._open_block(document, block, package))
            if self.pin.lock:
                findings += self._other_packages(document)
        report = self._report(document.path, root, reason, findings, document.text, unchecked)
        return report._replace(cards=cards, bill=bill) if cards or bill else report

    def _bill(self, document: Document, config: Config, budget: float) -> CardReport:
        from pytest_prime_train.cost.budget import judge_budget
        from pytest_prime_train.cost.sources import offline_sources

        if self._offers is None:
            self._offers = offline_sources()
        judged = judge_budget(config, budget, self.cards.values(), self._offers, path=document.path)
        findings = [self._finding(document, problem) for problem in judged.problems]
        return CardReport("budget", tuple(findings), judged.unknown)

    def _on_card(self, name: str, document: Document, config: Config) -> CardReport:
        from pytest_prime_train.memory.judge import judge

        judged = judge(config, self.cards[name], num_gpus=self.num_gpus, path=document.path)
        findings = [self._finding(document, problem) for problem in judged.problems]
        return CardReport(name, tuple(findings), judged.unknown)

    def _rules(self, document: Document, config: Config) -> list[tuple[Rule, Finding]]:
        """What prime-rl says of several keys together."""
        from pytest_prime_train.schema.rules.registry import applicable, run

        key = ("rules", config.root, config.version)
        chosen: tuple[Rule, ...] | None = self._chosen.get(key)
        if chosen is None:
            known = applicable(config.root, config.version)
            chosen = self._chosen[key] = tuple(filter(self._looks_for, known))
        return [
            (rule, self._finding(document, problem, rule)) for rule, problem in run(config, chosen)
        ]

    def _accept_extra_keys(self, config: Config) -> None:
        from pytest_prime_train.config.extra_keys import without_extra

        config.faults = without_extra(config.faults, self.settings.extra_keys)

    def _gotchas(self, document: Document, config: Config) -> list[Finding]:
        from pytest_prime_train.gotchas.registry import applicable, run

        key = ("gotchas", config.root, config.version)
        chosen: tuple[Gotcha, ...] | None = self._chosen.get(key)
        if chosen is None:
            known = applicable(config.root, config.version)
            chosen = self._chosen[key] = tuple(filter(self._looks_for, known))
        # Working out a place costs more than the check, so what nobody wants is dropped first.
        return [
            self._finding(document, problem, gotcha)
            for gotcha, problem in run(config, chosen)
            if self._wants(gotcha.id, gotcha.category, problem.severity or gotcha.severity)
        ]

    def _once_migrated(self, document: Document, config: Config) -> list[Finding]:
        """What the gotchas say of a refused file as it would be after its migration."""
        from pytest_prime_train.gotchas.registry import applicable, run
        from pytest_prime_train.migrations.preview import preview

        form = preview(config.raw, document.path, config.root, config.version)
        if form is None:
            return []
        chosen = filter(self._looks_for, applicable(config.root, config.version))
        return [
            self._finding(document, form.marked(problem), gotcha)
            for gotcha, problem in run(form.config, tuple(chosen))
        ]

    def _looks_for(self, gotcha: Gotcha | Rule) -> bool:
        """Whether a gotcha or rule could have a finding that is wanted."""
        return self.ignore.isdisjoint((gotcha.id, gotcha.category, gotcha.severity))

    def _other_packages(self, document: Document) -> list[Finding]:
        from pytest_prime_train.config.pinned import other_packages

        return [
            self._plain(
                document.path,
                "other-packages",
                f"uv.lock pins {package} to {pinned}, and the schema of prime-rl "
                f"{self.schema.version} was taken with {taken}",
            )
            for package, pinned, taken in other_packages(self.pin.lock, self.schema.taken_from)
        ]

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
        report = FileReport(path, root, reason, "", tuple(kept), text, unchecked)
        if root is None:
            return report
        return report._replace(
            version=self.schema.version,
            version_reason=self.pin.reason,
            taken_from=self.schema.taken_from,
        )

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
        self, document: Document, problem: Problem, gotcha: Gotcha | Rule | None = None
    ) -> Finding:
        """A problem with its place in the text and the facts of its declaration."""
        from pytest_prime_train.findings import format_key
        from pytest_prime_train.schema.ids import schema_id

        kind: Gotcha | Rule | SchemaId = gotcha or schema_id(problem.id)
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
