"""Make ``pytest_prime_train/schema/commits.py`` out of prime-rl's history.

    python tools/build_commits.py GIT_DIR [--check]

``GIT_DIR`` is the git directory of a clone of prime-rl that has its tags. Of every commit the
first four bytes of its name are kept, by the released version that first had it.
"""

from __future__ import annotations

import argparse
import base64
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TARGET = REPOSITORY / "pytest_prime_train" / "schema" / "commits.py"
# The bundled versions after v0.1, whose commits are told from those of no release at all.
RANGES = (
    ("v0.2", "v0.2", ""),
    ("v0.3.0", "v0.3.0", "v0.2"),
    ("v0.4.0", "v0.4.0", "v0.3.0"),
    ("v0.5.0", "v0.5.0", "v0.4.0"),
    ("v0.6.0", "v0.6.0", "v0.5.0"),
    ("v0.7.0", "v0.7.0", "v0.6.0"),
    ("v0.8.0", "v0.8.0", "v0.7.0"),
    ("main-2026-08-21", "559b44772e471d1538537b8805cc77f3824a5e64", "v0.8.0"),
)
HEADER = '''"""Commits of prime-rl by the bundled version that first has them.

Made by tools/build_commits.py; do not edit. The first four bytes of every commit, in base 85;
the first commit of a version is the version's own.
"""

from __future__ import annotations

# fmt: off
# ruff: noqa
COMMITS: dict[str, str] = {
'''


def git(folder: str, *arguments: str) -> list[str]:
    """The lines that git prints."""
    command = ["git", f"--git-dir={folder}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def render(folder: str) -> str:
    """The text of the module."""
    lines = [HEADER]
    for version, last, before in RANGES:
        own = git(folder, "rev-parse", f"{last}^{{commit}}")
        found = git(folder, "rev-list", last, *([f"^{before}"] if before else ()))
        names = own + [name for name in found if name != own[0]]
        packed = b"".join(bytes.fromhex(name[:8]) for name in names)
        lines.append(f"    {version!r}: {base64.b85encode(packed).decode()!r},\n")
    return "".join([*lines, "}\n"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("git_dir")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where it would")
    arguments = parser.parse_args()
    text = render(arguments.git_dir)
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    if not arguments.check:
        TARGET.write_text(text)
    print(f"{'stale' if arguments.check else 'written'}: {TARGET.relative_to(REPOSITORY)}")
    return 1 if arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
