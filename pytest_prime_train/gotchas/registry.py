"""Where gotchas are declared, found and run.

A gotcha is one decorated function with its facts beside it; all that the project says about it
comes from that one declaration. The modules of the categories are loaded when the first gotcha is
asked for. All of this is on the path of every commit, so facts are plain constants, and what can
tell cheaply that a check will find nothing is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pytest_prime_train.findings import Problem, Severity
from pytest_prime_train.schema.versions import VERSIONS, is_between

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config
    from pytest_prime_train.fixing.changes import Change

Check: TypeAlias = "Callable[..., Iterator[Problem]]"
"""What detects a gotcha: a resolved config in, problems out; never raises for what is in it. Where
it reads facts, they are a second argument (``Facts``), and it raises ``UnknownFact`` without
one."""

Fix: TypeAlias = "Callable[[Config, Problem], tuple[Change, ...]]"
"""What cures a gotcha: the resolved config and one problem in, the changes of the file out; empty
where they cannot be told."""

Status: TypeAlias = Literal["stable", "preview", "deprecated"]
"""Where in its life a gotcha is."""

_CATEGORY_MODULES = (
    "algorithms",
    "batching",
    "checkpointing",
    "cost",
    "datasets",
    "deployment",
    "environments",
    "evaluation",
    "inference",
    "lora",
    "memory",
    "model_names",
    "moe",
    "monitoring",
    "optimizer",
    "parallelism",
    "resume",
    "rollouts",
    "sampling",
    "security",
    "serving",
    "sources",
    "weight_sync",
)

_declared: dict[str, Gotcha] = {}
_applicable: dict[tuple[str, str], tuple[Gotcha, ...]] = {}


class Gotcha:
    """A known way to lose hours that prime-rl's own validation lets pass.

    Attributes:
        id: Stable kebab-case name that states the problem.
        name: The problem in a few words.
        severity: Of its findings, where they do not say otherwise; ``error`` only for what
            prime-rl's source shows to fail or to lose work.
        category: What ``--select`` and ``--ignore`` take besides ids and severities.
        hours_lost: Hours on rented GPUs that the mistake costs.
        hours_basis: Where that figure comes from.
        since: First version of prime-rl it applies to, such as ``0.7``; ``HEAD`` for its main.
        until: Last version it applies to; empty where it still does.
        roots: Programs of prime-rl whose configs can have it; empty for all.
        keys: Keys it reads, dotted, for the documentation; ``[]`` stands for any element.
        needs: Names of keys, without their tables, of which a file has to write one to have the
            problem; empty where a default can be the mistake.
        why: Why it costs hours.
        recommendation: What to write instead, in general; problems say it for their file.
        evidence: Where it was seen.
        confidence: ``verified-in-source``, ``reported`` or ``judgement``.
        detected_by: Where prime-rl itself tells, if anywhere: ``never``, ``launch``,
            ``runtime-warning`` or ``runtime-fatal``.
        check: The detection.
        facts: Facts besides the config that it asks for, where the config gives reason to.
        fix: What changes the file so that the finding is gone; ``None`` where only a person can.
        fix_safe: Whether a fix cannot change what the user wants of the run.
        status: ``stable``; ``preview`` for one that is looked for only where it is asked for;
            ``deprecated`` for one that is not looked for any more unless its id is selected.
        replaced_by: Id of what took the place of a deprecated one; empty for nothing.
    """

    __slots__ = (
        "category",
        "check",
        "confidence",
        "detected_by",
        "evidence",
        "facts",
        "fix",
        "fix_safe",
        "hours_basis",
        "hours_lost",
        "id",
        "keys",
        "name",
        "needs",
        "recommendation",
        "replaced_by",
        "roots",
        "severity",
        "since",
        "status",
        "until",
        "why",
    )

    def __init__(
        self,
        check: Check,
        *,
        id: str,
        name: str,
        severity: Severity,
        category: str,
        hours_lost: float,
        hours_basis: str,
        since: str,
        until: str | None,
        roots: tuple[str, ...],
        keys: tuple[str, ...],
        needs: tuple[str, ...],
        why: str,
        recommendation: str,
        evidence: tuple[str, ...],
        confidence: str,
        detected_by: str,
        fix: Fix | None,
        fix_safe: bool,
        status: Status,
        replaced_by: str,
        facts: tuple[str, ...] = (),
    ) -> None:
        self.check: Final = check
        self.id: Final = id
        self.name: Final = name
        self.severity: Final = severity
        self.category: Final = category
        self.hours_lost: Final = hours_lost
        self.hours_basis: Final = hours_basis
        self.since: Final = since
        self.until: Final = until or ""
        self.roots: Final = roots
        self.keys: Final = keys
        self.needs: Final = needs
        self.why: Final = why
        self.recommendation: Final = recommendation
        self.evidence: Final = evidence
        self.confidence: Final = confidence
        self.detected_by: Final = detected_by
        self.fix: Final = fix
        self.fix_safe: Final = fix_safe
        self.status: Final[Status] = status
        self.replaced_by: Final = replaced_by
        self.facts: Final = facts

    def __repr__(self) -> str:
        return f"<Gotcha {self.id}>"

    def applies_to(self, root: str, version: str) -> bool:
        """Whether a config of this program and bundled version of prime-rl can have it."""
        return (not self.roots or root in self.roots) and is_between(
            version, self.since, self.until
        )


def gotcha(
    *,
    id: str,
    name: str,
    severity: Severity,
    category: str,
    hours_lost: float,
    hours_basis: str,
    since: str,
    why: str,
    recommendation: str,
    evidence: tuple[str, ...],
    confidence: str,
    detected_by: str,
    keys: tuple[str, ...],
    roots: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    until: str | None = None,
    fix: Fix | None = None,
    fix_safe: bool = False,
    status: Status = "stable",
    replaced_by: str = "",
    facts: tuple[str, ...] = (),
) -> Callable[[Check], Check]:
    """Declare the decorated function as the detection of a gotcha; see ``Gotcha`` for the facts.

    Raises:
        ValueError: Another gotcha has this id.
    """

    def declare(check: Check) -> Check:
        known = _declared.get(id)
        # A module may be imported again, as in tests that restore what was imported before them.
        if known is not None and known.check.__module__ != check.__module__:
            raise ValueError(f"two gotchas have the id {id!r}")
        _declared[id] = Gotcha(
            check,
            id=id,
            name=name,
            severity=severity,
            category=category,
            hours_lost=hours_lost,
            hours_basis=hours_basis,
            since=since,
            until=until,
            roots=roots,
            keys=keys,
            needs=needs,
            why=why,
            recommendation=recommendation,
            evidence=evidence,
            confidence=confidence,
            detected_by=detected_by,
            fix=fix,
            fix_safe=fix_safe,
            status=status,
            replaced_by=replaced_by,
            facts=facts,
        )
        _applicable.clear()
        return check

    return declare


def as_recommended(config: Config, problem: Problem) -> tuple[Change, ...]:
    """The fix of a gotcha whose recommendation is an exact edit: just what it says."""
    from pytest_prime_train.fixing.changes import said_in

    return said_in(problem.recommendation)


def all_gotchas() -> tuple[Gotcha, ...]:
    """Every gotcha, sorted by id."""
    _load()
    return tuple(_declared[id] for id in sorted(_declared))


def find(id: str) -> Gotcha | None:
    """The gotcha with this id, or ``None``."""
    _load()
    return _declared.get(id)


def applicable(root: str | None, version: str) -> tuple[Gotcha, ...]:
    """The gotchas that a config can have, sorted by id.

    Args:
        root: Program of prime-rl that reads it; ``None`` for none.
        version: A bundled version of prime-rl; any other has no gotchas.
    """
    if root is None or version not in VERSIONS:
        return ()
    found = _applicable.get((root, version))
    if found is None:
        found = tuple(known for known in all_gotchas() if known.applies_to(root, version))
        _applicable[root, version] = found
    return found


def run(
    config: Config,
    chosen: Iterable[Gotcha] | None = None,
    given: Mapping[str, Any] | None = None,
    unknown: dict[str, str] | None = None,
) -> list[tuple[Gotcha, Problem]]:
    """Look for every gotcha that the config can have.

    Args:
        config: The resolved config.
        chosen: Those of the applicable gotchas to look for; ``None`` for all.
        given: Facts besides the config, by name.
        unknown: Takes the ids of those that a missing fact left open, each with what is missing.
    """
    found: list[tuple[Gotcha, Problem]] = []
    names = config.names
    for known in applicable(config.root, config.version) if chosen is None else chosen:
        if not known.needs or not names.isdisjoint(known.needs):
            if known.facts:
                found += _with_facts(config, known, given or {}, unknown)
                continue
            for problem in known.check(config):
                found.append((known, problem))
    return found


def _with_facts(
    config: Config, known: Gotcha, given: Mapping[str, Any], unknown: dict[str, str] | None
) -> list[tuple[Gotcha, Problem]]:
    """What a gotcha finds that asks for facts; nothing where one of them is unknown."""
    from pytest_prime_train.facts.asking import Facts, UnknownFact

    try:
        return [(known, problem) for problem in known.check(config, Facts(config, given))]
    except UnknownFact as missing:
        if unknown is not None:
            unknown[known.id] = str(missing)
        return []


def _load() -> None:
    """Declare what the modules of the categories declare, once."""
    for module in _CATEGORY_MODULES:
        # Loaded modules cost a look-up; importlib would cost an import.
        __import__(f"pytest_prime_train.gotchas.{module}")
