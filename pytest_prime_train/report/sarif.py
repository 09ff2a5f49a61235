"""Findings as SARIF 2.1.0, for code scanning and for editors.

Format: OASIS Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from pytest_prime_train import __version__
from pytest_prime_train.baseline import stable_key
from pytest_prime_train.declarations import Declaration, find
from pytest_prime_train.findings import Finding, Severity
from pytest_prime_train.report.secrets import conceal
from pytest_prime_train.reports import FileReport

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
"""Where the schema of the format is."""

_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def render_sarif(reports: Sequence[FileReport]) -> str:
    """One run with all findings, the suppressed ones marked so; ASCII only, no last newline."""
    found = [pair for report in reports for pair in _all_of(report)]
    ids = sorted({finding.id for _, finding, _ in found})
    numbers = {id: number for number, id in enumerate(ids)}
    document = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "pytest-prime-train",
                        "semanticVersion": _semantic(__version__),
                        "version": __version__,
                        "rules": [_rule(id) for id in ids],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [
                    _result(report, finding, kind, numbers[finding.id])
                    for report, finding, kind in found
                ],
            }
        ],
    }
    return json.dumps(document, indent=2)


def _all_of(report: FileReport) -> Iterator[tuple[FileReport, Finding, str]]:
    """What was found in a file, each with how it is suppressed; sorted by place."""
    kinds = [(one, "") for one in report.findings]
    kinds += [(one, "inSource") for one in report.suppressed]
    kinds += [(one, "external") for one in report.baselined]
    for finding, kind in sorted(kinds, key=lambda pair: (pair[0].sort_key, pair[1])):
        yield report, finding, kind


def _result(report: FileReport, finding: Finding, kind: str, number: int) -> dict[str, Any]:
    text = report.text_of(finding)
    place, line = finding.location, finding.location.line
    message = conceal(finding.message, finding.key, line, text)
    recommendation = conceal(finding.recommendation, finding.key, line, text)
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(place.path)},
            "region": {
                "startLine": line,
                "startColumn": place.column,
                "endLine": place.end_line,
                "endColumn": place.end_column,
            },
        }
    }
    if finding.key:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.key, "kind": "member"}]
    result: dict[str, Any] = {
        "ruleId": finding.id,
        "ruleIndex": number,
        "level": _LEVELS[finding.severity],
        "message": {"text": " ".join(filter(None, (_sentence(message), recommendation)))},
        "locations": [location],
        "partialFingerprints": {"primeTrainKey/v1": _fingerprint(finding)},
        "properties": {"hours_lost": finding.hours_lost},
    }
    if kind:
        result["suppressions"] = [{"kind": kind}]
    return result


def _rule(id: str) -> dict[str, Any]:
    declared = find(id)
    if declared is None:
        return {"id": id}
    return {
        "id": id,
        "shortDescription": {"text": _sentence(declared.name)},
        "fullDescription": {"text": _sentence(declared.why)},
        "help": {"text": _sentence(declared.recommendation or declared.why)},
        "defaultConfiguration": {"level": _LEVELS[declared.severity]},
        "properties": _properties(declared),
    }


def _properties(declared: Declaration) -> dict[str, Any]:
    return {"tags": [declared.category], "hours_lost": declared.hours_lost}


def _fingerprint(finding: Finding) -> str:
    """What stays the same while lines move."""
    told = "\0".join((finding.location.path, finding.id, stable_key(finding)))
    return sha256(told.encode(errors="surrogateescape")).hexdigest()[:32]


def _uri(path: str) -> str:
    """A path as a reference: relative ones stay so, as code scanning wants them."""
    encoded = quote(os.fsencode(path.replace(os.sep, "/")))
    if encoded.startswith("/"):
        return f"file://{encoded}"
    # Up to the first slash a colon would end the name of a scheme.
    return encoded.removeprefix("./").replace(":", "%3A")


def _semantic(version: str) -> str:
    """A version as SARIF wants it: three numbers, and what comes behind with a hyphen."""
    numbers = version.split(".")[:3]
    rest = version.split(".")[3:]
    return ".".join(numbers) + (f"-{'.'.join(rest)}" if rest else "")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
