"""What a change of prime-rl's configs is, and the ways to declare one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from pytest_prime_train.findings import KeyPath
from pytest_prime_train.migrations.draft import Draft
from pytest_prime_train.migrations.words import clause, show

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config

Apply: TypeAlias = "Callable[[Draft, KeyPath], None]"
"""Applies a change to the part of a draft that begins at a path."""

Kind: TypeAlias = Literal["rename", "move", "remove", "value", "rewrite", "meaning"]
"""What a change does: ``rewrite`` does more than the others can say, ``meaning`` nothing: the key
is still read, but what it says, or what holds without it, is something else."""


class Change(NamedTuple):
    """One change of prime-rl's configs.

    Attributes:
        id: Stable kebab-case name.
        since: First bundled version with it, such as ``v0.6.0``.
        kind: What it does.
        parts: Parts of prime-rl whose keys it is about, as in ``draft.PARTS``.
        old: Keys that are not read any more, or not with all their values, dotted and relative to
            the part; ``[]`` stands for every element of an array. All that is in such a table
            is meant as well.
        new: What takes their place, as people write it; empty where nothing does.
        message: What happened, in one sentence.
        safe: Whether the result never needs a person.
        apply: Applies it; ``None`` for a change of meaning.
        acts: The version on the way to which it is applied, where the version in ``since`` still
            reads the old keys under a short name; empty where that is ``since`` itself.
        dropped: First version that does not read the old form at all, where those from ``since``
            on only advise against it; a file for one of them has the change before it.
        before: What holds at the version before, where the meaning changes.
        after: What holds since.
        touches: Whether a config, resolved for the version before, is touched by a change of
            meaning, where that is not told by the key being left out.
    """

    id: str
    since: str
    kind: Kind
    parts: tuple[str, ...]
    old: tuple[str, ...]
    new: str
    message: str
    safe: bool = True
    apply: Apply | None = None
    acts: str = ""
    dropped: str = ""
    before: Any = None
    after: Any = None
    touches: Callable[[Config, KeyPath], bool] | None = None

    @property
    def acts_at(self) -> str:
        """The version on the way to which it is applied."""
        return self.acts or self.since


def rename(
    id: str,
    since: str,
    parts: tuple[str, ...] | str,
    pairs: dict[str, str],
    message: str,
    kind: Kind = "rename",
    *,
    acts: str = "",
    dropped: str = "",
) -> Change:
    """Keys that have another name or another table now; a table takes all that is in it along."""

    def apply(draft: Draft, prefix: KeyPath) -> None:
        for old, new in pairs.items():
            for path in draft.find(prefix, old):
                draft.move(path, _target(path, prefix, new))

    names = tuple(parts) if isinstance(parts, tuple) else (parts,)
    new = ", ".join(pairs.values())
    return Change(id, since, kind, names, tuple(pairs), new, message, True, apply, acts, dropped)


def _target(path: KeyPath, prefix: KeyPath, new: str) -> KeyPath:
    """The path of a new key, its elements of arrays those of the path that it replaces."""
    numbers = iter([part for part in path[len(prefix) :] if type(part) is int])
    result: list[str | int] = list(prefix)
    for piece in new.split("."):
        result.append(piece.removesuffix("[]"))
        if piece.endswith("[]"):
            result.append(next(numbers))
    return tuple(result)


def remove(
    id: str,
    since: str,
    parts: tuple[str, ...] | str,
    old: tuple[str, ...] | str,
    message: str,
    *,
    harmless: tuple[Any, ...] | None = (),
    person: bool = False,
    advice: str = "",
    dropped: str = "",
) -> Change:
    """Keys that nothing took the place of.

    Args:
        id: As in ``Change``.
        since: As in ``Change``.
        parts: As in ``Change``.
        old: As in ``Change``.
        message: As in ``Change``.
        harmless: Values whose loss changes nothing; ``None`` for all.
        person: Whether the loss of another value needs a person.
        advice: What that person should do.
        dropped: As in ``Change``.
    """
    keys = old if isinstance(old, tuple) else (old,)

    def apply(draft: Draft, prefix: KeyPath) -> None:
        for pattern in keys:
            for path in draft.find(prefix, pattern):
                node = draft.drop(path)
                if node is None or harmless is None or node.is_none:
                    continue
                if node.children is None and node.value in harmless:
                    continue
                key = ".".join(str(part) for part in path)
                shown = f" = {show(node.value)}" if node.children is None else ""
                say = draft.needs_person if person else draft.note
                say(f"{key}{shown} is gone: {clause(message)}", advice, node.source)

    names = tuple(parts) if isinstance(parts, tuple) else (parts,)
    return Change(id, since, "remove", names, keys, "", message, not person, apply, "", dropped)


def value(
    id: str,
    since: str,
    parts: tuple[str, ...] | str,
    key: tuple[str, ...] | str,
    values: dict[Any, Any],
    message: str,
    *,
    person: str = "",
    dropped: str = "",
) -> Change:
    """Values that are written in another way now, or, with ``None``, by leaving the key out.

    Args:
        id: As in ``Change``.
        since: As in ``Change``.
        parts: As in ``Change``.
        key: The keys.
        values: Old value -> new one.
        message: As in ``Change``.
        person: What a person has to look at in the new value; empty where nothing.
        dropped: As in ``Change``.
    """
    keys = key if isinstance(key, tuple) else (key,)

    def apply(draft: Draft, prefix: KeyPath) -> None:
        for pattern in keys:
            for path in draft.find(prefix, pattern):
                node = draft.get(path)
                if node is None or type(node.value) not in (str, int, bool):
                    continue
                old = node.value
                if old not in values:
                    continue
                new = values[old]
                name = ".".join(str(part) for part in path)
                if new is None:
                    draft.drop(path)
                else:
                    draft.set(node, new)
                if person:
                    became = "was left out" if new is None else f"became {show(new)}"
                    draft.needs_person(
                        f"{name} = {show(old)} {became}: {clause(message)}",
                        person,
                        node.source,
                        None if new is None else node,
                    )

    names = tuple(parts) if isinstance(parts, tuple) else (parts,)
    new = ", ".join(sorted({str(item) for item in values.values() if item is not None}))
    return Change(id, since, "value", names, keys, new, message, not person, apply, "", dropped)


def rewrite(
    id: str,
    since: str,
    parts: tuple[str, ...] | str,
    old: tuple[str, ...] | str,
    new: str,
    message: str,
    apply: Apply,
    *,
    safe: bool = True,
    acts: str = "",
    dropped: str = "",
) -> Change:
    """A change that a function carries out."""
    names = tuple(parts) if isinstance(parts, tuple) else (parts,)
    keys = old if isinstance(old, tuple) else (old,)
    return Change(id, since, "rewrite", names, keys, new, message, safe, apply, acts, dropped)


def meaning(
    id: str,
    since: str,
    parts: tuple[str, ...] | str,
    key: tuple[str, ...] | str,
    before: Any,
    after: Any,
    message: str,
    touches: Callable[[Config, KeyPath], bool] | None = None,
) -> Change:
    """A change that no error tells of."""
    names = tuple(parts) if isinstance(parts, tuple) else (parts,)
    keys = key if isinstance(key, tuple) else (key,)
    return Change(
        id, since, "meaning", names, keys, "", message, True, None, "", "", before, after, touches
    )
