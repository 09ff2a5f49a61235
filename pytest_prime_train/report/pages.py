"""The page about one kind of finding: ``prime-train explain`` prints it, the docs hold it."""

from __future__ import annotations

from itertools import dropwhile

from pytest_prime_train.declarations import Declaration
from pytest_prime_train.report.text import format_hours

# Lines shown before and after what changes in an example.
_CONTEXT = 2
_FIXES = {
    "safe": "`--fix` writes it, where the file becomes better by it",
    "unsafe": "`--fix --unsafe-fixes` writes it, as it can change what is meant",
}


def render_page(declared: Declaration, *, bad: str = "", good: str = "") -> str:
    """The page in Markdown, with a last newline.

    Args:
        declared: What to explain.
        bad: A config that has the problem, for an example; empty for none.
        good: The same config without the problem.
    """
    parts = [f"# {declared.id}", f"{_sentence(declared.name)}", _facts(declared)]
    parts += _section("Why it costs you", declared.why)
    parts += _section("What to write instead", declared.recommendation)
    parts += _section("Example", _example(bad, good))
    parts += _section("Evidence", _evidence(declared))
    return "\n\n".join(parts) + "\n"


def _facts(declared: Declaration) -> str:
    facts = [f"Severity: {declared.severity}.", f"Category: {declared.category}."]
    if declared.hours_lost:
        basis = f" ({declared.hours_basis.rstrip('.')})" if declared.hours_basis else ""
        facts.append(f"Hours at risk: about {format_hours(declared.hours_lost)}{basis}.")
    if declared.roots:
        facts.append(f"Applies to: {', '.join(declared.roots)}.")
    if declared.keys:
        facts.append(f"Keys: {', '.join(f'`{key}`' for key in declared.keys)}.")
    if declared.since or declared.until:
        first = f"since {declared.since}" if declared.since else ""
        last = f"until {declared.until}" if declared.until else ""
        facts.append(f"prime-rl: {', '.join(filter(None, (first, last)))}.")
    if declared.fixable:
        facts.append(f"Fix: {_FIXES[declared.fixable]}.")
    if declared.status == "preview":
        facts.append("Status: preview, looked for with `--preview` only.")
    elif declared.status == "deprecated":
        successor = f"; use `{declared.replaced_by}`" if declared.replaced_by else ""
        facts.append(f"Status: deprecated{successor}.")
    return "\n".join(f"- {fact}" for fact in facts)


def _section(title: str, body: str) -> list[str]:
    return [f"## {title}", body] if body else []


def _example(bad: str, good: str) -> str:
    """The way from the bad config to the good one, as a diff."""
    if not bad or not good:
        return ""
    from difflib import unified_diff

    lines = list(unified_diff(_body(bad), _body(good), n=_CONTEXT, lineterm=""))[2:]
    shown = [("" if line.startswith("@@") else line).rstrip() for line in lines]
    diff = "\n".join(shown).strip("\n")
    return f"```diff\n{diff}\n```"


def _body(config: str) -> list[str]:
    """The lines of a config without the comments at its top."""
    lines = config.strip().split("\n")
    return list(dropwhile(lambda line: line.startswith("#"), lines))


def _evidence(declared: Declaration) -> str:
    lines = [f"- {source}" for source in declared.evidence]
    if declared.confidence:
        lines.append(f"- Confidence: {declared.confidence}")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
