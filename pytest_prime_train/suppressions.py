"""Comments that suppress findings: ``# prime: ignore[id, …] reason``.

One on the line of a key is about that key, one on a table header about the whole table, one before
the first key or header about the whole file; one on lines of its own directly above a key or a
header is about what it stands above. Loaded only for files whose text contains ``prime:``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pytest_prime_train.config.statements import Statement, comment_spans, cut
from pytest_prime_train.findings import Finding, KeyPath, Location, format_key
from pytest_prime_train.looked_for import is_looked_for
from pytest_prime_train.reports import FileReport

if TYPE_CHECKING:
    from pytest_prime_train.checker import Checker
    from pytest_prime_train.config.document import Document

MARK = "prime:"
"""What a text contains that is looked at here at all."""

CATEGORY = "suppression"
"""Category of the findings about such comments, which nothing suppresses."""

_UNSUPPRESSIBLE = frozenset(("toml-syntax", "unreadable-file", "baseline-stale", "command-line"))
_COMMENT = re.compile(
    r"#\s*prime:\s*(?P<word>[A-Za-z][\w-]*)"
    r"(?:\s*(?P<bracket>\[)(?P<ids>[^\]]*)(?P<closed>\]?))?(?P<reason>.*)"
)
_ID = re.compile(r"[^\s,]+")
# Looking for a name that is alike takes as long as a whole check.
_MOST_SUGGESTED = 20
_HOW = "Write # prime: ignore[{}] and then why it is right here."


_Mark: TypeAlias = "tuple[str, int | KeyPath]"
"""What a comment is about: the file, a line, a statement or a table, by its number or path."""

_FILE: _Mark = ("file", 0)


class _Scope(NamedTuple):
    """What a comment is about.

    Attributes:
        mark: The same for all comments that are about the same.
        words: The same in words, for messages.
    """

    mark: _Mark
    words: str


class _Comment(NamedTuple):
    """One comment, as far as it could be read.

    Attributes:
        start: Where it begins in the text.
        end: Where it ends.
        ids: Each id with the place where it begins.
        scope: What it is about; ``None`` for one that stands beside everything.
        fault: Why it suppresses nothing; empty where it does.
    """

    start: int
    end: int
    ids: tuple[tuple[str, int], ...]
    scope: _Scope | None
    fault: str


class _Text:
    """A text with its statements and lines."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.statements = cut(text)[0]
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.firsts = [self.line_of(one.start) for one in self.statements]
        self.belows = [one.below for one in self.statements]
        self.comments = tuple(self._read())

    def line_of(self, offset: int) -> int:
        """The line of a place, from 1."""
        return bisect_right(self.starts, offset)

    def place(self, start: int, end: int) -> Location:
        """The place of a part of one line."""
        line = self.line_of(start)
        first = self.starts[line - 1]
        return Location(self.path, line, start - first + 1, line, end - first + 1)

    def marks_of(self, finding: Finding) -> Iterator[_Mark]:
        """All that a comment can be about to be about the place of a finding."""
        yield _FILE
        line = finding.location.line
        yield "line", line
        number = bisect_right(self.firsts, line) - 1
        if number < 0:
            return
        found = self.statements[number]
        if line <= self.line_of(found.end):
            yield "key", number
        for length in range(1, len(found.path) + 1):
            yield "table", found.path[:length]

    def _read(self) -> Iterator[_Comment]:
        for start, end in comment_spans(self.text):
            found = _COMMENT.search(self.text, start, end)
            if found is None:
                continue
            word, listed = found["word"], found["ids"]
            if word != "ignore":
                if found["bracket"] or _resembles_ignore(word):
                    fault = f"it says {word!r} where only 'ignore' is understood"
                    yield _Comment(found.start(), end, (), None, fault)
                continue
            ids = tuple((one[0], found.start("ids") + one.start()) for one in _ids(listed))
            yield _Comment(found.start(), end, ids, self._scope(start), _fault_of(found, bool(ids)))

    def _scope(self, start: int) -> _Scope | None:
        """What a comment that begins at a place is about."""
        line = self.line_of(start)
        alone = not self.text[self.starts[line - 1] : start].strip()
        if not self.statements or start < self.statements[0].line:
            return _Scope(_FILE, "in the whole file")
        number = bisect_right(self.belows, start)
        if number == len(self.statements):
            return None
        one = self.statements[number]
        if start < one.line:
            return self._about(number, one) if one.above <= start and alone else None
        if start < one.end and line not in (self.firsts[number], self.line_of(one.end)):
            return _Scope(("line", line + alone), "on this line")
        return self._about(number, one)

    def _about(self, number: int, one: Statement) -> _Scope:
        if one.is_header:
            return _Scope(("table", one.path), f"in [{format_key(one.path)}]")
        return _Scope(("key", number), f"at {format_key(one.path)}")


def suppress(checker: Checker, report: FileReport, document: Document | None = None) -> FileReport:
    """The report without what comments suppress, and with what is to be said of the comments.

    Args:
        checker: How it was judged.
        report: Of a file, or of what several files and arguments make together.
        document: The file, where it was judged for itself.
    """
    from pytest_prime_train.config.layers import COMMAND_LINE

    if any(finding.id == "toml-syntax" for finding in report.findings):
        return report
    texts = report.texts or {report.path: report.text}
    findings = list(report.findings)
    suppressed: list[Finding] = []
    about: list[Finding] = []
    for path, text in texts.items():
        if MARK not in text or path == COMMAND_LINE:
            continue
        read = _Text(path, text)
        gone, used = _used(read, findings)
        suppressed += [one for one in findings if one in gone]
        findings = [one for one in findings if one not in gone]
        # What other files of a composition say is judged where they are checked for themselves.
        if path == report.path and report.root is not None:
            about += _complaints(checker, report, read, used, document)
    wanted = [one for one in about if checker.wants(one)]
    if not suppressed and not wanted:
        return report
    all_gone = frozenset(suppressed)
    bill = report.bill
    if bill is not None:
        bill = bill._replace(findings=tuple(one for one in bill.findings if one not in all_gone))
    return report._replace(
        findings=tuple(sorted((*findings, *wanted), key=lambda finding: finding.sort_key)),
        suppressed=(*report.suppressed, *suppressed),
        cards=tuple(
            card._replace(findings=tuple(one for one in card.findings if one not in all_gone))
            for card in report.cards
        ),
        bill=bill,
    )


def _used(read: _Text, findings: list[Finding]) -> tuple[set[Finding], set[tuple[_Mark, str]]]:
    """The findings that comments suppress, and what of the comments does: marks with ids."""
    there = {
        (comment.scope.mark, id)
        for comment in read.comments
        if not comment.fault and comment.scope is not None
        for id, _ in comment.ids
    }
    names: dict[str, list[str]] = {}
    for id in sorted({id for _, id in there}):
        for name in {id, _successor(id)} - {""}:
            names.setdefault(name, []).append(id)
    gone: set[Finding] = set()
    used: set[tuple[_Mark, str]] = set()
    for finding in findings:
        ids = names.get(finding.id)
        if not ids or finding.id in _UNSUPPRESSIBLE or finding.location.path != read.path:
            continue
        hits = {(mark, id) for mark in read.marks_of(finding) for id in ids} & there
        if hits:
            gone.add(finding)
            used |= hits
    return gone, used


def _complaints(
    checker: Checker,
    report: FileReport,
    read: _Text,
    used: set[tuple[_Mark, str]],
    document: Document | None,
) -> Iterator[Finding]:
    """What is to be said of the comments themselves."""
    known: dict[str, Finding | None] = {}
    unused: list[tuple[_Comment, str, int]] = []
    for comment in read.comments:
        if comment.fault:
            location = read.place(comment.start, comment.end)
            message = f"this comment suppresses nothing: {comment.fault}"
            named = [id for id, _ in comment.ids]
            cure = _HOW.format(", ".join(named)) if named else ""
            yield _about(checker, "suppression-bare", location, message, cure)
            continue
        for id, place in comment.ids:
            if id not in known:
                known[id] = _unknown(checker, id, read.path, suggest=len(known) < _MOST_SUGGESTED)
            told = known[id]
            if told is not None:
                yield told._replace(location=read.place(place, place + len(id)))
            elif comment.scope is None or (comment.scope.mark, id) not in used:
                unused.append((comment, id, place))
    if not unused:
        return
    if document is None and not checker.shows_infos:
        return  # They may suppress infos, and there is no way to tell.
    hidden = _hidden_uses(checker, read, document)
    looked_for = {id: is_looked_for(checker, report, id) for id in {id for _, id, _ in unused}}
    for comment, id, place in unused:
        if not looked_for[id] or (comment.scope is not None and (comment.scope.mark, id) in hidden):
            continue
        location = read.place(place, place + len(id))
        if comment.scope is None:
            message = (
                f"{id} is suppressed by a comment that belongs to nothing: a blank line is below it"
            )
            cure = "Put it on the line of the key, on the header of the table, or above either."
        else:
            message = f"nothing is found {comment.scope.words} that is called {id}"
            cure = f"Remove {id} from the comment." if len(comment.ids) > 1 else ""
            cure = cure or "Remove the comment."
        yield _about(checker, "suppression-unused", location, message, cure)


def _unknown(checker: Checker, id: str, path: str, *, suggest: bool) -> Finding | None:
    """What is to be said of an id that there is not, or that cannot be suppressed."""
    location = Location(path)
    from pytest_prime_train.declarations import all_declarations, find, selectable

    declared = find(id)
    if declared is None:
        from pytest_prime_train.schema.suggest import did_you_mean

        if suggest and id in selectable():
            message = f"{id!r} is no finding but a kind of findings, and comments name findings"
            cure = "Write the id of each finding that is meant."
        else:
            ids = [kind.id for kind in all_declarations()] if suggest else []
            message = f"no finding is called {id!r}{did_you_mean(id, ids)}"
            cure = ""
        return _about(checker, "suppression-unknown", location, message, cure)
    if id in _UNSUPPRESSIBLE or declared.category == CATEGORY:
        message = f"{id} cannot be suppressed by a comment"
        cure = f"Remove {id} from the comment."
        return _about(checker, "suppression-unknown", location, message, cure)
    if declared.status == "deprecated":
        successor = declared.replaced_by
        became = f"{successor} took its place" if successor else "nothing took its place"
        message = f"{id} is deprecated: {became}"
        cure = f"Write {successor} in place of {id}." if successor else f"Remove {id}."
        return _about(checker, "suppression-outdated", location, message, cure)
    return None


def _hidden_uses(
    checker: Checker, read: _Text, document: Document | None
) -> set[tuple[_Mark, str]]:
    """What of the comments suppresses an info, where infos are not looked for."""
    if checker.shows_infos or document is None:
        return set()
    whole = checker.with_infos().judge(document)
    return _used(read, list(whole.findings))[1]


def _successor(id: str) -> str:
    """What took the place of a deprecated finding; empty for any other."""
    from pytest_prime_train.gotchas.registry import find

    gotcha = find(id)
    return gotcha.replaced_by if gotcha is not None and gotcha.status == "deprecated" else ""


def _about(
    checker: Checker, id: str, location: Location, message: str, recommendation: str
) -> Finding:
    finding = checker.plain(location.path, id, message)
    return finding._replace(
        location=location, recommendation=recommendation or finding.recommendation
    )


def _ids(listed: str | None) -> Iterator[re.Match[str]]:
    return _ID.finditer(listed or "")


def _resembles_ignore(word: str) -> bool:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, word.lower(), "ignore").ratio() > 0.7


def _fault_of(found: re.Match[str], has_ids: bool) -> str:
    """Why a comment cannot suppress anything; empty where it can."""
    if not found["bracket"]:
        return "it names no finding"
    if not found["closed"]:
        return "its bracket is not closed"
    if not has_ids:
        return "its brackets are empty"
    if not any(character.isalnum() for character in found["reason"]):
        return "it gives no reason"
    return ""
