"""Configs of a run without the secrets in them, because backups are read by more people."""

from __future__ import annotations

import json
from typing import Any

from pytest_prime_train.report.secrets import (
    MASK,
    is_secret_key,
    mask_known,
    names_variable,
    secret_spans,
)


def without_secrets(name: str, data: bytes) -> bytes:
    """The content of a config, changed only where it holds a secret.

    Args:
        name: File name, whose suffix says whether it is JSON or TOML.

    Raises:
        ValueError: It is no text, or JSON that cannot be read, so nobody can tell.
    """
    text = data.decode("utf-8")
    if name.endswith(".json"):
        try:
            body = json.loads(text)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        masked = _masked(body, "", inside=False)
        return data if masked == body else json.dumps(masked, indent=4).encode()
    lines = text.splitlines(keepends=True)
    kept, before = [], ""
    for line in lines:
        kept.append(_line(line, before))
        before += line
    return "".join(kept).encode()


def _line(line: str, before: str) -> str:
    body = line.rstrip("\r\n")
    for start, end in reversed(secret_spans(body, before)):
        body = body[:start] + MASK + body[end:]
    return body + line[len(line.rstrip("\r\n")) :]


def _masked(value: Any, key: str, *, inside: bool) -> Any:
    """A value of JSON without secrets.

    Args:
        inside: Whether the value belongs to a key that is secret.
    """
    inside = inside or is_secret_key(key)
    if isinstance(value, dict):
        return {name: _masked(one, str(name), inside=inside) for name, one in value.items()}
    if isinstance(value, list):
        return [_masked(one, key, inside=inside) for one in value]
    if isinstance(value, str):
        if inside and value and not names_variable(key, value):
            return MASK
        return mask_known(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return MASK if inside and is_number else value
