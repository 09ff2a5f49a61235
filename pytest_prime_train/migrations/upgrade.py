"""What the files of a project mean in another way after an upgrade of prime-rl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pytest_prime_train.checker import Checker, Options
from pytest_prime_train.config.age import age
from pytest_prime_train.config.document import Document, Unreadable, read_bytes
from pytest_prime_train.findings import UsageError, format_key
from pytest_prime_train.migrations.meaning import Shift, all_shifts
from pytest_prime_train.migrations.plan import Dated, date, plan
from pytest_prime_train.migrations.words import show
from pytest_prime_train.schema.versions import VERSIONS, canonical


class Explained(NamedTuple):
    """What changes for each file.

    Attributes:
        first: Version to start from.
        last: Version to end with.
        files: Path, root, and what changes, of every file that is prime-rl's.
    """

    first: str
    last: str
    files: tuple[tuple[str, str, tuple[Shift, ...]], ...]

    def as_json(self) -> dict[str, Any]:
        """The same as a document of JSON."""
        return {
            "version": 1,
            "from": self.first,
            "to": self.last,
            "files": [
                {
                    "path": path,
                    "root": root,
                    "changes": [
                        {
                            "key": format_key(shift.key),
                            "since": shift.since,
                            "before": shift.before,
                            "after": shift.after,
                            "message": shift.message,
                        }
                        for shift in found
                    ],
                }
                for path, root, found in self.files
            ],
        }

    def as_text(self) -> str:
        """The same for people."""
        from pytest_prime_train.report.console import clean

        blocks: list[str] = []
        for path, root, found in self.files:
            if not found:
                continue
            blocks.append(f"{clean(path)} ({root})\n")
            for shift in found:
                blocks.append(
                    f"  {shift.since} {format_key(shift.key)}: {_word(shift.before)} -> "
                    f"{_word(shift.after)}\n      {shift.message}\n"
                )
        touched = sum(1 for _, _, found in self.files if found)
        blocks.append(
            f"{touched} of {len(self.files)} prime-rl configs mean something else after the "
            f"upgrade from {self.first} to {self.last}; --keep-behaviour writes the old values\n"
        )
        return "".join(blocks)


def _word(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) and " " in value else show(value).strip('"')


def explain_upgrade(
    paths: Sequence[str], first: str, last: str, *, root: str | None = None
) -> Explained:
    """Tell what files mean in another way.

    Args:
        paths: The files; those that are not prime-rl's are left out.
        first: Version of prime-rl before the upgrade, as users name it.
        last: Version after it.
        root: Program that reads the files; ``None`` recognises each.

    Raises:
        UsageError: A file cannot be opened, or a version is not bundled or not in order.
    """
    versions = [canonical(name) for name in (first, last)]
    for name, version in zip((first, last), versions, strict=True):
        if version is None:
            raise UsageError(
                f"no schema of prime-rl {name!r} is bundled; known are {', '.join(VERSIONS)}"
            )
    begin, end = str(versions[0]), str(versions[1])
    if VERSIONS.index(begin) >= VERSIONS.index(end):
        raise UsageError(f"an upgrade leads to a newer version, and {end} is not after {begin}")
    settings = Checker(Options()).settings
    found: list[tuple[str, str, tuple[Shift, ...]]] = []
    for path in paths:
        try:
            document = Document(path, read_bytes(path))
        except Unreadable as error:
            raise UsageError(f"{path}: {error}") from error
        if document.error is not None:
            continue
        from pytest_prime_train.migrations.files import pinned_root

        dated = date(document.data, path, root or pinned_root(settings, path))
        if dated.root is None or dated.root == "hosted":
            continue
        shifts = _shifts(document.data, dated, begin, end)
        found.append((path, dated.root, tuple(shifts)))
    return Explained(begin, end, tuple(found))


def _shifts(data: dict[str, Any], dated: Dated, first: str, last: str) -> list[Shift]:
    assert dated.root is not None
    start = VERSIONS.index(first)
    times = age(data, str(dated.root))
    if not times.mixed:
        # What was another thing before any version that has all keys of the file never held for it.
        start = max(start, VERSIONS.index(times.versions[0]))
    # A file that is older than the upgrade is looked at as it is after its own migration.
    old = dated._replace(origin=VERSIONS[min(VERSIONS.index(dated.origin), start)])
    datas: dict[str, dict[str, Any]] = {}
    for version in VERSIONS[start : VERSIONS.index(last)]:
        datas[version] = plan(data, old, version).data
    return all_shifts(datas, str(dated.root), VERSIONS[start], last) if datas else []
