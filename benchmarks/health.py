"""How many faults the health watch finds, and how often it cries wolf.

    python benchmarks/health.py [--streams N]

Each stream is one run: half of them have a planted fault, which counts as found when it is told
within ten steps and nothing was told before it. A healthy one counts as a false alarm when anything
is told of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from metric_streams import FAULTS, Stream, stream  # noqa: E402
from pytest_prime_train.health.watch import Alert, Watch  # noqa: E402

WITHIN = 10


def main() -> None:
    """Watch every stream, and print shares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=400)
    half = parser.parse_args().streams // 2
    found: Counter[str] = Counter()
    planted: Counter[str] = Counter()
    for number in range(half):
        fault = FAULTS[number % len(FAULTS)]
        made = stream(number, fault)
        planted[fault] += 1
        alerts = watch(made)
        early = [one for one in alerts if one.step < made.at]
        if not early and any(made.at <= one.step <= made.at + WITHIN for one in alerts):
            found[fault] += 1
    false: Counter[str] = Counter()
    crying = 0
    for number in range(half):
        alerts = watch(stream(1_000_000 + number))
        crying += bool(alerts)
        false.update({one.kind for one in alerts})
    for fault in FAULTS:
        print(f"{fault}: {found[fault]} of {planted[fault]}")
    print(f"found within {WITHIN} steps: {100 * sum(found.values()) / half:.1f} %")
    print(f"false alarms: {100 * crying / half:.1f} % {dict(false)}")


def watch(made: Stream) -> list[Alert]:
    """Everything that is told of a stream."""
    with tempfile.TemporaryDirectory() as folder:
        made.write(Path(folder))
        return Watch(Path(folder)).poll()


if __name__ == "__main__":
    main()
