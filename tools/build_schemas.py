"""Make ``pytest_prime_train/schema/data/*.py`` out of the JSON Schemas of prime-rl's own classes.

    python tools/build_schemas.py [SHARED] [--check]

``SHARED`` is the folder of facts beside the checkout (``../shared``, or ``PRIME_SHARED``).
``schema/compile.py`` does the work, and ``schema/nodes.py`` is the picture of the format.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from pytest_prime_train.schema.compile import Json, Pool, compile_roots

REPOSITORY = Path(__file__).resolve().parent.parent
TARGET = REPOSITORY / "pytest_prime_train" / "schema" / "data"
HEADER = '''"""Keys of prime-rl {version}: {origin}.

Made by tools/build_schemas.py; do not edit. Format: schema/nodes.py.
"""

'''

# What packages of environments read at versions whose schemas came without it, in the same form:
# model_json_schema of the classes of verifiers at the commit that INDEX.json names.
OWN_PLUGINS = REPOSITORY / "tools" / "plugins"


def compile_version(folder: Path) -> tuple[Pool, dict[str, str], Json]:
    """All tables of one version, the table of each root, and its plugins."""
    places = (folder / "plugins", OWN_PLUGINS / folder.name)
    schemas = {
        path.name.removesuffix(".schema.json"): json.loads(path.read_text())
        for path in sorted(folder.glob("*.schema.json"))
        if not path.name.endswith(".effective.schema.json")
    }
    plugin_folder = next((place for place in places if place.is_dir()), None)
    return compile_roots(folder.name, schemas, plugin_folder)


def render(folder: Path, index: Json) -> str:
    """The text of the module for one version."""
    pool, roots, plugins = compile_version(folder)
    entry = next(entry for entry in index["versions"] if entry["version"] == folder.name)
    origin = f"model_json_schema of prime-rl at {entry['commit'][:9]} of {entry['date']}"
    taken = {
        "commit": entry["commit"],
        "date": entry["date"],
        "verifiers": entry.get("verifiers") or "",
        "renderers": entry.get("renderers") or "",
    }
    lines = [HEADER.format(version=folder.name, origin=origin), "# fmt: off\n# ruff: noqa\n"]
    lines.append("from typing import Any\n\n")
    lines.append(f"VERSION = {folder.name!r}\n")
    lines.append(f"TAKEN_FROM = {taken!r}\n")
    lines.append(f"ROOTS: dict[str, str] = {roots!r}\n")
    lines.append(f"PLUGINS: dict[str, Any] = {plugins!r}\n")
    lines.append("TABLES: dict[str, Any] = {\n")
    for name, (fields, *rest) in sorted(pool.items()):
        lines.append(f"{name!r}: ({{\n")
        lines += [f"  {key!r}: {field!r},\n" for key, field in fields.items()]
        lines.append(f"}}, {', '.join(map(repr, rest))}),\n")
    lines.append("}\n")
    return "".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    default = os.environ.get("PRIME_SHARED", str(REPOSITORY.parent / "shared"))
    parser.add_argument("shared", nargs="?", default=default, type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where it would")
    arguments = parser.parse_args()
    schemas = arguments.shared / "prime-rl" / "schemas"
    index = json.loads((schemas / "INDEX.json").read_text())
    stale = []
    for folder in sorted(path for path in schemas.iterdir() if path.is_dir()):
        target = TARGET / f"{folder.name.replace('-', '_').replace('.', '_')}.py"
        text = render(folder, index)
        if not target.exists() or target.read_text() != text:
            stale.append(target)
            if not arguments.check:
                target.write_text(text)
    for path in stale:
        print(f"{'stale' if arguments.check else 'written'}: {path.relative_to(REPOSITORY)}")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
