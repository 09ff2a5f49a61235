"""How long a search takes over many offers, and a budget in pytest beside as many empty items.

Run from the checkout as ``python benchmarks/find.py``; the bars are 1 s for 100,000 offers beyond
the start of the interpreter, and 1.2 times the cost of empty items for 10 configs over 1,000.
"""

from __future__ import annotations

import random
import resource
import statistics
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

from pytest_prime_train.cost.offers import Offer, SourceResult

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
RUNS = 7


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


def processor_seconds(command: list[str], folder: str) -> tuple[float, str]:
    """What a command takes of the processor, and the last line that it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = float(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return seconds, done.stdout.splitlines()[-1]


def cli_search(folder: str) -> float:
    """Processor time of the command over a cache of many offers, beyond that of its start."""
    import os

    from pytest_prime_train.cost import sources

    os.environ["XDG_CACHE_HOME"] = folder
    sources.write_cache([market(MARKET)])
    program = str(Path(sys.executable).with_name("prime-train"))
    pairs = [
        (
            processor_seconds([program, "find", f"{folder}/a_sft.toml"], folder)[0],
            processor_seconds([program, "--version"], folder)[0],
        )
        for _ in range(RUNS)
    ]
    return min(ours for ours, _ in pairs) - min(start for _, start in pairs)


def in_pytest(folder: str) -> dict[str, tuple[float, float]]:
    """Seconds of processor time of pytest with 10 budgets over 1,000 offers, and of as many empty
    items as that has: of all the items of the 10 configs, and of the budgets alone."""
    import os

    from pytest_prime_train.cost import sources

    os.environ["XDG_CACHE_HOME"] = folder
    sources.write_cache([market(1000)])
    configs = Path(folder) / "configs"
    configs.mkdir()
    for number in range(10):
        (configs / f"c{number}_sft.toml").write_text(CONFIG)
    budgets = [f"configs/c{number}_sft.toml::cost[budget]" for number in range(10)]
    cases = {
        "all items of 10 configs": (["--prime-configs=configs", "configs"], 0),
        "10 items of budgets alone": (budgets, len(budgets)),
    }

    def timed(*arguments: str) -> tuple[float, str]:
        base = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        return processor_seconds([*base, *arguments], folder)

    found = {}
    for name, (arguments, count) in cases.items():
        arguments = ["--prime-budget=1000000", *arguments]
        count = count or int(timed(*arguments)[1].split(" passed")[0])
        empty = Path(folder) / f"test_empty_{count}.py"
        empty.write_text("".join(f"def test_{number}(): pass\n" for number in range(count)))
        # By turns, and the least of each: what else the machine does only ever adds.
        pairs = [(timed(*arguments)[0], timed(empty.name)[0]) for _ in range(RUNS)]
        ours, floor = zip(*pairs, strict=True)
        found[f"{name} ({count})"] = min(ours), min(floor)
    return found


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a_sft.toml"
        Path(path).write_text(CONFIG)
        times = [cold_search(path, MARKET) for _ in range(RUNS)]
        print(f"search over {MARKET} offers: median {statistics.median(times):.3f} s (bar 1 s)")
        print(f"command over a cache of {MARKET}: {cli_search(folder):.3f} s beyond its start")
        for name, (ours, floor) in in_pytest(folder).items():
            print(f"{name}: {ours:.3f} s, as many empty ones {floor:.3f} s: {ours / floor:.2f}")


if __name__ == "__main__":
    main()
