"""One suite that every kind of store has to pass, and what is special about each."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fault_proxy import fault_proxy
from pytest_prime_train.findings import UsageError
from pytest_prime_train.resilience.outcomes import (
    BackupError,
    CutShort,
    StoreFails,
    StoreRefuses,
)
from pytest_prime_train.resilience.stores import (
    Entry,
    NotThere,
    Part,
    Store,
    StoreSettings,
    Upload,
    open_store,
)
from pytest_prime_train.resilience.stores.added import added_openers
from swift_server import free_ports, is_installed, shared_server

PART = 5 << 20  # AWS takes no smaller part but the last
Opens = Callable[..., Store]

ADDED = '''
"""A store that keeps everything in memory, as a package of somebody else."""
import hashlib, threading, time
from pytest_prime_train.resilience.outcomes import CutShort, StoreRefuses
from pytest_prime_train.resilience.stores import Entry, NotThere, Part, Upload, is_key
from pytest_prime_train.resilience.stores.added import hookimpl
from pytest_prime_train.resilience.stores.pace import Pace

OBJECTS = {}

class MemoryStore:
    part_bytes, workers, most_parts = 1 << 20, 2, 10_000

    def __init__(self, parts, settings):
        self.url = f"mem://{parts.netloc}"
        self.objects, self.begun = OBJECTS.setdefault(self.url, ({}, {}))
        self.pace = Pace(settings.bytes_per_s)

    def _check(self, key):
        if not is_key(key):
            raise StoreRefuses("not a key")

    def put(self, key, data):
        self._check(key)
        self.pace.wait(len(data)); self.pace.wait(0)
        self.objects[key] = (bytes(data), time.time())
        return hashlib.sha256(data).hexdigest()

    def get(self, key, most_bytes):
        if key not in self.objects:
            raise NotThere(key)
        if len(self.objects[key][0]) > most_bytes:
            raise CutShort("too large")
        return self.objects[key][0]

    def read(self, key, start, length, sink):
        data = self.get(key, 1 << 40)[start : start + length]
        self.pace.wait(len(data)); self.pace.wait(0)
        if data:
            sink(memoryview(data))
        if len(data) < length:
            raise CutShort("short")

    def size(self, key):
        return len(self.objects[key][0]) if key in self.objects else None

    def list(self, prefix):
        for key, (data, at) in sorted(self.objects.items()):
            if key.startswith(prefix):
                yield Entry(key, len(data), at)

    def delete(self, key):
        self.objects.pop(key, None)

    def begin(self, key):
        self._check(key)
        id = f"u{len(self.begun)}"
        self.begun[id] = (key, {}, time.time())
        return id

    def write_part(self, key, id, number, offset, data):
        part = Part(number, len(data), "t", hashlib.sha256(data).hexdigest())
        self.begun[id][1][number] = bytes(data)
        return part

    def kept(self, key, id, parts):
        has = self.begun.get(id, ("", {}, 0))[1]
        return {one.number for _, one in parts
                if hashlib.sha256(has.get(one.number, b"-")).hexdigest() == one.sha256}

    def finish(self, key, id, parts):
        _, has, _ = self.begun.pop(id)
        self.objects[key] = (b"".join(has[one.number] for one in parts), time.time())

    def abort(self, key, id):
        self.begun.pop(id, None)

    def uploads(self, prefix):
        for id, (key, _, at) in self.begun.items():
            if key.startswith(prefix):
                yield Upload(key, id, at)

@hookimpl
def prime_stores():
    return {"mem": MemoryStore}
'''


def install_added_store(folder: Path) -> None:
    """Write a package that adds a store, as pip would install it."""
    (folder / "made_store.py").write_text(ADDED)
    facts = folder / "made_store-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: made-store\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[prime_train]\nmem = made_store\n")


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "packages"
    folder.mkdir()
    install_added_store(folder)
    monkeypatch.syspath_prepend(folder)
    added_openers.cache_clear()
    yield
    added_openers.cache_clear()
    sys.modules.pop("made_store", None)


@pytest.fixture(params=["file", "s3", "added"])
def opens(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opens:
    """Opens the same empty place of a kind of store as often as wanted."""
    if request.param == "file":
        url, settings = f"file://{tmp_path}/a store with spaces", StoreSettings()
    elif request.param == "s3":
        if not is_installed():
            pytest.skip("the extra s3 is not installed (and swift)")
        server = shared_server()
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = f"s3://{server.bucket}/{tmp_path.name}/{time.time_ns()}"
        settings = StoreSettings(endpoint_url=server.endpoint)
    else:
        request.getfixturevalue("added")
        url, settings = f"mem://{tmp_path.name}", StoreSettings()

    def opener(**changes: Any) -> Store:
        return open_store(url, settings._replace(**changes))

    return opener


@pytest.fixture
def store(opens: Opens) -> Store:
    return opens()


def read(store: Store, key: str, start: int, length: int) -> bytes:
    data = bytearray()
    store.read(key, start, length, lambda block: data.extend(block))
    return bytes(data)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---------------------------------------------------------------- the suite


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(100_000)], ids=["empty", "one", "many"])
def test_what_was_put_is_read_back(store: Store, opens: Opens, data: bytes) -> None:
    assert store.put("a/b c/ü.bin", data) == sha256(data)
    other = opens()
    assert other.get("a/b c/ü.bin", 1 << 20) == data
    assert other.size("a/b c/ü.bin") == len(data)
    assert read(other, "a/b c/ü.bin", 0, len(data)) == data


def test_a_view_of_a_part_of_a_buffer_can_be_put(store: Store) -> None:
    buffer = bytearray(os.urandom(1000))
    assert store.put("a", memoryview(buffer)[:10]) == sha256(bytes(buffer[:10]))
    assert store.get("a", 100) == bytes(buffer[:10])


def test_an_object_is_replaced_whole(store: Store) -> None:
    store.put("a", b"long before")
    store.put("a", b"new")
    assert store.get("a", 100) == b"new"
    assert [entry.size for entry in store.list("")] == [3]


def test_what_is_not_there_is_told_apart_from_a_failure(store: Store) -> None:
    assert store.size("no/thing") is None
    with pytest.raises(NotThere):
        store.get("no/thing", 10)
    with pytest.raises(NotThere):
        read(store, "no/thing", 0, 10)
    store.put("no/thing/below", b"x")
    assert store.size("no/thing") is None
    with pytest.raises(NotThere):
        store.get("no/thing/below/that", 10)
    store.delete("no/thing/at all")
    store.delete("no/such/folder/at all")


def test_a_small_object_that_is_too_large_is_refused(store: Store) -> None:
    store.put("a", b"x" * 11)
    assert store.get("a", 11) == b"x" * 11
    with pytest.raises(CutShort):
        store.get("a", 10)


def test_ranges_are_exact(store: Store) -> None:
    data = os.urandom(3_000_000)
    store.put("a", data)
    for start, length in [(0, 1), (1, 1), (2_999_999, 1), (1_000_000, 1_048_577), (5, 0)]:
        assert read(store, "a", start, length) == data[start : start + length]


@pytest.mark.parametrize(("start", "length"), [(0, 11), (5, 6), (10, 1), (100, 5)])
def test_a_range_that_is_not_there_is_cut_short(store: Store, start: int, length: int) -> None:
    store.put("a", b"0123456789")
    with pytest.raises(CutShort):
        read(store, "a", start, length)


def test_what_a_sink_raises_is_passed_on_and_the_store_goes_on(store: Store) -> None:
    store.put("a", b"x" * 2_000_000)

    def sink(block: memoryview) -> None:
        raise BackupError("the disk here is full")

    with pytest.raises(BackupError, match="the disk here is full"):
        store.read("a", 0, 2_000_000, sink)
    assert read(store, "a", 0, 3) == b"xxx"


def test_listings_hold_what_is_below_a_prefix_in_order(store: Store) -> None:
    for key in ("b/2", "a", "b/10", "b/1/x", "bb"):
        store.put(key, key.encode())
    entries = list(store.list("b/"))
    assert [(entry.key, entry.size) for entry in entries] == [("b/1/x", 5), ("b/10", 4), ("b/2", 3)]
    assert all(abs(entry.modified - time.time()) < 600 for entry in entries)
    assert [entry.key for entry in store.list("")] == ["a", "b/1/x", "b/10", "b/2", "bb"]
    assert list(store.list("nothing/")) == []


def test_deleting_leaves_the_others(store: Store) -> None:
    store.put("a/x", b"1")
    store.put("a/y", b"2")
    store.delete("a/x")
    assert [entry.key for entry in store.list("")] == ["a/y"]
    store.delete("a/y")
    assert list(store.list("")) == []
    store.put("a/x", b"again")
    assert store.get("a/x", 10) == b"again"


def begun(store: Store, key: str, parts: list[bytes]) -> tuple[str, list[Part]]:
    """An upload with its parts written backwards."""
    id = store.begin(key)
    offsets = [sum(map(len, parts[:number])) for number in range(len(parts))]
    written = [
        store.write_part(key, id, number + 1, offsets[number], parts[number])
        for number in reversed(range(len(parts)))
    ]
    return id, written[::-1]


def test_an_upload_in_parts_is_seen_when_it_is_finished(store: Store, opens: Opens) -> None:
    parts = [os.urandom(PART), os.urandom(PART), b"end"]
    id, written = begun(store, "a/big", parts)
    assert [part.sha256 for part in written] == [sha256(part) for part in parts]
    assert [part.size for part in written] == [PART, PART, 3]
    assert store.size("a/big") is None
    assert list(store.list("")) == []
    opens().finish("a/big", id, written)
    assert store.size("a/big") == 2 * PART + 3
    assert read(store, "a/big", PART - 1, PART + 4) == parts[0][-1:] + parts[1] + b"end"
    assert [(entry.key, entry.size) for entry in store.list("")] == [("a/big", 2 * PART + 3)]
    assert list(store.uploads("")) == []


def test_an_upload_can_be_gone_on_with(store: Store, opens: Opens) -> None:
    id = store.begin("a")
    first = store.write_part("a", id, 1, 0, b"1" * PART)
    again = opens()
    lost = Part(2, 3, "nothing", sha256(b"two"))
    changed = first._replace(token="other", sha256=sha256(b"other"))
    assert again.kept("a", id, [(0, first), (PART, lost)]) == {1}
    assert again.kept("a", id, [(0, changed)]) == set()
    second = again.write_part("a", id, 2, PART, b"two")
    assert again.kept("a", id, [(0, first), (PART, second)]) == {1, 2}
    again.finish("a", id, [first, second])
    assert read(again, "a", PART - 1, 4) == b"1two"


def test_a_part_can_be_written_twice(store: Store) -> None:
    id = store.begin("a")
    store.write_part("a", id, 1, 0, b"1" * PART)
    first = store.write_part("a", id, 1, 0, b"2" * PART)
    second = store.write_part("a", id, 2, PART, b"end")
    store.finish("a", id, [first, second])
    assert read(store, "a", PART - 1, 4) == b"2end"


def test_an_upload_that_is_given_up_leaves_nothing(store: Store) -> None:
    id, written = begun(store, "a", [b"1" * PART, b"2"])
    assert [upload.key for upload in store.uploads("")] == ["a"]
    assert list(store.uploads("b")) == []
    store.abort("a", id)
    assert list(store.uploads("")) == []
    assert list(store.list("")) == []
    assert store.kept("a", id, [(0, written[0])]) == set()
    store.abort("a", id)


def test_uploads_tell_when_they_were_begun(store: Store) -> None:
    id = store.begin("data/x")
    (upload,) = store.uploads("data/")
    assert upload == Upload("data/x", id, upload.started)
    assert abs(upload.started - time.time()) < 600
    store.abort("data/x", id)


@pytest.mark.parametrize(
    "key", ["../out", "a/../../out", "/etc/out", "a//b", "a/./b", "", "a\\b", "a\0b", "x" * 300]
)
def test_keys_that_lead_elsewhere_are_refused(store: Store, key: str) -> None:
    with pytest.raises(StoreRefuses):
        store.put(key, b"x")
    with pytest.raises(StoreRefuses):
        store.begin(key)
    assert list(store.list("")) == []


def test_of_two_writers_one_wins_whole(opens: Opens) -> None:
    contents = [bytes([number]) * 300_000 for number in range(4)]

    def write(content: bytes) -> None:
        opens().put("a", content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opens().get("a", 1 << 20) in contents


def test_the_limit_holds_for_both_ways(opens: Opens) -> None:
    data = os.urandom(1 << 20)
    opens().put("a", data)
    slow = opens(bytes_per_s=4 << 20)
    start = time.monotonic()
    assert slow.put("b", data) == sha256(data)
    assert read(slow, "a", 0, len(data)) == data
    id = slow.begin("c")
    assert slow.write_part("c", id, 1, 0, data).sha256 == sha256(data)
    slow.abort("c", id)
    # Three quarters of a second at this rate; the last block of each may go at once.
    assert time.monotonic() - start > 0.3
    assert opens().get("b", 1 << 20) == data


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "not the address"),
        ("/data/backups", "not the address"),
        ("s3:bucket", "not the address"),
        ("s3://bucket/x?versionId=3", "not the address"),
        ("ftp://host/x", "known are file:, s3:"),
        ("s3://user:secret-word@host/x", "must not hold a user or a password"),
        ("file://data/backups", "three slashes"),
        ("file://host.example.com/data", "three slashes"),
        ("s3:///prefix", "s3://BUCKET/PREFIX"),
        ("s3://bucket/../other", "cannot be the prefix"),
        ("s3://[half/x", "not valid"),
    ],
)
def test_addresses_that_are_none_are_refused(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        open_store(url)
    assert "secret-word" not in str(raised.value)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UsageError, match=r"pip install 'pytest-prime-train\[s3\]'"):
        open_store("s3://bucket/x")


@pytest.mark.usefixtures("added")
def test_a_package_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packages" / "made_store.py").write_text("raise RuntimeError('no licence')\n")
    with pytest.raises(UsageError, match="RuntimeError: no licence"):
        open_store("mem://x")


# ---------------------------------------------------------------- folders


def test_a_link_in_a_folder_is_no_object(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = tmp_path / "store"
    root.mkdir()
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    store = open_store(f"file://{root}")
    assert [(entry.key, entry.size) for entry in store.list("")] == [("file", -1), ("folder", -1)]
    assert store.size("file") == -1
    for key in ("file", "folder/secret"):
        with pytest.raises(StoreRefuses):
            store.get(key, 100)
        with pytest.raises(StoreRefuses):
            read(store, key, 0, 6)
    with pytest.raises(StoreRefuses):
        store.put("folder/new", b"x")
    with pytest.raises(StoreRefuses):
        store.delete("folder/secret")
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert list(store.list("folder/")) == []


def test_a_folder_of_a_store_that_is_a_file_fails_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = open_store(f"file://{tmp_path}/file/store")
    with pytest.raises(StoreFails, match="not a directory"):
        store.put("a", b"x")


def test_parts_that_a_crash_of_the_machine_has_lost_are_noticed(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    id = store.begin("a")
    part = store.write_part("a", id, 1, 0, b"x" * 5000)
    with open(tmp_path / ".incoming" / id, "r+b") as stream:
        stream.seek(2000)
        stream.write(bytes(100))
    assert store.kept("a", id, [(0, part)]) == set()


def test_an_object_appears_with_its_folders_only_when_it_is_whole(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    id = store.begin("a/b/c")
    part = store.write_part("a/b/c", id, 1, 0, b"x")
    assert not (tmp_path / "a").exists()
    with pytest.raises(CutShort):
        store.finish("a/b/c", id, [part, Part(2, 1, "", "")])
    assert not (tmp_path / "a").exists()
    store.finish("a/b/c", id, [part])
    assert (tmp_path / "a/b/c").read_bytes() == b"x"
    assert list((tmp_path / ".incoming").iterdir()) == []


# ---------------------------------------------------------------- S3


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> str:
    if not is_installed():
        pytest.skip("the extra s3 is not installed (and swift)")
    server = shared_server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server.endpoint


def s3(endpoint: str, path: str = "", **changes: Any) -> Store:
    url = f"s3://{shared_server().bucket}/{path or time.time_ns()}"
    settings = StoreSettings(endpoint_url=endpoint, tries=1, timeout_s=2)
    return open_store(url, settings._replace(**changes))


def test_wrong_credentials_are_refused_and_not_shown(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-word")
    with pytest.raises(StoreRefuses, match="SignatureDoesNotMatch") as raised:
        s3(endpoint).put("a", b"x")
    assert "wrong-secret-word" not in str(raised.value)


def test_missing_credentials_are_named(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreRefuses, match="no credentials were found"):
        s3(endpoint).put("a", b"x")


def test_a_profile_that_is_not_there_is_wrong_use(endpoint: str) -> None:
    with pytest.raises(UsageError, match="no-such-profile"):
        s3(endpoint, profile="no-such-profile")


def test_a_bucket_that_is_not_there_is_named(endpoint: str) -> None:
    settings = StoreSettings(endpoint_url=endpoint)
    store = open_store("s3://no-such-bucket/x", settings)
    with pytest.raises(StoreRefuses, match="there is no such bucket"):
        store.put("a", b"x")
    with pytest.raises(StoreRefuses, match="there is no such bucket"):
        list(store.list(""))


@pytest.mark.usefixtures("endpoint")
def test_a_server_that_is_not_there_is_a_failure() -> None:
    store = s3(f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(StoreFails, match="cannot be reached"):
        store.put("a", b"x")


@pytest.mark.parametrize("address", ["ftp://x", "localhost:9000", "http://", "s3.example.com"])
@pytest.mark.usefixtures("endpoint")
def test_an_endpoint_that_is_none_is_wrong_use(address: str) -> None:
    with pytest.raises(UsageError, match="endpoint"):
        s3(address)


@pytest.mark.usefixtures("endpoint")
def test_an_endpoint_with_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError, match="password") as raised:
        s3("http://me:secret-word@127.0.0.1:1")
    assert "secret-word" not in str(raised.value)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("500", "InternalError"),
        ("503", "ServiceUnavailable"),
        ("silent", "did not answer in time"),
        ("refused", "cannot be reached"),
        ("cut-request", "cannot be reached|broke"),
        ("lost-answer", "cannot be reached|broke"),
    ],
)
def test_failures_of_the_network_are_told_in_one_sentence(
    endpoint: str, mode: str, words: str
) -> None:
    with fault_proxy(endpoint) as proxy:
        store = s3(proxy.endpoint)
        proxy.spoil_number(1, mode)
        with pytest.raises(StoreFails, match=words) as raised:
            store.put("a", b"x" * 100_000)
        assert "\n" not in str(raised.value)
        assert proxy.hits == 1


@pytest.mark.parametrize("mode", ["500", "503", "refused", "lost-answer"])
def test_one_failure_is_made_up_for_by_another_try(endpoint: str, mode: str) -> None:
    with fault_proxy(endpoint) as proxy:
        store = s3(proxy.endpoint, tries=4)
        proxy.spoil_number(1, mode)
        store.put("a", b"x" * 1000)
        assert proxy.hits == 1
        assert store.get("a", 1000) == b"x" * 1000


@pytest.mark.parametrize("mode", ["cut-answer", "short-answer"])
def test_an_answer_that_is_cut_is_noticed(endpoint: str, mode: str) -> None:
    with fault_proxy(endpoint) as proxy:
        store = s3(proxy.endpoint)
        store.put("a", b"x" * 3_000_000)
        proxy.spoil_number(1, mode)
        with pytest.raises(CutShort):
            read(store, "a", 0, 3_000_000)
        assert read(store, "a", 0, 3_000_000) == b"x" * 3_000_000


def test_a_body_that_is_changed_on_its_way_is_refused_by_the_store(endpoint: str) -> None:
    """Bodies are signed, so that what arrives is what was read."""
    store = s3(endpoint)
    client: Any = store._client  # type: ignore[attr-defined]

    def change(request: Any, **_: Any) -> None:
        request.body = b"y" * 1000

    client.meta.events.register("before-send.s3.PutObject", change)
    with pytest.raises(StoreFails, match=r"XAmzContentSHA256Mismatch|BadDigest"):
        store.put("a", b"x" * 1000)
    assert store.size("a") is None


def test_finishing_twice_is_no_failure_when_the_answer_was_lost(endpoint: str) -> None:
    with fault_proxy(endpoint) as proxy:
        store = s3(proxy.endpoint, tries=4)
        id, written = begun(store, "a", [b"1" * PART, b"2"])
        proxy.spoil_number(1, "lost-answer")
        store.finish("a", id, written)
        assert store.size("a") == PART + 1


def test_nothing_is_sent_that_other_services_do_not_know(endpoint: str) -> None:
    seen: list[str] = []
    store = s3(endpoint)
    client: Any = store._client  # type: ignore[attr-defined]
    client.meta.events.register(
        "before-send.s3", lambda request, **_: seen.extend(map(str.lower, request.headers))
    )
    store.put("a", b"x")
    id, written = begun(store, "b", [b"1" * PART, b"2"])
    store.finish("b", id, written)
    read(store, "b", 0, 10)
    assert "x-amz-content-sha256" in seen
    assert not [name for name in seen if "checksum" in name or "trailer" in name]
    assert not {"if-match", "if-none-match", "content-encoding"} & set(seen)


def test_amazon_gets_the_checksums_of_its_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_installed():
        pytest.skip("the extra s3 is not installed (and swift)")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    amazon: Any = open_store("s3://bucket/x", StoreSettings(region="eu-west-1"))
    other: Any = open_store("s3://bucket/x", StoreSettings(endpoint_url="https://b2.example.com"))
    assert amazon._client.meta.config.request_checksum_calculation == "when_supported"
    assert other._client.meta.config.request_checksum_calculation == "when_required"
    assert other._client.meta.config.response_checksum_validation == "when_required"


def test_entries_compare_by_key() -> None:
    assert sorted([Entry("b", 1, 0.0), Entry("a", 2, 0.0)])[0].key == "a"
