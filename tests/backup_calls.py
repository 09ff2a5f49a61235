"""Commands of ``prime-train backup`` as tests call them, and the places of their backups."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from made_checkpoints import MadeRun
from pytest_prime_train.cli import main
from pytest_prime_train.resilience.stores import Store, StoreSettings, open_store
from swift_server import SwiftServer


class Done(NamedTuple):
    """How a command ended.

    Attributes:
        code: Exit code.
        document: What it printed, if that is JSON.
        said: Lines of standard error.
    """

    code: int
    document: dict[str, Any]
    said: list[str]

    @property
    def states(self) -> dict[int, str]:
        """State of every step in the store."""
        return {one["step"]: one["state"] for one in self.document["checkpoints"]}


class Broken(AssertionError):
    """A command did what none may do; the text says what."""


def call(arguments: list[str]) -> Done:
    """Run a command in this process.

    Raises:
        Broken: It raised something, said more than one line, a traceback or nothing at all, or
            printed something that is no JSON.
    """
    name = arguments[1]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except BaseException as error:
            raise Broken(f"{name} raised {type(error).__name__}: {error}") from error
    said = err.getvalue().splitlines()
    if len(said) > 1 or "Traceback" in err.getvalue() or "internal error" in err.getvalue():
        raise Broken(f"{name} said {said}")
    if code and not said:
        raise Broken(f"{name} ended with {code} and said nothing")
    text = out.getvalue()
    try:
        document = json.loads(text) if text else {}
    except ValueError as error:
        raise Broken(f"{name} printed no JSON: {text[:200]!r}") from error
    return Done(code, document, said)


class Place:
    """Where the backups of one run are kept.

    Attributes:
        url: Its address.
        endpoint: That of the S3 service; empty for a folder.
    """

    def __init__(self, url: str, endpoint: str = "") -> None:
        self.url = url
        self.endpoint = endpoint

    def arguments(self, name: str, run: MadeRun, *more: str, endpoint: str = "") -> list[str]:
        """A command line."""
        options = ["--backup", self.url, "--format", "json"]
        if self.endpoint:
            options += ["--endpoint-url", endpoint or self.endpoint]
        return ["backup", name, str(run.config), *options, *more]

    def call(self, name: str, run: MadeRun, *more: str) -> Done:
        """Run a command in this process."""
        return call(self.arguments(name, run, *more))

    def store(self) -> Store:
        """The place itself, to look at it and to spoil it."""
        return open_store(self.url, StoreSettings(endpoint_url=self.endpoint))

    def keys(self) -> list[str]:
        """Every key in it."""
        return [entry.key for entry in self.store().list("")]

    def read(self, key: str) -> bytes:
        """A whole object."""
        return self.store().get(key, 1 << 30)

    def write(self, key: str, data: bytes) -> None:
        """Put an object there, as somebody else would."""
        self.store().put(key, data)

    def manifest_key(self, step: int) -> str:
        """Key of the manifest of a step."""
        return f"manifests/step-{step:010d}.json"

    def data_key(self, step: int, name: str) -> str:
        """Key of a file of a step, by the end of its path."""
        (key,) = (
            key
            for key in self.keys()
            if key.startswith(f"data/step-{step:010d}/") and key.endswith(name)
        )
        return key

    def forge(self, step: int, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a manifest and make its own digest right again, as an attacker would."""
        body = json.loads(self.read(self.manifest_key(step)))
        body.pop("self_sha256")
        change(body)
        self.write(self.manifest_key(step), sealed(body))

    def replace(self, step: int, name: str, data: bytes) -> None:
        """Put other bytes in place of a file, and make the manifest say so."""
        self.write(self.data_key(step, name), data)

        def change(body: dict[str, Any]) -> None:
            (entry,) = (one for one in body["files"] if one["path"].endswith(name))
            entry.update(
                size=len(data), chunk_bytes=1 << 30, sha256=[hashlib.sha256(data).hexdigest()]
            )

        self.forge(step, change)


def sealed(body: dict[str, Any]) -> bytes:
    """A manifest with the digest of itself."""
    plain = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(plain).hexdigest()
    return json.dumps({**body, "self_sha256": digest}).encode()


def folder_place(folder: Path) -> Place:
    """A place in a folder."""
    return Place(f"file://{folder}")


def swift_place(server: SwiftServer) -> Place:
    """A place in a bucket that no other has."""
    os.environ.update(server.environment)
    return Place(f"s3://{server.bucket}/{time.time_ns()}", server.endpoint)
