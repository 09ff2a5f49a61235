"""Every kind of finding there is, whichever room declares it: for ``explain``, docs and options."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pytest_prime_train.findings import SEVERITIES, Severity, UsageError

if TYPE_CHECKING:
    from pytest_prime_train.gotchas.registry import Gotcha
    from pytest_prime_train.schema.rules.registry import Rule


class Declaration(NamedTuple):
    """What is known about one kind of finding.

    Attributes:
        id: Stable kebab-case name.
        name: The problem in a few words.
        severity: Of most findings of this kind.
        category: What ``--select`` and ``--ignore`` take besides ids and severities.
        hours_lost: Hours that the mistake costs on rented GPUs; 0 where unknown.
        hours_basis: Where that figure comes from.
        since: First version of prime-rl it applies to; empty for any.
        until: Last version of prime-rl it applies to; empty where it still does.
        roots: Programs of prime-rl whose configs can have it; empty for all.
        keys: Keys it reads, dotted.
        why: Why it costs hours.
        recommendation: What to write instead.
        evidence: Where it was seen.
        confidence: How sure that is.
        fixable: ``safe`` or ``unsafe`` where a fix can be made; empty where only a person can.
        status: ``stable``, ``preview`` or ``deprecated``.
        replaced_by: Id of what took the place of a deprecated one.
    """

    id: str
    name: str
    severity: Severity
    category: str
    hours_lost: float
    hours_basis: str
    since: str
    until: str
    roots: tuple[str, ...]
    keys: tuple[str, ...]
    why: str
    recommendation: str
    evidence: tuple[str, ...]
    confidence: str
    fixable: str
    status: str
    replaced_by: str


@cache
def all_declarations() -> tuple[Declaration, ...]:
    """Every kind of finding, sorted by id."""
    from pytest_prime_train.fixing.changes import SCHEMA_FIXES
    from pytest_prime_train.gotchas import all_gotchas
    from pytest_prime_train.schema.ids import SCHEMA_IDS
    from pytest_prime_train.schema.rules.registry import all_rules

    declared = [
        Declaration(
            id=kind.id,
            name=kind.name,
            severity=kind.severity,
            category=kind.category,
            hours_lost=kind.hours_lost,
            hours_basis="",
            since="",
            until="",
            roots=(),
            keys=(),
            why=kind.why,
            recommendation=kind.recommendation,
            evidence=(),
            confidence="",
            fixable=SCHEMA_FIXES.get(kind.id, ""),
            status="stable",
            replaced_by="",
        )
        for kind in SCHEMA_IDS
    ]
    known: tuple[Gotcha | Rule, ...] = (*all_gotchas(), *all_rules())
    for gotcha in known:
        named = (name for name in Declaration._fields if name != "fixable")
        facts = {name: getattr(gotcha, name) for name in named}
        fixable = ""
        if gotcha.fix is not None:
            fixable = "safe" if gotcha.fix_safe else "unsafe"
        declared.append(Declaration(**facts, fixable=fixable))
    return tuple(sorted(declared))


def find(id: str) -> Declaration | None:
    """The kind of finding with this id, or ``None``."""
    return _by_id().get(id)


@cache
def _by_id() -> dict[str, Declaration]:
    return {declared.id: declared for declared in all_declarations()}


def selectable() -> tuple[str, ...]:
    """What ``--select`` and ``--ignore`` take: ids, categories and severities, sorted."""
    declared = all_declarations()
    names = {*SEVERITIES, *(kind.id for kind in declared), *(kind.category for kind in declared)}
    return tuple(sorted(names))


def about_selected(names: Iterable[str], *, preview: bool) -> list[str]:
    """What is to be said of selected ids: a sentence for each that is deprecated.

    Args:
        names: Ids, categories and severities that are selected.
        preview: Whether gotchas in preview are looked for.

    Raises:
        UsageError: The id of a gotcha in preview is selected, and none is looked for.
    """
    sentences: list[str] = []
    for name in sorted(names):
        declared = find(name)
        if declared is None or declared.status == "stable":
            continue
        if declared.status == "preview" and not preview:
            raise UsageError(f"{name} is in preview, and is looked for with --preview only")
        if declared.status == "deprecated":
            successor = declared.replaced_by
            became = f"select {successor} instead" if successor else "nothing took its place"
            sentences.append(f"{name} is deprecated: {became}")
    return sentences


def require_known(values: Iterable[str]) -> tuple[str, ...]:
    """The ids, categories and severities in values that may hold several, split at commas.

    Raises:
        UsageError: One of them is none.
    """
    names = [name for value in values for name in value.replace(" ", "").split(",") if name]
    known = selectable() if names else ()
    for name in names:
        if name not in known:
            from pytest_prime_train.schema.suggest import did_you_mean

            raise UsageError(
                f"no finding, category or severity is called {name!r}{did_you_mean(name, known)}"
            )
    return tuple(names)
