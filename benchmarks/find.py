"""How long a search takes over many offers, and a budget in pytest beside as many empty items.

Run from the checkout as ``python benchmarks/find.py``; the bars are 1 s for 100,000 offers beyond
the start of the interpreter, and 1.2 times the cost of empty items for 10 configs over 1,000.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from pytest_prime_train.cost.offers import Offer
from pytest_prime_train.cost.providers.http import SourceResult

CONFIG = """\
max_steps = 1000
[ckpt]
interval = 50
keep_last = 2
[model]
name = "Qwen/Qwen3-8B"
[data]
type = "fake"
seq_len = 4096
batch_size = 64
[deployment]
num_train_gpus = 8
"""
MARKET = 100_000
RUNS = 5


def market(count: int, seed: int = 1) -> SourceResult:
    """Made-up offers of all cards, counts and kinds of use."""
    from pytest_prime_train.memory.gpus import all_gpus

    draw = random.Random(seed)
    cards = list(all_gpus().values())
    offers = []
    for number in range(count):
        card, gpus = draw.choice(cards), draw.choice((1, 2, 4, 8, 8, 8))
        offers.append(
            Offer(
                provider=draw.choice(("prime", "vast")),
                upstream="",
                offer_id=str(number),
                name=card.id,
                gpu=card.id,
                gpu_name=card.id,
                gpu_count=gpus,
                price_per_hour=Decimal(draw.randrange(50, 600)) / 100 * gpus,
                fetched_at="2026-11-24",
                spot=draw.random() < 0.3,
                gpus=(card.id,),
                vram_gib_per_gpu=card.usable_gib,
                disk_price_gb_hour=Decimal("0.0002"),
                egress_price_gb=Decimal(draw.randrange(0, 30)) / 1000,
                country=draw.choice(("US", "DE", "JP", None)),
                reliability=draw.uniform(0.9, 1.0),
                max_duration_hours=draw.choice((None, 720.0, 2.0)),
                reasons=() if card.cuda else ("not CUDA",),
            )
        )
    return SourceResult("market", "2026-11-24", "ok", offers, [])


def cold_search(path: str, count: int) -> float:
    """Seconds of the first search of a process, imports and reading of the config included."""
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from find import market;"
        "source = market(int(sys.argv[3]));"
        "dropped = [sys.modules.pop(name) for name in list(sys.modules) if 'memory' in name];"
        "start = time.perf_counter();"
        "from pytest_prime_train.checker import load_config;"
        "from pytest_prime_train.cost.find import find_offers;"
        "found = find_offers(load_config(sys.argv[2]), [source], path=sys.argv[2]);"
        "assert len(found.ranked) == 20, found.rejected;"
        "print(time.perf_counter() - start)"
    )
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", program, folder, path, str(count)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def cli_search(folder: str) -> float:
    """Seconds of the command over a cache of many offers, all of it."""
    import os

    from pytest_prime_train.cost import sources

    os.environ["XDG_CACHE_HOME"] = folder
    sources.write_cache([market(MARKET)])
    start = time.perf_counter()
    command = [str(Path(sys.executable).with_name("prime-train")), "find", f"{folder}/a_sft.toml"]
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - start


def in_pytest(folder: str) -> tuple[float, float]:
    """Seconds of pytest with 10 budgets over 1,000 offers, and with 10 empty items."""
    import os

    from pytest_prime_train.cost import sources

    os.environ["XDG_CACHE_HOME"] = folder
    sources.write_cache([market(1000)])
    configs = Path(folder) / "configs"
    configs.mkdir()
    for number in range(10):
        (configs / f"c{number}_sft.toml").write_text(CONFIG)
    empty = Path(folder) / "test_empty.py"
    names = [f"configs/c{number}_sft.toml::cost[budget]" for number in range(10)]
    count = len(names)
    empty.write_text("".join(f"def test_{number}(): pass\n" for number in range(count)))

    def timed(*arguments: str) -> float:
        base = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        start = time.perf_counter()
        subprocess.run([*base, *arguments], cwd=folder, capture_output=True, check=True)
        return time.perf_counter() - start

    pairs = [(timed("--prime-budget=1000000", *names), timed("test_empty.py")) for _ in range(RUNS)]
    ours, floor = zip(*pairs, strict=True)
    return statistics.median(ours), statistics.median(floor)


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a_sft.toml"
        Path(path).write_text(CONFIG)
        times = [cold_search(path, MARKET) for _ in range(RUNS)]
        print(f"search over {MARKET} offers: median {statistics.median(times):.3f} s (bar 1 s)")
        print(f"command over a cache of {MARKET}: {cli_search(folder):.3f} s in all")
        ours, floor = in_pytest(folder)
        print(f"10 budgets over 1,000 offers in pytest: {ours:.3f} s, empty items {floor:.3f} s")


if __name__ == "__main__":
    main()
