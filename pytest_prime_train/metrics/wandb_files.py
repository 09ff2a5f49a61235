"""W&B's own record of a run: its file on disk, which offline runs keep, or its server's history.

A run file is a log in LevelDB's format: after a header of 7 bytes (``:W&B``, two bytes of magic
number, a version), blocks of 32 KiB with fragments of records, each behind a checksum (4 bytes,
not needed here: what does not parse is skipped), its length (2) and its kind (1: whole, first,
middle, last). A record is a protocol buffer whose definition comes with the ``wandb`` package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from json import JSONDecoder
from pathlib import Path
from typing import Any

from pytest_prime_train.findings import UsageError

BLOCK = 32 * 1024
FILE_HEADER = 7
FRAGMENT_HEADER = 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
LARGEST_RECORD = 64 << 20

_SERVER_PATH = re.compile(r"[\w.-]+/[\w.-]+/(?:runs/)?[\w.-]+")
_NO_EXTRA = (
    "needs the package wandb: install pytest-prime-train[wandb], or export the history as "
    "wandb-history.jsonl (one row of scan_history() a line)"
)


def is_server_path(name: str) -> bool:
    """Whether a name can be a run on W&B's server: ``ENTITY/PROJECT/RUN``."""
    return _SERVER_PATH.fullmatch(name) is not None


def rows_of_file(path: Path) -> Iterator[dict[str, Any]]:
    """The history rows in a run file; a last record that was cut is left out.

    Raises:
        UsageError: The file cannot be read or is none of W&B's, or ``wandb`` is not installed.
    """
    try:
        messages: Any = import_module("wandb.proto.wandb_internal_pb2")
    except ImportError as error:
        raise UsageError(f"{str(path)!r} {_NO_EXTRA}") from error
    decode = JSONDecoder().decode
    try:
        with open(path, "rb") as file:
            if not file.read(FILE_HEADER).startswith(b":W&B"):
                raise UsageError(f"{str(path)!r} is no run file of W&B")
            for payload in _payloads(file):
                record = messages.Record()
                try:
                    record.ParseFromString(payload)
                except Exception:  # whatever the protobuf library in use raises
                    continue
                if record.WhichOneof("record_type") == "history":
                    yield _row(record.history, decode)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _row(history: Any, decode: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for item in history.item:
        name = item.key or "/".join(item.nested_key)
        try:
            row[name] = decode(item.value_json)
        except (ValueError, RecursionError):
            continue
    return row


def _payloads(file: Any) -> Iterator[bytes]:
    """Whole records; from a block that is damaged on, up to the next block, none."""
    offset = FILE_HEADER
    parts: list[bytes] = []
    while block := file.read(BLOCK - offset):
        place = 0
        while place + FRAGMENT_HEADER <= len(block):
            length = int.from_bytes(block[place + 4 : place + 6], "little")
            kind = block[place + 6]
            start = place + FRAGMENT_HEADER
            data = block[start : start + length]
            if kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST) or len(data) < length:
                parts = []
                break
            if kind in (_WHOLE, _FIRST):
                parts = []
            parts.append(data)
            if kind in (_WHOLE, _LAST):
                yield b"".join(parts)
                parts = []
            elif sum(map(len, parts)) > LARGEST_RECORD:
                parts = []
            place = start + length
        offset = 0


def rows_of_server(name: str) -> Iterator[dict[str, Any]]:
    """The history of a run on W&B's server, in full.

    Args:
        name: ``ENTITY/PROJECT/RUN``.

    Raises:
        UsageError: ``wandb`` is not installed, or the server did not answer with the run.
    """
    try:
        import wandb
    except ImportError as error:
        raise UsageError(
            f"there is no file {name!r}, and as a run of W&B it {_NO_EXTRA}"
        ) from error
    try:
        run = wandb.Api(timeout=30).run(name.replace("/runs/", "/"))
        yield from run.scan_history(page_size=1000)
    except Exception as error:  # of requests, of W&B's several clients, of its own
        lines = str(error).strip().splitlines()
        sentence = lines[0][:200] if lines else type(error).__name__
        raise UsageError(
            f"there is no file {name!r}, and W&B did not answer with a run: {sentence}"
        ) from error
