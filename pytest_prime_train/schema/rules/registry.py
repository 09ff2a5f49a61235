"""Where rules are declared, found and run.

A rule is one decorated function with its facts beside it. Most rules need a key that few files
write, so they name the keys of which a file has to write one, and only the others are asked at
all: this is on the path of every commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_prime_train.findings import KeyPath, Problem, Severity
from pytest_prime_train.schema.rules.scopes import SCOPES
from pytest_prime_train.schema.versions import NEWEST, VERSIONS

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block, Config

Check: TypeAlias = "Callable[[Block], Iterator[Problem]]"
"""What asks a rule of one block: the rule holds where nothing comes out."""

# The modules that declare rules, and the programs whose configs they are about.
_MODULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("common", ("rl", "trainer", "sft", "orchestrator", "inference")),
    ("model", ("rl", "trainer", "sft")),
    ("optimizer", ("rl", "trainer", "sft")),
    ("schedule", ("rl", "trainer", "sft")),
    ("algorithm", ("rl", "orchestrator")),
    ("sources", ("rl", "orchestrator", "sft", "evals", "env_server")),
    ("orchestrator", ("rl", "orchestrator", "sft", "evals")),
    ("inference", ("rl", "inference", "sft")),
    ("parts", ("rl",)),
    ("deployment", ("rl", "sft")),
    ("weights", ("rl",)),
    ("sft", ("sft",)),
    ("evals", ("evals",)),
    ("parallelism", ("rl", "sft")),
)
# Rules that the newest version does not have any more.
_PAST = "past"
_REFUSED = (
    "prime-rl refuses the whole file for it at start, when the machines are already rented "
    "and the job has waited in its queue."
)
_SOURCE = "prime-rl packages/prime-rl-configs/src/prime_rl/"

_declared: dict[str, Rule] = {}
_applicable: dict[tuple[str, str], tuple[Rule, ...]] = {}


class Rule:
    """Something that several keys have to keep together.

    The names are those of a gotcha, so that both are shown by the same code.

    Attributes:
        id: Stable kebab-case name, ``rule-`` and then the part and the rule.
        name: The problem in a few words.
        severity: ``error`` where prime-rl's classes refuse the file, ``warning`` where it only
            warns, or where it refuses only later, when the parts start.
        part: Name of the part in ``SCOPES`` that the rule is about.
        roots: Programs of prime-rl whose configs can break it.
        keys: Keys it reads, dotted, relative to the part.
        needs: Names of keys, without their tables, of which a file has to write one to break it.
        since: First bundled version of prime-rl with the rule.
        until: Last one; empty where the newest still has it.
        why: Why it costs hours.
        recommendation: What to write instead, in general; problems say it for their file.
        evidence: The file and the validator of prime-rl.
        gotcha: A gotcha that says the same and more; what the rule says is left out beside it.
        check: The detection.
    """

    __slots__ = (
        "check",
        "evidence",
        "gotcha",
        "id",
        "keys",
        "name",
        "needs",
        "part",
        "recommendation",
        "roots",
        "severity",
        "since",
        "until",
        "why",
    )

    category: Final = "schema"
    confidence: Final = "verified-in-source"
    hours_lost: Final = 0.5
    hours_basis: Final = "judgement"
    status: Final = "stable"
    replaced_by: Final = ""
    fix: Final = None
    fix_safe: Final = False

    def __init__(
        self,
        check: Check,
        id: str,
        name: str,
        severity: Severity,
        part: str,
        roots: tuple[str, ...],
        keys: tuple[str, ...],
        needs: frozenset[str],
        since: str,
        until: str,
        why: str,
        recommendation: str,
        evidence: tuple[str, ...],
        gotcha: str,
    ) -> None:
        self.check: Final = check
        self.id: Final = id
        self.name: Final = name
        self.severity: Final = severity
        self.part: Final = part
        self.roots: Final = roots
        self.keys: Final = keys
        self.needs: Final = needs
        self.since: Final = since
        self.until: Final = until
        self.why: Final = why
        self.recommendation: Final = recommendation
        self.evidence: Final = evidence
        self.gotcha: Final = gotcha

    def __repr__(self) -> str:
        return f"<Rule {self.id}>"


def rule(
    id: str,
    *,
    name: str,
    part: str,
    keys: tuple[str, ...],
    needs: tuple[str, ...],
    since: str,
    recommendation: str,
    source: str,
    severity: Severity = "error",
    why: str = _REFUSED,
    roots: tuple[str, ...] = (),
    gotcha: str = "",
) -> Callable[[Check], Check]:
    """Declare the decorated function as the check of a rule; see ``Rule`` for the facts.

    Args:
        id: The part and the rule, such as ``rl-gpu-sum``; ``rule-`` is put before it.
        name: As in ``Rule``.
        part: As in ``Rule``.
        keys: As in ``Rule``.
        needs: As in ``Rule``.
        since: A bundled version, or ``HEAD`` for the newest.
        recommendation: As in ``Rule``.
        source: File of prime-rl's configs and the validator in it; ``utils/`` is beside them,
            and ``src/`` and ``deps/`` are at the top of prime-rl.
        severity: As in ``Rule``.
        why: As in ``Rule``.
        roots: Programs, where not all that have the part can break it.
        gotcha: As in ``Rule``.

    Raises:
        ValueError: Another rule has this id.
    """

    def declare(check: Check) -> Check:
        full = f"rule-{id}"
        known = _declared.get(full)
        # A module may be imported again, as in tests that restore what was imported before them.
        if known is not None and known.check.__module__ != check.__module__:
            raise ValueError(f"two rules have the id {full!r}")
        _declared[full] = Rule(
            check,
            full,
            name,
            severity,
            part,
            roots or SCOPES[part][0],
            keys,
            frozenset(needs),
            NEWEST if since == "HEAD" else since,
            VERSIONS[-2] if check.__module__.endswith(f".{_PAST}") else "",
            why,
            recommendation,
            (_place(source),),
            gotcha,
        )
        return check

    return declare


def _place(source: str) -> str:
    if source.startswith(("src/", "deps/")):
        return f"prime-rl {source}"
    return _SOURCE + (source if source.startswith("utils/") else f"configs/{source}")


def all_rules() -> tuple[Rule, ...]:
    """Every rule, sorted by id."""
    _load(None)
    _load_module(_PAST)
    return tuple(_declared[id] for id in sorted(_declared))


def applicable(root: str, version: str) -> tuple[Rule, ...]:
    """The rules that a config of this program and bundled version of prime-rl can break."""
    found = _applicable.get((root, version))
    if found is None:
        _load(root)
        if version != NEWEST:
            _load_module(_PAST)
        found = tuple(
            one for one in _declared.values() if root in one.roots and _has_rule(one, root, version)
        )
        _applicable[root, version] = found
    return found


def run(config: Config, chosen: Iterable[Rule] | None = None) -> list[tuple[Rule, Problem]]:
    """Ask every rule that the config can break.

    Where a part of the config has faults of its own, or shared keys that contradict it, its rules
    are not asked: what they would say may vanish with the fault. The rules of other parts are.

    Args:
        config: The resolved config.
        chosen: Those of the applicable rules to ask; ``None`` for all.
    """
    found: list[tuple[Rule, Problem]] = []
    names = config.names
    blocks: dict[str, list[Block]] = {}
    for one in applicable(config.root, config.version) if chosen is None else chosen:
        if names.isdisjoint(one.needs):
            continue
        parts = blocks.get(one.part)
        if parts is None:
            parts = blocks[one.part] = _clean_blocks(config, one.part)
        for block in parts:
            for problem in one.check(block):
                found.append((one, problem))
    return found


def _clean_blocks(config: Config, part: str) -> list[Block]:
    blocks = [block for block in SCOPES[part][1](config) if block]
    if not (config.faults or config.conflicts):
        return blocks
    faulty = [fault.path for fault in config.faults]
    faulty += [other for _, other in config.conflicts]
    return [block for block in blocks if not any(_touch(block.path(), path) for path in faulty)]


def _touch(block: KeyPath, fault: KeyPath) -> bool:
    """Whether a fault lies in a block, or a block in what is faulty."""
    shorter = min(len(block), len(fault))
    return block[:shorter] == fault[:shorter]


def _has_rule(one: Rule, root: str, version: str) -> bool:
    """Whether a version has the rule, with the keys that it is about."""
    if version == NEWEST:
        return not one.until
    if VERSIONS.index(version) < VERSIONS.index(one.since):
        return False
    from pytest_prime_train.schema.rules.former import knows

    return all(knows(root, version, one.part, key) for key in one.keys)


def _load(root: str | None) -> None:
    """Declare the rules of a program, or all of them, once."""
    for module, roots in _MODULES:
        if root is None or root in roots:
            _load_module(module)


def _load_module(name: str) -> None:
    # Loaded modules cost a look-up; importlib would cost an import.
    __import__(f"pytest_prime_train.schema.rules.{name}")
