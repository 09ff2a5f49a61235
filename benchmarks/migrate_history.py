"""How many of the configs that prime-rl ever had can be migrated, and what that leaves of them.

    python benchmarks/migrate_history.py CLONE [--shared ../shared] [--all]

``CLONE`` is a git directory of prime-rl. Looked at are the configs of each bundled tag, and every
distinct file of the main line since v0.2, with ``--all`` of all branches. Each is migrated alone to
the newest version. With ``SHARED`` the results are also judged by its effective JSON Schema, which
is none of this project's code. Nothing is written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from pytest_prime_train.config.statements import comments_in
from pytest_prime_train.migrations.files import Migrated, Migrator, Request
from pytest_prime_train.schema.versions import NEWEST

TAGS = ("v0.2", "v0.3.0", "v0.4.0", "v0.5.0", "v0.6.0", "v0.7.0", "v0.8.0")
FOLDERS = ("configs", "examples", "k8s")
HEAD = "559b44772"


class Judge:
    """The effective schemas of the newest version, by program; without them everything passes."""

    def __init__(self, shared: Path | None) -> None:
        self._folder = shared / "prime-rl" / "schemas" / NEWEST if shared is not None else None
        self._known: dict[str, Draft202012Validator] = {}

    def accepts(self, one: Migrated) -> bool:
        """Whether a result is valid."""
        if self._folder is None or one.root is None:
            return True
        if one.root not in self._known:
            path = self._folder / f"{one.root}.effective.schema.json"
            self._known[one.root] = Draft202012Validator(json.loads(path.read_text()))
        return bool(self._known[one.root].is_valid(tomllib.loads(one.result)))


def git(clone: Path, *arguments: str) -> str:
    """Output of a git command."""
    command = ["git", f"--git-dir={clone}", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout.decode()


def files_at(clone: Path, commit: str) -> Iterator[tuple[str, str]]:
    """Blob and path of every TOML file of a commit."""
    for line in git(clone, "ls-tree", "-r", commit, *FOLDERS).splitlines():
        facts, _, path = line.partition("\t")
        if path.endswith(".toml"):
            yield facts.split()[2], path


def history(clone: Path, *, everywhere: bool) -> dict[str, str]:
    """Blob -> path of every distinct TOML file."""
    found: dict[str, str] = {}
    if everywhere:
        for line in git(clone, "rev-list", "--objects", "--all", "--", *FOLDERS).splitlines():
            blob, _, path = line.partition(" ")
            if path.endswith(".toml"):
                found.setdefault(blob, path)
        return found
    commits = git(clone, "rev-list", f"v0.2^..{HEAD}", "--", *FOLDERS).split()
    for commit in [*commits, "v0.2"]:
        for blob, path in files_at(clone, commit):
            found.setdefault(blob, path)
    return found


def measure(clone: Path, files: Iterable[tuple[str, str]], judge: Judge) -> Counter[str]:
    """Migrate files and count what becomes of them."""
    migrator = Migrator(Request())
    count: Counter[str] = Counter()
    for blob, path in files:
        text = git(clone, "cat-file", "blob", blob)
        try:
            tomllib.loads(text)
        except ValueError:
            continue
        one = migrator.migrate_text(path, text)
        valid = one.state in ("same", "changed")
        count["files"] += 1
        count["valid"] += valid
        count["nobody needed"] += valid and not one.needs_person
        count["valid or told"] += valid or bool(one.needs_person)
        if valid:
            again: Any = migrator.migrate_text(path, one.result)
            count["not the same after a second run"] += again.result != one.result
            kept = Counter(comments_in(text)) == Counter(comments_in(one.result))
            count["lost a comment"] += not kept
            count["refused by the JSON Schema"] += not judge.accepts(one)
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clone", type=Path)
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--all", action="store_true", dest="everywhere")
    arguments = parser.parse_args()
    judge = Judge(arguments.shared)
    for tag in TAGS:
        print(tag, dict(measure(arguments.clone, files_at(arguments.clone, tag), judge)))
    files = history(arguments.clone, everywhere=arguments.everywhere)
    print("distinct files", dict(measure(arguments.clone, files.items(), judge)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
