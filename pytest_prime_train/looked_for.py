"""Whether a run would have reported a finding: asked of what comments and baselines still allow.

What was not looked for cannot be called gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_prime_train.reports import FileReport

if TYPE_CHECKING:
    from pytest_prime_train.checker import Checker
    from pytest_prime_train.declarations import Declaration

# Found by other commands, or only where something is asked for besides the check.
_NOT_ALWAYS = frozenset(("migration", "memory", "cost"))


def is_looked_for(checker: Checker, report: FileReport, id: str) -> bool:
    """Whether a finding would be in a report if there were one; so for an id that there is not."""
    from pytest_prime_train.declarations import find

    declared = find(id)
    if declared is None:
        return True
    if declared.category in _NOT_ALWAYS and not _is_estimated(report, declared):
        return False
    # Gotchas and rules are not asked of a refused file.
    if report.unchecked and (declared.category != "schema" or declared.evidence):
        return False
    if id in report.unknown or not _runs(checker, report, declared):
        return False
    if not checker.shows_infos and declared.severity == "info":
        return False
    names = (declared.id, declared.category, declared.severity)
    return checker.wants_names(*names) and checker.ignored_in(report.path).isdisjoint(names)


def _runs(checker: Checker, report: FileReport, declared: Declaration) -> bool:
    """Whether a gotcha is one that the run looks for; anything else is."""
    if declared.status == "stable":
        return True
    looked_for = checker.gotchas_for(report.root, report.version)
    return any(gotcha.id == declared.id for gotcha in looked_for)


def _is_estimated(report: FileReport, declared: Declaration) -> bool:
    """Whether an estimate was asked for and could be made; the categories of the same names hold
    gotchas as well, which need none."""
    if declared.id in ("memory-trainer", "memory-inference", "model-incompatible"):
        return bool(report.cards) and not any(card.unknown for card in report.cards)
    if declared.id == "cost-budget":
        return report.bill is not None and not report.bill.unknown
    return declared.category != "migration"
