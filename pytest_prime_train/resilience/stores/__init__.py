"""Places that backups are kept in: what each must be able to do, and how one is opened.

``file:///DIR`` and ``s3://BUCKET/PREFIX`` are built in; packages add others with the hook
``prime_stores`` (entry points of the group ``prime_train``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pytest_prime_train.findings import UsageError

Buffer: TypeAlias = bytes | bytearray | memoryview
Sink: TypeAlias = Callable[[memoryview], None]
"""Takes the next bytes of an object; it must not keep the view."""


class NotThere(Exception):
    """There is no object of this key."""


class Entry(NamedTuple):
    """An object of a listing.

    Attributes:
        key: Relative to the store's address.
        size: Bytes; -1 for what is no object that can be read, such as a link.
        modified: Seconds since 1970 when it was last written.
    """

    key: str
    size: int
    modified: float


class Part(NamedTuple):
    """A part of an upload that the store has taken.

    Attributes:
        number: Counted from 1.
        size: Bytes.
        token: What the store wants to hear at the end.
        sha256: Digest of its bytes, as they were when they were sent.
    """

    number: int
    size: int
    token: str
    sha256: str


class Upload(NamedTuple):
    """An upload in parts that was begun and neither finished nor given up.

    Attributes:
        key: Of the object to be.
        id: By which the store knows it.
        started: Seconds since 1970.
    """

    key: str
    id: str
    started: float


class Store(Protocol):
    """Objects under keys below one address. Used by several threads at once.

    Every method raises ``StoreFails`` when the store cannot be reached or fails, after a few
    tries of its own; ``StoreRefuses`` when it is there and says no; ``NoRoom`` when it is full.
    An object is seen by readers whole or not at all, and once a method has returned, what it wrote
    survives a crash of the store.

    Attributes:
        url: Its address, without anything secret.
        part_bytes: Size of the parts of an upload that suits it best.
        workers: How many transfers at once suit it best.
        most_parts: Parts that one upload may have.
    """

    url: str
    part_bytes: int
    workers: int
    most_parts: int

    def put(self, key: str, data: Buffer) -> str:
        """Write a whole object, in place of any of that key; returns the SHA-256 of its bytes."""
        ...

    def get(self, key: str, most_bytes: int) -> bytes:
        """A whole small object.

        Raises:
            NotThere: There is none.
            CutShort: It did not arrive whole, or is larger than ``most_bytes``.
        """
        ...

    def read(self, key: str, start: int, length: int, sink: Sink) -> None:
        """Send a range of an object to a sink, in order, and exactly once.

        What the sink raises is passed on; it must not be an ``OSError``.

        Raises:
            NotThere: There is none.
            CutShort: It ended, or the connection did; the sink has had a part.
        """
        ...

    def size(self, key: str) -> int | None:
        """Bytes of an object, as the store has it now; ``None`` if there is none."""
        ...

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every object whose key begins with a prefix, in order of keys."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object, which may be gone already."""
        ...

    def begin(self, key: str) -> str:
        """Begin an upload in parts; returns its id."""
        ...

    def write_part(self, key: str, id: str, number: int, offset: int, data: Buffer) -> Part:
        """Write one part; parts are numbered from 1 and may come in any order."""
        ...

    def kept(self, key: str, id: str, parts: Sequence[tuple[int, Part]]) -> set[int]:
        """Which parts of an upload the store still has, exactly as they were written.

        Args:
            parts: Offset of every part in the object, and the part.
        """
        ...

    def finish(self, key: str, id: str, parts: Sequence[Part]) -> None:
        """Make the object out of its parts, durable at return."""
        ...

    def abort(self, key: str, id: str) -> None:
        """Give an upload up; it may be unknown."""
        ...

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Every upload that was begun below a prefix and neither finished nor given up."""
        ...


class StoreSettings(NamedTuple):
    """How to reach a store. Comes from the command line and the user's own configuration only.

    Attributes:
        endpoint_url: Address of an S3 service other than the SDK's own choice.
        region: Region, where the SDK's own chain has none.
        profile: Profile of the SDK's own configuration.
        addressing: ``path``, ``virtual`` or ``auto``.
        timeout_s: Seconds without a byte after which a connection is given up.
        tries: How often one request is tried.
        bytes_per_s: Limit of what is sent and received together; 0 for none.
    """

    endpoint_url: str = ""
    region: str = ""
    profile: str = ""
    addressing: str = "auto"
    timeout_s: float = 60.0
    tries: int = 5
    bytes_per_s: int = 0


Opener: TypeAlias = Callable[[SplitResult, StoreSettings], Store]
"""Opens a store from its address."""


def open_store(url: str, settings: StoreSettings | None = None) -> Store:
    """Open the store at an address; nothing is sent yet.

    Raises:
        UsageError: The address is not one, or what opens it is not installed.
    """
    parts = split_url(url)
    opener = _OPENERS.get(parts.scheme) or _added_openers().get(parts.scheme)
    if opener is None:
        known = sorted({*_OPENERS, *_added_openers()})
        raise UsageError(
            f"no store is known for {parts.scheme}: addresses (known are "
            f"{', '.join(f'{name}:' for name in known)})"
        )
    return opener(parts, settings or StoreSettings())


def split_url(url: str) -> SplitResult:
    """The parts of a store's address.

    Raises:
        UsageError: It is none, or holds a password.
    """
    try:
        parts = urlsplit(url)
        secret = parts.password or parts.username
    except ValueError as error:
        raise UsageError("the address of the store is not valid") from error
    if secret:
        raise UsageError(
            "the address of a store must not hold a user or a password; credentials come from "
            "the environment or the files of the store's own tools"
        )
    if not parts.scheme or parts.query or parts.fragment or "://" not in url:
        raise UsageError(
            f"{url!r} is not the address of a store; write file:///DIR or s3://BUCKET/PREFIX"
        )
    return parts


def _open_file(parts: SplitResult, settings: StoreSettings) -> Store:
    from pytest_prime_train.resilience.stores.file import open_file_store

    return open_file_store(parts, settings)


def _open_s3(parts: SplitResult, settings: StoreSettings) -> Store:
    from pytest_prime_train.resilience.stores.s3 import open_s3_store

    return open_s3_store(parts, settings)


_OPENERS: dict[str, Opener] = {"file": _open_file, "s3": _open_s3}


def _added_openers() -> dict[str, Opener]:
    """What other packages open, by scheme."""
    from pytest_prime_train.resilience.stores.added import added_openers

    return added_openers()


def is_key(key: str) -> bool:
    """Whether a key is one that can be written: relative, and without a way out."""
    from pytest_prime_train.resilience.manifest import is_safe_path

    return is_safe_path(key)


def json_of(data: bytes) -> Any:
    """What a small JSON object of a store holds; ``None`` where it is no JSON."""
    import json

    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
