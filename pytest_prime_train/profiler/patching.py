"""Remedies as changes of the config at hand: each is written into it and judged before it is named.

A remedy whose result prime-rl would refuse, or that no longer fits the GPU, is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import unified_diff
from typing import NamedTuple

from pytest_prime_train.checker import Checker, Options
from pytest_prime_train.config.document import Document, Unreadable, read
from pytest_prime_train.config.edits import write
from pytest_prime_train.config.resolve import Config
from pytest_prime_train.config.tree import grow
from pytest_prime_train.findings import KeyPath, UsageError
from pytest_prime_train.fixing.changes import Change
from pytest_prime_train.fixing.tree import CannotChange, carry_out
from pytest_prime_train.profiler.diagnosis import Remedy
from pytest_prime_train.report.console import clean

_OLDER_NAMES = {
    "orchestrator.concurrency.max_inflight": (
        "orchestrator.max_inflight_episodes",
        "orchestrator.max_inflight_rollouts",
    ),
}
"""Key of main -> what it was called in v0.8 and before."""

_PARTS = ("orchestrator", "trainer", "inference")
_WORSE = ("unknown", "fits", "tight", "does-not-fit")


class Patch(NamedTuple):
    """What becomes of a config.

    Attributes:
        remedies: Those that the config takes, in its own keys.
        refused: Those that it does not, each with the reason in one sentence.
        before: The text as it is.
        after: The text with all of ``remedies`` that go together.
        path: Of the config.
        applied: Remedies that are in ``after``.
    """

    remedies: tuple[Remedy, ...]
    refused: tuple[tuple[Remedy, str], ...]
    before: str
    after: str
    path: str
    applied: tuple[Remedy, ...]

    def diff(self) -> str:
        """The change as a unified diff; empty where there is none."""
        path = clean(self.path)
        lines = unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            f"a/{path}",
            f"b/{path}",
        )
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )


def patch_config(
    path: str, remedies: Sequence[Remedy], *, gpu: str | None = None, options: Options = Options()
) -> Patch:
    """Write remedies into a config, one by one, and keep those that it takes.

    Args:
        path: The config, a TOML file.
        remedies: The most promising first, in keys of the ``rl`` program of main.
        gpu: A card; with it no remedy is kept that makes a config not fit.
        options: How the config is judged.

    Raises:
        UsageError: It cannot be read, or is refused as it is.
    """
    try:
        document = read(path)
    except Unreadable as error:
        raise UsageError(f"--config: {error}") from error
    judge = _Judge(path, options, gpu)
    judge.begin(document)
    kept: list[Remedy] = []
    applied: list[Remedy] = []
    refused: list[tuple[Remedy, str]] = []
    after = document.text
    for remedy in remedies:
        if remedy.value is None:
            kept.append(remedy)
            continue
        fitting, reason = judge.first_fitting(document.text, remedy)
        if fitting is None:
            refused.append((remedy, reason))
            continue
        kept.append(fitting)
        together = judge.first_fitting(after, remedy)[0]
        if together is not None:
            after = judge.text
            applied.append(together)
    return Patch(tuple(kept), tuple(refused), document.text, after, path, tuple(applied))


class _Judge:
    """Whether a text is as good as the config was."""

    def __init__(self, path: str, options: Options, gpu: str | None) -> None:
        self.path = path
        self.checker = Checker(options)
        self.gpu = gpu
        self.errors: set[tuple[str, str]] = set()
        self.root = ""
        self.memory = ""
        self.text = ""

    def begin(self, document: Document) -> None:
        report = self.checker.check_document(document)
        self.errors = {(one.id, one.key) for one in report.findings if one.severity == "error"}
        refusal = next(
            (
                one
                for one in report.findings
                if one.severity == "error" and one.category == "schema"
            ),
            None,
        )
        if refusal is not None:
            raise UsageError(f"{refusal.location}: {refusal.message}")
        if report.root is None:
            raise UsageError(f"{self.path}: {report.root_reason or 'it is no prime-rl config'}")
        self.root = report.root
        self.memory = self._memory(document)

    def first_fitting(self, text: str, remedy: Remedy) -> tuple[Remedy | None, str]:
        """The remedy under the first name that the config knows; the text is in ``text``."""
        reason = f"it has no place in a config for {self.root}"
        for key in (remedy.key, *_OLDER_NAMES.get(remedy.key, ())):
            path = path_of(key, self.root)
            if path is None:
                continue
            reason = self._refuses(text, path, remedy.value)
            if not reason:
                return Remedy(_dotted(path), remedy.value, remedy.why), ""
        return None, reason

    def _refuses(self, text: str, path: KeyPath, value: object) -> str:
        try:
            tree = grow(Document(self.path, text.encode()).data)
            carry_out(tree, Change("set", path, value), set())
            self.text = write(text, tree)
            document = Document(self.path, self.text.encode())
        except (CannotChange, Unreadable, ValueError) as error:
            return str(error)
        report = self.checker.check_document(document)
        for one in report.findings:
            if one.severity == "error" and (one.id, one.key) not in self.errors:
                return one.message
        memory = self._memory(document)
        if _WORSE.index(memory) > _WORSE.index(self.memory) and memory == "does-not-fit":
            return f"the run would no longer fit {self.gpu}"
        return ""

    def _memory(self, document: Document) -> str:
        if self.gpu is None:
            return "unknown"
        from pytest_prime_train.memory.judge import judge, known_card

        config = Config(document.data, self.root, self.checker.schema)
        return judge(config, known_card(self.gpu), path=self.path).estimate.verdict


def path_of(key: str, root: str) -> KeyPath | None:
    """Where a key of an ``rl`` config stands in a config for another program.

    >>> path_of("orchestrator.train.source.0.serve", "orchestrator")
    ('train', 'source', 0, 'serve')
    """
    parts = tuple(int(part) if re.fullmatch(r"\d+", part) else part for part in key.split("."))
    if root == "rl":
        return parts
    if parts[0] == root and root in _PARTS:
        return parts[1:]
    return None


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))
