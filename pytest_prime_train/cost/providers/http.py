"""Asking a provider: bounded in time, size and tries, and without ever naming its key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_prime_train.cost.offers import SourceResult, loads, text_of

if TYPE_CHECKING:
    import requests

__all__ = ["Client", "SourceError", "SourceResult", "clean_key"]

_AGAIN = frozenset((429, 500, 502, 503, 504))
_TRIES = 3
_CONNECT_SECONDS = 10.0
_MOST_BYTES = 64 * 2**20
_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
# A longer pause is worse than an answer without this provider.
_LONGEST_PAUSE = 10.0


class SourceError(Exception):
    """Why a provider did not answer, in one sentence without its key.

    Attributes:
        final: Whether asking the same provider for more is pointless.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def clean_key(key: str, place: str) -> str:
    """A key without the blanks around it.

    Raises:
        SourceError: It has characters that no key has; sending them would show it in an error.
    """
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SourceError(f"the key in {place} has characters that no key has", final=True)
    return key


class Client:
    """Asks one provider.

    Args:
        name: The provider.
        base: Its address without a path.
        key: Its key; ``""`` to ask without one.
        seconds: Longest time for one answer, retries apart.
        total_seconds: Longest time for everything.
        sleep: Waits between tries.

    Raises:
        SourceError: requests is not installed, or the address cannot be used.
    """

    def __init__(
        self,
        name: str,
        base: str,
        key: str,
        *,
        seconds: float = 30.0,
        total_seconds: float = 90.0,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        try:
            import requests
        except ImportError:
            raise SourceError(
                "requests is not installed: pip install 'pytest-prime-train[offers]'", final=True
            ) from None
        try:
            parts = urlsplit(base)
            host = parts.hostname or ""
        except ValueError:
            parts, host = urlsplit(""), ""
        if parts.scheme not in ("http", "https") or not host or parts.username or parts.query:
            raise SourceError(f"the address set for {name} is no http address", final=True)
        if key and parts.scheme == "http" and host not in _LOOPBACK:
            raise SourceError(
                f"the address set for {name} is http, which would show the key", final=True
            )
        self._name = name
        self._requests = requests
        self._session = requests.Session()
        self._base = base.rstrip("/")
        self._key = key
        self._seconds = seconds
        self._ends = time.monotonic() + total_seconds
        self._sleep = sleep or time.sleep

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get_json(self, path: str, query: Mapping[str, str]) -> Any:
        """What a GET answers.

        Raises:
            SourceError: It does not, or with something else than JSON.
        """
        return self._ask("GET", path, params=query)

    def post_json(self, path: str, body: Any) -> Any:
        """What a POST of a JSON body answers.

        Raises:
            SourceError: As for :meth:`get_json`.
        """
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        for attempt in range(1, _TRIES + 1):
            last = attempt == _TRIES
            try:
                status, headers, content = self._once(method, path, request)
            except self._requests.exceptions.SSLError:
                raise SourceError("its certificate is not valid", final=True) from None
            except self._requests.exceptions.Timeout:
                raise SourceError(
                    f"no whole answer within {self._seconds:g} s", final=True
                ) from None
            except (self._requests.exceptions.RequestException, OSError, ValueError) as error:
                if last:
                    raise SourceError(_connection_trouble(error), final=True) from None
                self._pause(0.5 * 2**attempt)
                continue
            if status in _AGAIN and not last and b"search_quota_exceeded" not in content:
                self._pause(_retry_after(headers, 0.5 * 2**attempt))
                continue
            if status != 200:
                raise SourceError(self._refusal(status, content), final=status in (401, 402, 403))
            try:
                return loads(content)
            except ValueError:
                raise SourceError("the answer is no JSON, or was cut") from None
        raise AssertionError("unreachable")  # pragma: no cover

    def _once(
        self, method: str, path: str, request: Mapping[str, Any]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One try, given up when its time is over.

        Neither looking up a name nor a byte that comes now and then runs into the limits of a
        connection, so the try has a thread of its own, which may stay behind.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise SourceError("it takes too long", final=True)
        wait = min(self._seconds, left)
        answers: list[tuple[int, Mapping[str, str], bytes]] = []
        errors: list[Exception] = []

        def attempt() -> None:
            try:
                answers.append(self._talk(method, path, request, wait))
            except Exception as error:  # handed over to the thread that waits
                errors.append(error)

        thread = threading.Thread(target=attempt, daemon=True, name=f"offers of {self._name}")
        thread.start()
        thread.join(wait)
        if answers:
            return answers[0]
        if errors:
            raise errors[0]
        raise SourceError(f"no whole answer within {self._seconds:g} s", final=True)

    def _talk(
        self, method: str, path: str, request: Mapping[str, Any], wait: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        ends = time.monotonic() + wait
        with self._session.request(
            method,
            self._base + path,
            auth=self._authorize,
            timeout=(min(_CONNECT_SECONDS, wait), wait),
            stream=True,
            **request,
        ) as response:
            parts, size = [], 0
            for part in response.iter_content(65536):
                parts.append(part)
                size += len(part)
                if size > _MOST_BYTES:
                    raise SourceError("the answer is larger than 64 MiB", final=True)
                if time.monotonic() > ends:
                    break
            return response.status_code, response.headers, b"".join(parts)

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # Given as a function, it keeps requests from taking another password out of ~/.netrc.
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _pause(self, seconds: float) -> None:
        if time.monotonic() + seconds > self._ends:
            raise SourceError("it takes too long", final=True)
        self._sleep(seconds)

    def _refusal(self, status: int, content: bytes) -> str:
        """What an error status means, with what the server says, but never the key."""
        meaning = {
            401: "the key is not accepted (401)",
            402: "the account has no funds (402)",
            403: "the key lacks a permission (403)",
            404: "the address is not known there (404)",
            429: "asked too often (429)",
        }.get(status, f"status {status}")
        said = _said(content)
        # A server may send the key back; it goes before the text is cut to a bounded length.
        said = text_of(said.replace(self._key, "***") if self._key else said)
        return f"{meaning}: {said}" if said else meaning


def _said(content: bytes) -> str:
    try:
        answer = loads(content[:4096])
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    for name in ("detail", "msg", "error"):
        if isinstance(answer.get(name), str):
            return str(answer[name])
    for item in [*_list(answer.get("detail")), *_list(answer.get("errors"))]:
        if isinstance(item, dict):
            said = item.get("msg") or item.get("details")
            return said if isinstance(said, str) else ""
    return ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _retry_after(headers: Mapping[str, str], otherwise: float) -> float:
    told = headers.get("Retry-After", "")
    if not told.isascii() or not told.isdigit():
        return otherwise
    seconds = float(told)
    if seconds > _LONGEST_PAUSE:
        raise SourceError(f"asked too often: it wants {seconds:.0f} s of rest", final=True)
    return seconds


def _connection_trouble(error: Exception) -> str:
    name = type(error).__name__
    if "Chunked" in name or "Incomplete" in name or "ContentDecoding" in name:
        return "the answer was cut"
    return "the connection cannot be made, or breaks off"
