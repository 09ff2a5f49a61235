"""The kinds of finding that are not gotchas: what a reader of a config refuses."""

from __future__ import annotations

from typing import NamedTuple

from pytest_prime_train.findings import Severity


class SchemaId(NamedTuple):
    """One kind of finding.

    Attributes:
        id: Stable kebab-case name.
        name: The problem in a few words.
        severity: Of the findings of this kind, where they do not say otherwise.
        why: Why it costs hours.
        recommendation: What to write instead, in general.
        hours_lost: Hours on rented GPUs that are lost when it is met there; 0 where unknown.
        category: What ``--select`` and ``--ignore`` take besides the id.
    """

    id: str
    name: str
    severity: Severity
    why: str
    recommendation: str
    hours_lost: float
    category: str = "schema"


_REFUSED = (
    "prime-rl refuses the whole file for it at start, when the machines are already rented "
    "and the job has waited in its queue."
)

SCHEMA_IDS = (
    SchemaId(
        "toml-syntax",
        "Not a TOML file",
        "error",
        "prime-rl cannot read the file and stops at start.",
        "Correct the place that the message names.",
        0.5,
    ),
    SchemaId(
        "unreadable-file",
        "A file that cannot be read",
        "error",
        "What cannot be read cannot be checked, and prime-rl cannot read it either.",
        "Make the file readable, or remove it.",
        0.5,
    ),
    SchemaId(
        "unrecognised-config",
        "Perhaps a prime-rl config, but for which program cannot be told",
        "info",
        "A file that nobody can assign is not checked.",
        'Name its root: roots = { "path/of/the/file.toml" = "rl" } in [tool.pytest-prime-train] '
        "of pyproject.toml, or --root on the command line.",
        0.0,
    ),
    SchemaId(
        "unknown-key",
        "A key that prime-rl does not know",
        "error",
        _REFUSED,
        "Use the right name, or remove the key.",
        0.5,
    ),
    SchemaId(
        "outdated-key",
        "A key that prime-rl does not know any more",
        "error",
        _REFUSED,
        "Write the key that took its place, or remove it.",
        0.5,
    ),
    SchemaId(
        "command-line",
        "An argument that prime-rl does not take, or takes for something else",
        "error",
        "prime-rl stops at start, or runs without what the argument was meant to set.",
        "Write the argument as the message says.",
        0.5,
    ),
    SchemaId(
        "wrong-type",
        "A value of the wrong type",
        "error",
        _REFUSED,
        "Write a value of the type that the message names.",
        0.5,
    ),
    SchemaId(
        "out-of-range",
        "A value that is out of range, or none of the allowed ones",
        "error",
        _REFUSED,
        "Write a value that the message names.",
        0.5,
    ),
    SchemaId(
        "missing-key",
        "A key that has to be there",
        "error",
        _REFUSED,
        "Add the key.",
        0.5,
    ),
    SchemaId(
        "rule-rl-share-conflict",
        "A shared key and a key of a part of the config that differ",
        "error",
        "prime-rl refuses two different values for the same thing, and it compares them as they "
        "are written.",
        "Keep one of the two.",
        0.5,
    ),
    SchemaId(
        "unchecked-taskset",
        "Keys of an environment package, which were not checked",
        "info",
        "Only the package of a taskset knows its keys; prime-rl imports it and refuses wrong ones.",
        "Start the run once with --dry-run where the package is installed.",
        0.0,
    ),
    SchemaId(
        "memory-trainer",
        "The trainer does not fit the GPU",
        "error",
        "The trainer runs out of memory at its first long batch, when both halves have started.",
        "Make the change that the message names, or take a larger GPU.",
        1.0,
        "memory",
    ),
    SchemaId(
        "memory-inference",
        "The inference server does not fit the GPU",
        "error",
        "vLLM loads the weights and then refuses to start.",
        "Make the change that the message names, or take a larger GPU.",
        0.5,
        "memory",
    ),
    SchemaId(
        "model-incompatible",
        "Something that the model cannot do",
        "error",
        "prime-rl or vLLM finds out when the model is built on all ranks, or never.",
        "Write the value that the message names, or take another model.",
        1.0,
        "memory",
    ),
    SchemaId(
        "cost-budget",
        "A run that is expected to cost more than the budget",
        "error",
        "The bill counts work, checkpoints, lost work, restarts, disk and traffic until the last "
        "step is done, not the price per hour alone.",
        "Take the offer that the message names, train for fewer steps, or raise the budget.",
        0.0,
        "cost",
    ),
    SchemaId(
        "migration-needs-person",
        "A key whose new value somebody has to look at",
        "warning",
        "What the old key said cannot be told in today's keys without knowing the run.",
        "Read what the message says of the key, and write the value that is meant.",
        0.0,
        "migration",
    ),
    SchemaId(
        "migration-note",
        "What is worth knowing of a migrated key",
        "info",
        "A run can behave in another way though its config says the same.",
        "Read it once; there is nothing to do where that is fine.",
        0.0,
        "migration",
    ),
    SchemaId(
        "mixed-versions",
        "Keys of different times in one file",
        "info",
        "No version of prime-rl has read all keys of the file, so a part of it was brought up to "
        "date and the rest was not.",
        "Run prime-train migrate, and look at what the older keys became.",
        0.0,
        "migration",
    ),
    SchemaId(
        "other-packages",
        "A schema that was taken with other versions of verifiers or renderers",
        "info",
        "Which keys a config may have depends on verifiers and renderers as much as on prime-rl.",
        "Start the run once with --dry-run where the pinned versions are installed.",
        0.0,
    ),
    SchemaId(
        "suppression-bare",
        "A comment that would suppress findings, without ids or without a reason",
        "warning",
        "A comment that names no finding would hide those of tomorrow as well, and one without a "
        "reason leaves the next reader to find out what was known. It suppresses nothing.",
        "Write # prime: ignore[ckpt-disabled] and then why it is right here.",
        0.0,
        "suppression",
    ),
    SchemaId(
        "suppression-unused",
        "A comment that suppresses nothing",
        "warning",
        "The finding that it was written for is gone, or is somewhere else; should it come back "
        "here, nobody would see it.",
        "Remove the id, or move the comment to the line, the table header or the first lines of "
        "the file that the finding is about.",
        0.0,
        "suppression",
    ),
    SchemaId(
        "suppression-unknown",
        "A comment that suppresses what there is not, or what cannot be suppressed",
        "warning",
        "A misspelt id suppresses nothing, and what it was meant for is still reported.",
        "Write the id of the finding as it is reported.",
        0.0,
        "suppression",
    ),
    SchemaId(
        "suppression-outdated",
        "A comment that names a deprecated finding",
        "warning",
        "A deprecated finding is not looked for any more, and another one has taken its place.",
        "Write the id that took its place.",
        0.0,
        "suppression",
    ),
    SchemaId(
        "baseline-stale",
        "A baseline that allows what is not found any more",
        "warning",
        "What a baseline still allows can come back without anybody seeing it.",
        "Run prime-train baseline update, which takes out what is gone and adds nothing.",
        0.0,
        "baseline",
    ),
    SchemaId(
        "stale-config",
        "A file that another program of prime-rl would refuse",
        "info",
        "The name of the file points to a program that refuses it.",
        "Rename the file, or bring its keys up to date.",
        0.0,
    ),
)

_BY_ID = {kind.id: kind for kind in SCHEMA_IDS}


def schema_id(id: str) -> SchemaId:
    """The kind of finding with this id.

    Raises:
        KeyError: There is none.
    """
    return _BY_ID[id]
