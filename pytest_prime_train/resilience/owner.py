"""Whose a place in a store is: one run's, until another is told to take it over."""

from __future__ import annotations

import json
from typing import NamedTuple

from pytest_prime_train.resilience.keys import (
    MANIFEST,
    MOST_RECORD_BYTES,
    OWNER_KEY,
    read_manifest,
    utc,
)
from pytest_prime_train.resilience.layout import Layout
from pytest_prime_train.resilience.manifest import BadManifest
from pytest_prime_train.resilience.outcomes import AnotherRun
from pytest_prime_train.resilience.stores import NotThere, Store, json_of

_OWNER_VERSION = 1


class Owner(NamedTuple):
    """Which run a place belongs to.

    Attributes:
        run: Its id.
        former: Ids of the runs that it was taken over from.
        created: UTC time as ISO 8601.
    """

    run: str
    former: tuple[str, ...]
    created: str


def read_owner(store: Store) -> Owner | None:
    """Whose the place is.

    Raises:
        AnotherRun: The record is there and cannot be used, so nobody can tell.
    """
    try:
        data = json_of(store.get(OWNER_KEY, MOST_RECORD_BYTES))
    except NotThere:
        return None
    run = data.get("run") if isinstance(data, dict) else None
    former = data.get("former", []) if isinstance(data, dict) else None
    if not isinstance(run, str) or not run or not isinstance(former, list):
        raise AnotherRun(
            f"{store.url}: {OWNER_KEY} cannot be used, so nobody can tell whose backups these are "
            "(--adopt takes them over)"
        )
    names = tuple(name for name in former if isinstance(name, str))
    return Owner(run, names, str(data.get("created", "")))


def require_own(store: Store, layout: Layout, *, adopt: bool) -> Owner | None:
    """Whose the place is, if this run may read it.

    Raises:
        AnotherRun: It is another run's.
    """
    try:
        owner = read_owner(store)
    except AnotherRun:
        if not adopt:
            raise
        return None
    if owner is not None and owner.run != layout.run and not adopt:
        raise AnotherRun(
            f"{store.url} belongs to the run {owner.run[:80]!r}, not to {layout.run[:80]!r} (name "
            "another place, or --adopt to take it over)"
        )
    return owner


def claim(store: Store, layout: Layout, *, adopt: bool) -> Owner:
    """Make the place this run's own, before anything is written there.

    Raises:
        AnotherRun: It is another run's, or another run claimed it at the same moment.
    """
    found = require_own(store, layout, adopt=adopt)
    if found is not None and found.run == layout.run:
        return found
    if found is None and not adopt:
        _require_no_other_manifests(store, layout)
    former = (*found.former, found.run) if found is not None else ()
    owner = Owner(layout.run, tuple(dict.fromkeys(former)), utc())
    body = {"version": _OWNER_VERSION, **owner._asdict(), "former": list(owner.former)}
    store.put(OWNER_KEY, json.dumps(body, sort_keys=True).encode())
    confirm_own(store, layout)
    return owner


def confirm_own(store: Store, layout: Layout) -> None:
    """Make sure that no other run has taken the place over in the meantime.

    Raises:
        AnotherRun: One has.
    """
    owner = require_own(store, layout, adopt=False)
    if owner is None:
        raise AnotherRun(f"{store.url}: {OWNER_KEY} is gone; somebody else is at work there")


def _require_no_other_manifests(store: Store, layout: Layout) -> None:
    """Refuse a place whose owner record is gone and whose manifests are another run's."""
    for entry in store.list("manifests/"):
        match = MANIFEST.fullmatch(entry.key)
        if match is None:
            continue
        try:
            manifest = read_manifest(store, int(match[1]))
        except (NotThere, BadManifest):
            continue
        if manifest.run != layout.run:
            raise AnotherRun(
                f"{store.url} holds steps of the run {manifest.run[:80]!r}, not of "
                f"{layout.run[:80]!r} (name another place, or --adopt to take it over)"
            )
