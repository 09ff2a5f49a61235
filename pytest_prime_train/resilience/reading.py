"""Reading a backed up step: every chunk is compared with its digest before it counts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from pytest_prime_train.resilience.keys import data_key
from pytest_prime_train.resilience.manifest import FileEntry, Manifest
from pytest_prime_train.resilience.outcomes import NotComplete, StoreFails
from pytest_prime_train.resilience.stores import NotThere, Store

_TRIES = 4
_SECONDS_BEFORE_SECOND_TRY = 0.2


class Chunk(NamedTuple):
    """A range of a file, and its digest."""

    entry: FileEntry
    start: int
    length: int
    sha256: str


Target: TypeAlias = Callable[[int, memoryview], None]
"""Takes bytes with their place in the file, from the chunk's start again when it is read anew."""


def chunks_of(entries: list[FileEntry]) -> Iterator[Chunk]:
    """Every chunk of some files, in order."""
    for entry in entries:
        for start, length, digest in entry.chunks():
            yield Chunk(entry, start, length, digest)


def read_chunk(
    store: Store, manifest: Manifest, chunk: Chunk, target: Target, add: Callable[[int], None]
) -> None:
    """Read a chunk into a target, and again where it did not arrive as it was sent.

    Args:
        add: Is told how many bytes have arrived.

    Raises:
        NotComplete: It is not in the store, or not as it was backed up.
        StoreFails: The store cannot be reached or fails.
    """
    entry = chunk.entry
    for left in reversed(range(_TRIES)):
        digest = hashlib.sha256()
        position = chunk.start

        def take(data: memoryview, digest: hashlib._Hash = digest) -> None:
            nonlocal position
            digest.update(data)
            target(position, data)
            position += len(data)
            add(len(data))

        try:
            store.read(data_key(manifest, entry), chunk.start, chunk.length, take)
        except NotThere as error:
            raise NotComplete(
                f"step {manifest.step} in the store is damaged: {entry.path} is missing"
            ) from error
        except StoreFails:
            if not left:
                raise
        else:
            if digest.hexdigest() == chunk.sha256:
                return
            if not left:
                break
        add(chunk.start - position)
        time.sleep(_SECONDS_BEFORE_SECOND_TRY * 2 ** (_TRIES - 1 - left))
    raise NotComplete(
        f"step {manifest.step} in the store is damaged: {entry.path} has other bytes than were "
        f"backed up, between {chunk.start} and {chunk.start + chunk.length}"
    )


def read_whole(store: Store, manifest: Manifest, entry: FileEntry) -> bytes:
    """The whole of a small file, its digests compared.

    Raises:
        NotComplete: It is not in the store as it was backed up.
        StoreFails: The store cannot be reached or fails.
    """
    data = bytearray(entry.size)

    def take(position: int, block: memoryview) -> None:
        data[position : position + len(block)] = block

    for chunk in chunks_of([entry]):
        read_chunk(store, manifest, chunk, take, lambda _: None)
    return bytes(data)
