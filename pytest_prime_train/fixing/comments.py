"""Taking ids out of comments that suppress nothing any more, or writing today's in their place."""

from __future__ import annotations

from pytest_prime_train.findings import Finding

COMMENT_FIXES = ("suppression-unused", "suppression-outdated")
"""Kinds of findings whose place is an id in a comment."""


def without_id(text: str, finding: Finding, successor: str = "") -> str:
    """The text with one id of a comment taken out; with its last id goes the comment.

    Args:
        text: The text that the finding is about.
        finding: One whose place is an id between the brackets of a comment.
        successor: What to write in place of the id; empty to take it out.
    """
    place = finding.location
    begins = 0
    for _ in range(place.line - 1):
        begins = text.index("\n", begins) + 1
    start, end = begins + place.column - 1, begins + place.end_column - 1
    if successor:
        return text[:start] + successor + text[end:]
    opens, closes = text.rindex("[", begins, start), text.index("]", end)
    left, right = text[opens + 1 : start], text[end:closes]
    if right.lstrip(" \t,"):
        return text[:start] + right.lstrip(" \t,") + text[closes:]
    if left.rstrip(" \t,"):
        return text[: opens + 1] + left.rstrip(" \t,") + text[closes:]
    return _without_comment(text, begins, text.rindex("#", begins, opens))


def _without_comment(text: str, begins: int, hash: int) -> str:
    """The text without what stands behind a ``#``; a line that had nothing else goes with it."""
    ends = text.find("\n", hash)
    ends = len(text) if ends < 0 else ends
    before = text[begins:hash].rstrip(" \t")
    if not before:
        return text[:begins] + text[ends + 1 :]
    carriage = "\r" if text[ends - 1 : ends] == "\r" else ""
    return text[: begins + len(before)] + carriage + text[ends:]
