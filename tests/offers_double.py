"""A double of the APIs of Prime Intellect and Vast.ai on the loopback, which also misbehaves."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, str], bytes]


class Double(ThreadingHTTPServer):
    """Answers as told and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[str, dict[str, list[str]], Any], Answer | str] = lambda *_: "reset"
        self.closing = threading.Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Double

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, dict(self.headers), body))
        parts = urlsplit(self.path)
        asked = json.loads(body) if body else None
        answer = self.server.answer(parts.path, parse_qs(parts.query), asked)
        if answer == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if answer == "silent":
            self.server.closing.wait(30)
            return
        if answer == "drip":
            self.send_response(200)
            self.end_headers()
            while not self.server.closing.wait(0.02):
                self.wfile.write(b" ")
            return
        if answer == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"items": [')
            return
        if answer == "huge":
            self.send_response(200)
            self.end_headers()
            for _ in range(80):
                self.wfile.write(b" " * 2**20)
            return
        assert not isinstance(answer, str)
        status, headers, content = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def running_double() -> Iterator[Double]:
    """A double that answers until the end of the block."""
    with Double() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def said(value: Any, status: int = 200, **headers: str) -> Answer:
    """An answer with a JSON value, or with bytes as they are."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, content
