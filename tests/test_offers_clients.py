"""Asking providers, against a double of both on the loopback that also misbehaves."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("requests", reason="extra offers is not installed")

from offers_double import Answer, Double, running_double, said
from pytest_prime_train.cost import sources
from pytest_prime_train.cost.providers import prime_intellect, vast
from pytest_prime_train.cost.providers.http import Client

KEY = "sk-secret-0123456789-abcdefgh"
PRIME_TRAIN = Path(sys.executable).with_name("prime-train")


@pytest.fixture
def double() -> Iterator[Double]:
    with running_double() as server:
        yield server


@pytest.fixture(autouse=True)
def own_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    for name in ("PRIME_BASE_URL", "PRIME_CONTEXT", "VAST_API_KEY", "PRIME_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def client(double: Double, key: str = KEY, *, seconds: float = 5.0) -> Client:
    return Client("double", double.base, key, seconds=seconds, sleep=lambda _: None)


def item(name: str) -> dict[str, Any]:
    return {
        "cloudId": name,
        "gpuType": "H100_80GB",
        "socket": "SXM5",
        "provider": "someone",
        "gpuCount": 8,
        "gpuMemory": 80,
        "prices": {"onDemand": 16.6, "currency": "USD"},
    }


def test_paging_ends_although_more_are_promised(double: Double, shared: Path) -> None:
    examples = shared / "cost" / "examples"
    files = {
        "1": "prime_availability.json",
        "2": "prime_availability_page2.json",
    }

    def answer(path: str, query: dict[str, list[str]], _: Any) -> Answer:
        if path.endswith("multi-node"):
            return said((examples / "prime_multi_node.json").read_bytes())
        name = files.get(query["page"][0], "prime_availability_page3_short.json")
        return said((examples / name).read_bytes())

    double.answer = answer
    result = prime_intellect.fetch(client(double))
    assert result.status == "ok"
    assert len(result.offers) == 24
    assert len(double.asked) <= 5
    for path, headers, _ in double.asked:
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert KEY not in path


def test_both_kinds_of_use_are_asked_for(double: Double, shared: Path) -> None:
    examples = shared / "cost" / "examples"

    def answer(path: str, _: Any, body: Any) -> Answer:
        name = "vast_bundles_bid.json" if body["type"] == "bid" else "vast_bundles.json"
        return said((examples / name).read_bytes())

    double.answer = answer
    result = vast.fetch(client(double, key=""))
    assert (result.status, result.notes, len(result.offers)) == ("ok", [], 20)
    assert all("Authorization" not in headers for _, headers, _ in double.asked)


def test_an_answer_of_the_silent_limit_is_called_incomplete(double: Double, shared: Path) -> None:
    content = (shared / "cost" / "examples" / "vast_bundles_limit64.json").read_bytes()
    double.answer = lambda *_: said(content)
    result = vast.fetch(client(double))
    assert any("some lack" in note for note in result.notes)


def test_a_page_that_fails_leaves_the_others(double: Double) -> None:
    def answer(path: str, query: dict[str, list[str]], _: Any) -> Answer:
        if query["page"] == ["1"]:
            return said({"items": [item("first"), 3], "totalCount": 300})
        return said({"detail": "Internal error"}, 500)

    double.answer = answer
    result = prime_intellect.fetch(client(double))
    assert result.status.startswith("partial: gpus: status 500: Internal error")
    assert [offer.name for offer in result.offers] == ["first", "first"]
    assert result.notes == ["item 1: it is 3, not an offer"] * 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said({"detail": "Invalid API key"}, 401), "the key is not accepted (401)"),
        (said({"detail": f"no such key {KEY}"}, 401), "no such key ***"),
        (said({"detail": "x" * 70 + KEY}, 401), "the key is not accepted (401)"),
        (said({"detail": "Payment required"}, 402), "no funds (402)"),
        (said({"detail": [{"msg": "not a GPU type"}]}, 422), "status 422: not a GPU type"),
        (said({"errors": [{"details": "unknown region"}]}, 422), "status 422: unknown region"),
        (said(b"API requests too frequent", 429), "asked too often (429)"),
        (said({"msg": "slow down"}, 429, Retry_After="3"), "asked too often (429): slow down"),
        (said({}, 429, Retry_After="86400"), "it wants 86400 s of rest"),
        (said(b"<html>", 502, Content_Type="text/html"), "status 502"),
        (said(b"<!doctype html>maintenance", Content_Type="text/html"), "no JSON"),
        (said(b'{"items": [{"cloudId": "x"'), "no JSON"),
        (said([]), "no list of"),
        (said({"success": True}), "no list of"),
        (said(b""), "no JSON"),
        (said(b"[" * 100_000), "no JSON"),
        ("reset", "breaks off"),
        ("cut", "was cut"),
        ("huge", "larger than 64 MiB"),
    ],
)
@pytest.mark.parametrize("source", [prime_intellect, vast])
def test_wrong_answers_are_one_clear_error(
    double: Double, source: Any, answer: Answer | str, words: str
) -> None:
    double.answer = lambda *_: answer
    result = source.fetch(client(double))
    assert result.status.startswith("failed: ")
    assert words in result.status
    assert KEY not in result.status
    assert KEY[:12] not in result.status
    assert result.offers == []


@pytest.mark.parametrize("kind", ["silent", "drip"])
def test_a_slow_answer_is_given_up(double: Double, kind: str) -> None:
    double.answer = lambda *_: kind
    result = vast.fetch(client(double, seconds=0.2))
    assert "no whole answer within 0.2 s" in result.status


def test_an_empty_market_is_no_error(double: Double) -> None:
    double.answer = lambda *_: said({"offers": [], "items": [], "totalCount": 0})
    for source in (prime_intellect, vast):
        result = source.fetch(client(double))
        assert (result.status, result.offers) == ("ok", [])


def test_what_comes_again_after_a_refusal(double: Double) -> None:
    answers = iter([said({}, 429), said({}, 503)])
    double.answer = lambda *_: next(answers, said({"offers": []}))
    assert vast.fetch(client(double)).status == "ok"
    assert len(double.asked) == 4


def test_a_quota_of_the_day_is_not_asked_again(double: Double) -> None:
    double.answer = lambda *_: said({"error": "search_quota_exceeded", "msg": "daily quota"}, 429)
    assert "daily quota" in vast.fetch(client(double)).status
    assert len(double.asked) == 2  # once for each kind of use


def test_keys_are_read_where_the_tools_keep_them(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (prime_intellect.api_key(), vast.api_key()) == ("", "")
    folder = own_home / ".prime"
    assert not folder.exists()
    (folder / "environments").mkdir(parents=True)
    (folder / "config.json").write_text('{"api_key": "one", "current_environment": "lab"}')
    assert prime_intellect.api_key() == "one"
    (folder / "environments" / "lab.json").write_text('{"api_key": "two"}')
    assert prime_intellect.api_key() == "two"
    monkeypatch.setenv("PRIME_API_KEY", "three")
    assert prime_intellect.api_key() == "three"
    (own_home / ".vast_api_key").write_text("old\n")
    assert vast.api_key() == "old"
    (own_home / "XDG_CONFIG_HOME" / "vastai").mkdir(parents=True)
    (own_home / "XDG_CONFIG_HOME" / "vastai" / "vast_api_key").write_text("new\n")
    assert vast.api_key() == "new"


@pytest.mark.parametrize(
    "base",
    [
        "ftp://127.0.0.1",
        "nonsense",
        "http://user:pass@127.0.0.1",
        "http://example.invalid",
        "http://[",
    ],
)
def test_addresses_that_are_not_asked(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("VAST_URL", base)
    monkeypatch.setenv("VAST_API_KEY", KEY)
    result = vast.fetch()
    assert result.status.startswith("failed: the address set for vast is")
    assert "pass" not in result.status


def test_no_key_is_ever_shown(
    double: Double,
    own_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PRIME_API_BASE_URL", f"{double.base}/api/v1")
    monkeypatch.setenv("VAST_URL", double.base)
    broken = f"{KEY}\nnext"
    for key in (KEY, broken, f"{KEY} é"):
        monkeypatch.setenv("PRIME_API_KEY", key)
        monkeypatch.setenv("VAST_API_KEY", key)
        for answer in (
            said({"detail": f"bad key {KEY}"}, 401),
            said({"items": [item("a")], "offers": [], "totalCount": 1}),
            "reset",
        ):
            double.answer = lambda *_, answer=answer: answer
            monkeypatch.setattr(
                "time.sleep", lambda _: None
            )  # the pauses between tries are not what is tested
            shown = repr(sources.refresh())
            assert KEY not in shown
    output = capfd.readouterr()
    assert KEY not in output.out + output.err
    assert KEY not in caplog.text
    kept = [path for path in own_home.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if KEY in path.read_text()]


SFT = """\
max_steps = 100
[model]
name = "Qwen/Qwen3-0.6B"
[data]
type = "fake"
seq_len = 4096
batch_size = 64
[deployment]
num_train_gpus = 8
"""


def test_refresh_asks_and_the_next_search_knows(
    double: Double, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "a_sft.toml").write_text(SFT)
    monkeypatch.setenv("PRIME_API_BASE_URL", double.base)
    monkeypatch.setenv("PRIME_API_KEY", KEY)
    monkeypatch.setenv("VAST_URL", double.base)

    def answer(path: str, *_: Any) -> Answer:
        if path.endswith("/gpus"):
            return said({"items": [item("fresh")], "totalCount": 1})
        if path.endswith("/multi-node"):
            return said({"items": [], "totalCount": 0})
        return said({"msg": "Invalid user key"}, 401)

    double.answer = answer

    def find(*arguments: str) -> dict[str, Any]:
        command = [str(PRIME_TRAIN), "find", "a_sft.toml", "--format=json", "--limit=0", *arguments]
        done = subprocess.run(command, cwd=own_home, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert KEY not in done.stdout
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    before = find()
    assert double.asked == []
    assert [source["name"] for source in before["sources"]] == ["snapshot"]
    fresh = find("--refresh")
    status = {source["name"]: source["status"] for source in fresh["sources"]}
    assert status["prime"] == "ok"
    assert status["vast"].startswith("failed: on-demand: the key is not accepted (401)")
    asked = len(double.asked)
    after = find()
    assert len(double.asked) == asked
    of_prime = [row["id"] for row in after["offers"] if row["provider"] == "prime"]
    assert of_prime == ["fresh/-/8"]
    # A provider that did not answer is known by its bundled prices.
    assert any(row["provider"] == "vast" for row in after["offers"])
