"""vLLM's and the trainer's own gauges in Prometheus' text form, as rows like those of W&B.

prime-rl's orchestrator polls the engines itself and writes what it sees to W&B only; without W&B
a scrape of ``/metrics`` (port 8100 of an engine, 8000 of the router) tells the same.
"""

from __future__ import annotations

import os
import re
import time
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pytest_prime_train.findings import UsageError
from pytest_prime_train.metrics.rows import BIGGEST, PackedRow, Shape

LARGEST_SCRAPE = 32 << 20
POLL_S = 5.0
"""Seconds between two looks at an address: counters tell a rate only by their difference."""
POLLS = 4
TIMEOUT_S = 5.0

_LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>[^\n]*)\})?\s+(?P<value>[^\s#]+)(?:\s+-?\d+)?\s*"
)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_REASON = "num_requests_waiting_by_reason"
_GAUGES = (
    "num_requests_running",
    "num_requests_waiting",
    "kv_cache_usage_perc",
    "gpu_cache_usage_perc",
)
_COUNTERS = ("generation_tokens_total", "prompt_tokens_total", "num_preemptions_total")
_MEANS = frozenset(("kv_cache_usage_perc", "gpu_cache_usage_perc"))
_TRAINER = {
    "trainer_throughput_tokens_per_sec": "perf/throughput",
    "trainer_mfu_percent": "perf/mfu",
    "trainer_peak_memory_gib": "perf/peak_memory",
    "trainer_loss": "loss/mean",
    "trainer_grad_norm": "optim/grad_norm",
    "trainer_learning_rate": "optim/lr",
    "trainer_entropy": "entropy/all/mean",
    "trainer_mismatch_kl": "mismatch_kl/all/mean",
}


class Sample(NamedTuple):
    """One line of an exposition."""

    name: str
    labels: dict[str, str]
    value: float


def parse(text: str) -> Iterator[Sample]:
    """The finite samples of an exposition; what is none is left out."""
    for line in text.split("\n"):
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        if -BIGGEST < value < BIGGEST:
            yield Sample(match["name"], dict(_LABEL.findall(match["labels"] or "")), value)


def engine_gauges(text: str) -> dict[str, float]:
    """What the engines of one scrape say, by vLLM's names without their prefix.

    Numbers of requests and counters are added up over engines, uses of the cache averaged.
    """
    found: dict[str, list[float]] = {}
    for name, labels, value in parse(text):
        if not name.startswith("vllm:"):
            continue
        name = name.removeprefix("vllm:")
        if name == _REASON and labels.get("reason") == "capacity":
            name = "num_requests_waiting_reason_capacity"
        found.setdefault(name, []).append(value)
    kept = (*_GAUGES, *_COUNTERS, "num_requests_waiting_reason_capacity")
    return {
        name: sum(values) / (len(values) if name in _MEANS else 1)
        for name, values in found.items()
        if name in kept
    }


def trainer_gauges(text: str) -> dict[str, float]:
    """What prime-rl's ``[trainer.metrics_server]`` says, by the names in metrics.jsonl, with its
    step as ``step``.
    """
    found: dict[str, float] = {}
    for name, _, value in parse(text):
        if name == "trainer_step":
            found["step"] = value
        elif name in _TRAINER:
            found[_TRAINER[name]] = value
    return found


class EngineTail:
    """Scrapes of the same engines, one after the other, as rows of gauges."""

    def __init__(self) -> None:
        self._before: tuple[float, dict[str, float]] | None = None

    def add(self, text: str, moment: float) -> PackedRow | None:
        """The row of a scrape; rates need the one before.

        Args:
            text: The exposition.
            moment: When it was taken, in seconds since the epoch.
        """
        now = engine_gauges(text)
        values = {f"inference/agg/{name}": now[name] for name in now if name not in _COUNTERS}
        if self._before is not None:
            before, counts = self._before
            seconds = moment - before
            for name in _COUNTERS:
                change = now.get(name, -1.0) - counts.get(name, float("inf"))
                if seconds > 0 and change >= 0:
                    values[f"inference/agg/{name}:rate"] = change / seconds
        self._before = (moment, now)
        if not values:
            return None
        shape = Shape("gauges", tuple(values))
        # Without a time: who hands in a scrape means it to count, whenever it was taken.
        return PackedRow(shape, None, None, 1, array("d", values.values()))


def read_scrapes(sources: Sequence[str]) -> Iterator[PackedRow]:
    """Rows from scrapes.

    Args:
        sources: Files with an exposition each, which are put in the order of their change, or
            addresses (``http://HOST:PORT/metrics``), each of which is looked at a few times.

    Raises:
        UsageError: A file or an address cannot be read, or says nothing of vLLM.
    """
    files = [source for source in sources if not _is_address(source)]
    tail = EngineTail()
    for moment, path in sorted((_changed(path), path) for path in files):
        row = tail.add(_read(path), moment)
        if row is None:
            raise UsageError(f"--engine-metrics: {path!r} has no line of vLLM's")
        yield row
    yield from _poll([source for source in sources if _is_address(source)])


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except (OSError, ValueError) as error:
        raise UsageError(f"--engine-metrics: {path!r} cannot be read: {error}") from error


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST_SCRAPE).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"--engine-metrics: {path!r} cannot be read: {error.strerror}") from error


def _poll(addresses: Sequence[str]) -> Iterator[PackedRow]:
    tails = {address: EngineTail() for address in addresses}
    for number in range(POLLS if addresses else 0):
        if number:
            time.sleep(POLL_S)
        for address, tail in tails.items():
            row = tail.add(fetch(address), time.time())
            if row is None:
                raise UsageError(f"--engine-metrics: {address} answers with no line of vLLM's")
            yield row


def fetch(address: str) -> str:
    """The text at an address.

    Raises:
        UsageError: Nothing answers there in time.
    """
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(address), timeout=TIMEOUT_S) as answer:
            text: bytes = answer.read(LARGEST_SCRAPE)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UsageError(f"--engine-metrics: {address} does not answer: {reason}") from error
    return text.decode("utf-8", "replace")
