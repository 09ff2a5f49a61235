"""Offers that other packages add: installed as pip would, met on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRIME_TRAIN = Path(sys.executable).with_name("prime-train")
EXAMPLE = ROOT / "examples" / "catalogue_sources" / "prime_train_catalogues.py"

SFT = """\
max_steps = 100
[ckpt]
interval = 25
keep_last = 2
[model]
name = "Qwen/Qwen3-0.6B"
[data]
type = "fake"
seq_len = 4096
batch_size = 64
[deployment]
num_train_gpus = 8
"""

HEAD = """\
from decimal import Decimal
from pathlib import Path
from pytest_prime_train.cost.added import OfferSource
from pytest_prime_train.cost.offers import Offer, SourceResult
from pytest_prime_train.hookspecs import hookimpl

def offer(name, price="9", **changed):
    facts = dict(provider="lab", upstream="", offer_id=name, name=name, gpu=None,
                 gpu_name="H100", gpu_count=8, price_per_hour=Decimal(price),
                 fetched_at="2026-11-25T00:00:00Z", gpus=("H100-80GB-SXM",))
    return Offer(**{**facts, **changed})
"""

Install = Callable[..., None]
Find = Callable[..., dict[str, Any]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "a_sft.toml").write_text(SFT)
    (tmp_path / "packages").mkdir()
    return tmp_path


@pytest.fixture
def install(place: Path) -> Install:
    """Writes a package with an entry point, as pip would install it."""

    def write(module: str, text: str, *, shared_head: bool = True) -> None:
        folder = place / "packages"
        (folder / f"{module}.py").write_text((HEAD if shared_head else "") + textwrap.dedent(text))
        facts = folder / f"{module}-1.0.dist-info"
        facts.mkdir()
        name = module.replace("_", "-")
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[prime_train]\n{name} = {module}\n")

    return write


@pytest.fixture
def find(place: Path) -> Find:
    """Searches in a process of its own, in which the packages are installed."""

    def search(*arguments: str, code: int = 0, **variables: str) -> dict[str, Any]:
        own = {
            "HOME": str(place),
            "XDG_CACHE_HOME": str(place / "cache"),
            "XDG_STATE_HOME": str(place / "state"),
            "PYTHONPATH": str(place / "packages"),
            # Nobody answers there: --refresh asks the added packages alone.
            "VAST_URL": "http://127.0.0.1:1",
            "PRIME_API_BASE_URL": "http://127.0.0.1:1",
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PRIME_API")}
        command = [str(PRIME_TRAIN), "find", "a_sft.toml", "--format=json", "--limit=0"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=place,
            env={**kept, **own, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (code, ""), done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    return search


def sources(document: dict[str, Any]) -> dict[str, str]:
    return {source["name"]: source["status"] for source in document["sources"]}


def test_offers_of_a_package_are_ranked_with_the_others(install: Install, find: Find) -> None:
    install(
        "made_lab",
        """
        @hookimpl
        def prime_offer_sources():
            offers = [offer("cheap", "0.08"), offer("spot", "0.05", spot=True),
                      offer("taken", reasons=("taken",)), offer("odd", gpus=("H1000",)),
                      offer("euro", currency="EUR")]
            result = SourceResult("lab", "2026-11-25", "ok", offers, ["from the lab"])
            return {"lab": OfferSource(lambda: result, online=False)}
        """,
    )
    document = find()
    first = document["offers"][:2]
    assert {row["id"] for row in first} == {"cheap", "spot"}
    assert {row["provider"] for row in first} == {"lab"}
    assert document["sources"][0] == {
        "name": "lab",
        "fetched_at": "2026-11-25",
        "status": "ok",
        "age_days": document["sources"][0]["age_days"],
        "notes": ["from the lab"],
    }
    reasons = {row["reason"] for row in document["rejected"]}
    assert {"taken", "unknown GPU", "currency EUR"} <= reasons


def test_what_a_package_does_wrong_is_told_and_ends_nothing(install: Install, find: Find) -> None:
    install("made_broken", "raise RuntimeError('no such market')", shared_head=False)
    install(
        "made_wrong",
        """
        @hookimpl
        def prime_offer_sources():
            def raises():
                raise SystemError("the market\\nis closed")
            def nothing():
                return None
            def odd():
                offers = [offer("good", "0.08"), 3, offer("none", gpu_count=0),
                          offer("text", price_per_hour="cheap"), offer("free", "0")]
                return SourceResult("odd", "2026-11-25", "ok", offers, [])
            return {"raises": OfferSource(raises, online=False),
                    "nothing": OfferSource(nothing, online=False),
                    "odd": OfferSource(odd, online=False), "vast": OfferSource(odd, online=False),
                    "plain": odd}
        """,
    )
    install(
        "made_list",
        """
        @hookimpl
        def prime_offer_sources():
            return ["lab"]
        """,
    )
    document = find()
    status = sources(document)
    assert status["raises"] == "failed: SystemError: the market?is closed"
    assert status["nothing"] == "failed: TypeError: it gave NoneType, not a SourceResult"
    assert status["plain"] == "failed: it is function, not an OfferSource"
    assert "no name that a source can have" in status["made-wrong (made_wrong)/vast"]
    assert "not a dict of sources" in status["made-list (made_list)"]
    assert "the package cannot be used: RuntimeError: no such market" in status["made-broken"]
    odd = next(source for source in document["sources"] if source["name"] == "odd")
    assert odd["notes"] == [
        "offer 1: it is int, not an Offer",
        "offer 2: gpu_count has to be a whole number above 0",
        "offer 3: price_per_hour has to be a Decimal of at least 0, or None",
    ]
    assert [row["id"] for row in document["offers"] if row["provider"] == "lab"] == ["good"]
    assert {"gpu": "H100-80GB-SXM", "reason": "price unknown", "offers": 1} in document["rejected"]


def test_a_source_of_the_network_is_asked_by_refresh_alone(
    install: Install, find: Find, place: Path
) -> None:
    install(
        "made_online",
        """
        @hookimpl
        def prime_offer_sources():
            def fetch():
                with Path("asked").open("a") as stream:
                    stream.write("x")
                offers = [offer("live", "0.08", provider="far")]
                return SourceResult("far", "2026-11-25T00:00:00Z", "ok", offers, [])
            return {"far": OfferSource(fetch)}
        """,
    )
    asked = place / "asked"
    assert "far" not in sources(find())
    assert not asked.exists()
    fresh = find("--refresh")
    assert sources(fresh)["far"] == "ok"
    assert sources(fresh)["vast"].startswith("failed: ")
    assert asked.read_text() == "x"
    # What it said is kept, and not asked for again.
    kept = find()
    assert kept["offers"][0]["id"] == "live"
    assert asked.read_text() == "x"


SKY = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region
big,H100,8.0,192,2048,"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 81920}}]}",40.00,2.5,us-east-1
big,H100,8.0,192,2048,"{'TotalGpuMemoryInMiB': 655360}",0,0.00,us-west-2
open,H100,8.0,192,2048,,30.00,,us-west-2
old,A100-80GB,8,96,1000,,20,,eu-west-1
half,L4,0.5,4,16,,0.2,,us-east-1
cpu,,,4,16,,0.1,,us-east-1
strange,TPUv5,8,4,16,,9,,us-east-1
"""
HUNT = """\
instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,\
gpu_vendor,flags,cpu_arch,provider_data
p5,us-east-1,98.32,192,2048,8,H100,80,False,,nvidia,,x86,{}
p4,us-east-1,2.0,96,1000,8,A100,40,True,100,nvidia,,x86,{}
"""


def install_example(install: Install) -> None:
    install("prime_train_catalogues", EXAMPLE.read_text(), shared_head=False)


def test_the_example_reads_the_catalogue_of_skypilot(
    install: Install, find: Find, place: Path
) -> None:
    install_example(install)
    assert "skypilot" not in sources(find())
    for version, text in (("v7", SKY.replace("40.00", "99")), ("v10", SKY)):
        folder = place / ".sky" / "catalogs" / version / "aws"
        folder.mkdir(parents=True)
        (folder / "vms.csv").write_text(text)
    document = find()
    assert sources(document)["skypilot"] == "ok"
    rows = {row["id"]: row for row in document["offers"] if row["provider"] == "aws"}
    assert set(rows) == {"big/us-east-1", "big/us-east-1/spot", "old/eu-west-1"}
    assert rows["big/us-east-1"]["usd_per_hour"] == 40
    # The name leaves the edition open, so the slowest one counts.
    assert rows["big/us-east-1"]["gpu"] == "H100-80GB-PCIe"
    assert "edition open" in rows["big/us-east-1"]["why"]
    assert {"gpu": "TPUv5", "reason": "unknown GPU", "offers": 1} in document["rejected"]
    # An H100 without its memory may have 80 or 94 GB.
    assert {"gpu": "H100", "reason": "unknown GPU", "offers": 1} in document["rejected"]
    # A catalogue that cannot be read leaves the others.
    (place / ".sky" / "catalogs" / "v10" / "gcp").mkdir()
    (place / ".sky" / "catalogs" / "v10" / "gcp" / "vms.csv").write_bytes(b"\xff\xfe\x00")
    document = find()
    assert sources(document)["skypilot"] == "partial: a catalogue cannot be read"
    assert any(row["provider"] == "aws" for row in document["offers"])


def test_the_example_reads_the_catalogue_of_gpuhunt(
    install: Install, find: Find, place: Path
) -> None:
    pytest.importorskip("gpuhunt", reason="gpuhunt is not installed")
    install_example(install)
    folder = place / "hunt"
    folder.mkdir()
    (folder / "aws.csv").write_text(HUNT)
    document = find(GPUHUNT_CATALOG_DIR=str(folder))
    assert sources(document)["gpuhunt"] == "ok"
    rows = {row["id"]: row for row in document["offers"] if row["provider"] == "aws"}
    assert set(rows) == {"p5/us-east-1", "p4/us-east-1/spot"}
    assert rows["p4/us-east-1/spot"]["gpu"].startswith("A100-40GB")


def test_the_example_declares_the_entry_point_that_is_looked_for() -> None:
    import tomllib

    from pytest_prime_train.hookspecs import GROUP

    project = tomllib.loads(EXAMPLE.with_name("pyproject.toml").read_text())["project"]
    assert project["entry-points"][GROUP] == {"catalogues": EXAMPLE.stem}
