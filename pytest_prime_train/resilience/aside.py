"""Moving steps out of prime-rl's way: by renames, listed, and undoable.

prime-rl resumes from the highest ``step_N`` whether it is whole or not, so a step that cannot be
used has to go before a launch. It stays in its folder under a name that prime-rl does not look at:
the same file system makes the rename one operation, and nothing is deleted.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pytest_prime_train.resilience.checkpoint import Foreign
from pytest_prime_train.resilience.files import sync_folder, write_whole
from pytest_prime_train.resilience.keys import utc
from pytest_prime_train.resilience.layout import Layout
from pytest_prime_train.resilience.outcomes import LocalTrouble, NotComplete, local_files

_NAME = re.compile(r"\.aside-(?P<name>.+)-(?P<number>[1-9][0-9]{0,8})")
_REASON_SUFFIX = ".reason.json"
_MOVING = "moving a step aside"
_MOST_REASON_CHARACTERS = 2000


class SetAside(NamedTuple):
    """Something that was moved out of prime-rl's way.

    Attributes:
        name: What it was called, such as ``step_25``.
        why: Why it was moved; empty where nobody can tell any more.
        at: When, as ISO 8601 in UTC; empty likewise.
        moves: What was moved, from where to where.
    """

    name: str
    why: str
    at: str
    moves: tuple[tuple[Path, Path], ...]


def set_aside(layout: Layout, step: int, why: str) -> SetAside:
    """Move a step aside, in every place that it has a folder in.

    The trainer's part goes first, because that is where the launcher of prime-rl looks.

    Args:
        why: The reason, which ``all_aside`` tells later.

    Raises:
        NotComplete: There is no such step.
        BackupError: It cannot be moved.
    """
    folders = [layout.folders[role] for role in sorted(layout.roles, reverse=True)]
    places = [folder / f"step_{step}" for folder in dict.fromkeys(folders)]
    places = [place for place in places if os.path.lexists(place)]
    if not places:
        raise NotComplete(f"there is no step {step} in {layout.run_dir}")
    return _move(places, why)


def foreign_aside(foreign: Foreign) -> SetAside:
    """Move aside what prime-rl would stumble over.

    Raises:
        NotComplete: It is gone.
        BackupError: It cannot be moved.
    """
    if not os.path.lexists(foreign.path):
        raise NotComplete(f"there is no {foreign.path}")
    return _move([foreign.path], foreign.why)


def _move(places: list[Path], why: str) -> SetAside:
    at = utc()
    number = 1
    while any(os.path.lexists(_aside(place, number)) for place in places):
        number += 1
    moves = tuple((place, _aside(place, number)) for place in places)
    body = json.dumps({"why": why[:_MOST_REASON_CHARACTERS], "at": at}).encode()
    with local_files(_MOVING):
        for source, target in moves:
            with suppress(OSError):  # a full disk must not keep the step in the way
                write_whole(_reason_of(target), body)
            os.rename(source, target)
            sync_folder(source.parent)
    return SetAside(places[0].name, why, at, moves)


def _aside(place: Path, number: int) -> Path:
    return place.parent / f".aside-{place.name}-{number}"


def _reason_of(aside: Path) -> Path:
    return aside.with_name(aside.name + _REASON_SUFFIX)


def all_aside(layout: Layout) -> list[SetAside]:
    """Everything that was moved aside in the folders of a run, by name.

    Raises:
        BackupError: A folder cannot be read.
    """
    found: dict[tuple[str, str], SetAside] = {}
    with local_files("looking at the checkpoints"):
        for folder in dict.fromkeys(layout.folders[role] for role in layout.roles):
            with suppress(FileNotFoundError, NotADirectoryError):
                for name in sorted(os.listdir(folder)):
                    match = _NAME.fullmatch(name)
                    if match is None or name.endswith(_REASON_SUFFIX):
                        continue
                    move = folder / match["name"], folder / name
                    before = found.get((match["name"], match["number"]))
                    why, at = _reason(folder / name)
                    found[match["name"], match["number"]] = SetAside(
                        match["name"], why, at, (*(before.moves if before else ()), move)
                    )
    return [found[key] for key in sorted(found)]


def _reason(aside: Path) -> tuple[str, str]:
    with suppress(OSError, ValueError, KeyError, TypeError):
        body = json.loads(_reason_of(aside).read_bytes())
        return str(body["why"]), str(body["at"])
    return "", ""


def bring_back(aside: SetAside) -> None:
    """Give what was moved aside its name again.

    Raises:
        BackupError: It is gone, something of that name is there, or it cannot be moved.
    """
    for original, _ in aside.moves:
        if os.path.lexists(original):
            raise LocalTrouble(f"{original} is there; move it elsewhere first")
    with local_files("bringing a step back"):
        for original, moved in reversed(aside.moves):
            os.rename(moved, original)
            sync_folder(original.parent)
            with suppress(OSError):
                os.unlink(_reason_of(moved))
