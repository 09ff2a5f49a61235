"""Names of what a run's place in a store holds, and how a manifest there is read.

::

    owner.json                                      which run the place belongs to
    manifests/step-0000000025.json                  what makes a step exist, written last
    data/step-0000000025/<upload>/trainer/…         its files, written first
    verified/step-0000000025.json                   when all of it was last read back
    pruned.json                                     which steps were given up on purpose

Every upload of a step has a folder of its own: what a manifest speaks of is never written over.
"""

from __future__ import annotations

import re
import secrets
import time

from pytest_prime_train.resilience import manifest as manifests
from pytest_prime_train.resilience.manifest import FileEntry, Manifest
from pytest_prime_train.resilience.stores import Store

OWNER_KEY = "owner.json"
PRUNED_KEY = "pruned.json"
MOST_RECORD_BYTES = 4 << 20
"""A record that is no manifest is refused above this size."""
MANIFEST = re.compile(r"manifests/step-([0-9]{10})\.json")
VERIFIED = re.compile(r"verified/step-([0-9]{10})\.json")
DATA = re.compile(r"data/step-([0-9]{10})/([^/]+)/(.+)")


def manifest_key(step: int) -> str:
    """Key of the manifest of a step."""
    return f"manifests/step-{step:010d}.json"


def verified_key(step: int) -> str:
    """Key of the record that a step was read back."""
    return f"verified/step-{step:010d}.json"


def data_prefix(step: int, generation: str = "") -> str:
    """What the keys of the files of a step, or of one upload of it, begin with."""
    return f"data/step-{step:010d}/" + (f"{generation}/" if generation else "")


def data_key(manifest: Manifest, entry: FileEntry) -> str:
    """Key of a file of a step."""
    return data_prefix(manifest.step, manifest.generation) + entry.path


def new_generation() -> str:
    """A name for an upload, which no other has."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime()) + "-" + secrets.token_hex(6)


def utc(seconds: float | None = None) -> str:
    """A time as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def read_manifest(store: Store, step: int) -> Manifest:
    """The manifest of a step.

    Raises:
        NotThere: The step is not backed up.
        BadManifest: It cannot be used.
    """
    return manifests.from_bytes(store.get(manifest_key(step), manifests.MOST_BYTES), step)
