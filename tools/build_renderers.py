"""Make the list of models whose renderer prime-rl finds by itself.

Run from the checkout as ``python tools/build_renderers.py [--shared DIR] [--check]``; it reads
``DIR/prime-rl/model_renderer_map.json`` and writes
``pytest_prime_train/schema/data/renderer_models.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "pytest_prime_train" / "schema" / "data" / "renderer_models.py"


def render(facts: dict[str, dict[str, dict[str, str]]]) -> str:
    """The text of the module."""
    lines = [
        '"""Models whose renderer prime-rl finds by itself.',
        "",
        "Made by tools/build_renderers.py; do not edit. Models of all releases of renderers are in",
        "it: which release a machine has, the config does not say.",
        '"""',
        "",
        "MODELS = frozenset(",
        "    (",
        *(f'        "{model}",' for model in sorted(facts["models"])),
        "    )",
        ")",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the module, or tell whether it is up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    shared = os.environ.get("PRIME_SHARED") or ROOT.parent / "shared"
    parser.add_argument("--shared", type=Path, default=Path(shared))
    parser.add_argument("--check", action="store_true", help="only tell whether it is up to date")
    arguments = parser.parse_args()
    source = arguments.shared / "prime-rl" / "model_renderer_map.json"
    text = render(json.loads(source.read_text(encoding="utf-8")))
    if arguments.check:
        if TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET} is not what {source} makes", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
