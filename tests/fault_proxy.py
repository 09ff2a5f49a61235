"""A proxy before a real S3 server that spoils chosen requests, as networks and servers do.

Modes: ``500`` and ``503`` answer instead of the server; ``silent`` never answers; ``refused``
closes the connection before it reads; ``cut-request`` closes it in the middle of the body;
``lost-answer`` lets the server do its work and closes before the answer; ``cut-answer`` closes in
the middle of it; ``short-answer`` sends half of the body and says that this is all; ``flip``
changes one bit of it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

MODES = (
    "500",
    "503",
    "silent",
    "refused",
    "cut-request",
    "lost-answer",
    "cut-answer",
    "short-answer",
    "flip",
)
_CODES = {"500": "InternalError", "503": "ServiceUnavailable"}


class Request(NamedTuple):
    """One request that came through.

    Attributes:
        number: Counted from 1.
        method: Such as ``PUT``.
        target: Path and query.
    """

    number: int
    method: str
    target: str


class _Closed(Exception):
    pass


class FaultProxy:
    """Passes requests on to a server, and spoils those that ``spoils`` chooses.

    Attributes:
        endpoint: Its own address.
        requests: What has come through.
        hits: How many were spoiled.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[Request] = []
        self.hits = 0
        self._choose: Callable[[Request], str] = lambda request: ""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def spoil(self, choose: Callable[[Request], str]) -> None:
        """Start counting anew, and spoil what ``choose`` gives a mode for."""
        with self._lock:
            self.requests = []
            self.hits = 0
            self._choose = choose

    def spoil_number(self, number: int, mode: str, *, lasting: bool = False) -> None:
        """Spoil one request, or also all that follow."""
        self.spoil(
            lambda request: (
                mode if request.number == number or (lasting and request.number > number) else ""
            )
        )

    def stop(self) -> None:
        """Close everything."""
        self._stopped.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with suppress(OSError, _Closed), client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = client.makefile("rb")
            try:
                while True:
                    server = self._one(client, stream, server)
            finally:
                stream.close()
                if server is not None:
                    server.close()

    def _one(
        self, client: socket.socket, stream: object, server: socket.socket | None
    ) -> socket.socket:
        head, headers = _read_head(stream)
        method, target, _ = head.decode("latin-1").split(" ", 2)
        with self._lock:
            request = Request(len(self.requests) + 1, method, target)
            self.requests.append(request)
            mode = self._choose(request)
            self.hits += bool(mode)
        if mode == "refused":
            raise _Closed
        length = int(headers.get("content-length", "0"))
        if headers.pop("expect", ""):
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if mode == "cut-request":
            stream.read(length // 2)  # type: ignore[attr-defined]
            raise _Closed
        body = stream.read(length)  # type: ignore[attr-defined]
        if len(body) != length:
            raise _Closed
        if mode in _CODES:
            client.sendall(_error(mode, method))
            return server or self._connect()
        if mode == "silent":
            self._stopped.wait(60)
            raise _Closed
        server = server or self._connect()
        server.sendall(_join(head, headers) + body)
        answer = server.makefile("rb")
        status, answered = _read_head(answer)
        size = int(answered.get("content-length", "0"))
        has_body = method != "HEAD" and b" 204 " not in status
        data = answer.read(size) if has_body else b""
        answer.close()
        if mode == "lost-answer":
            server.close()
            raise _Closed
        if mode == "flip" and data:
            data = data[: size // 2] + bytes((data[size // 2] ^ 1,)) + data[size // 2 + 1 :]
        if mode == "short-answer" and data:
            data = data[: size // 2]
            answered["content-length"] = str(len(data))
        if mode == "cut-answer":
            client.sendall(_join(status, answered) + data[: len(data) // 2])
            server.close()
            raise _Closed
        client.sendall(_join(status, answered) + data)
        if answered.get("connection", "").lower() == "close":
            server.close()
            raise _Closed
        return server

    def _connect(self) -> socket.socket:
        server = socket.create_connection(self._upstream)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server


def _read_head(stream: object) -> tuple[bytes, dict[str, str]]:
    first = stream.readline()  # type: ignore[attr-defined]
    if not first:
        raise _Closed
    headers: dict[str, str] = {}
    while True:
        line = stream.readline()  # type: ignore[attr-defined]
        if not line:
            raise _Closed
        if line in (b"\r\n", b"\n"):
            return first, headers
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()


def _join(first: bytes, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return first + lines.encode("latin-1") + b"\r\n"


def _error(status: str, method: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{_CODES[status]}</Code></Error>".encode()
    if method == "HEAD":
        body = b""
    return (
        f"HTTP/1.1 {status} {_CODES[status]}\r\ncontent-type: application/xml\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A proxy that is stopped at the end."""
    proxy = FaultProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.stop()
