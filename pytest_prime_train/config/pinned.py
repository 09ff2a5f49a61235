"""Which prime-rl a project pins: a commit or tag in pyproject.toml or uv.lock.

Every run of the hook asks, and a lock file of half a megabyte takes longer to parse than the whole
hook, so lines are searched and nothing is parsed. The version of the distribution is no evidence:
it is 0.1.0 for v0.2 to v0.4.0, and 0.8.0 for v0.8.0 and all that came after it.
"""

from __future__ import annotations

import os
import re

from pytest_prime_train.schema.versions import NEWEST, VERSIONS, canonical


class Pin:
    """What a project pins.

    Attributes:
        version: Bundled version that judges.
        before: Bundled version before that, where the pinned commit lies between the two, so
            that what either reads is taken for read; ``None`` for a version's own commit.
        known: Whether the commit is one of those up to the newest bundled version; of another
            one nobody knows which keys it added.
        reason: Where prime-rl is pinned and to what, in one sentence; empty where it is not.
        lock: Content of the lock file that was read; empty where there is none.
    """

    __slots__ = ("before", "known", "lock", "reason", "version")

    def __init__(
        self,
        version: str,
        before: str | None = None,
        known: bool = True,
        reason: str = "",
        lock: bytes = b"",
    ) -> None:
        self.version = version
        self.before = before
        self.known = known
        self.reason = reason
        self.lock = lock


_NAME = b"prime-rl"
# A repository called prime-rl and what follows its address: a commit or a tag. The address of a
# file of a release says nothing about the version in use.
_ADDRESS = rb"[/:][\w.-]+/prime-rl(?:\.git)?/?(?=[\"'?#@\s])([^\"'\s;]*)"
_KEYWORD = rb"\b(?:rev|tag)\s*=\s*[\"']([^\"']+)[\"']"
_IN_ADDRESS = (rb"#([0-9a-f]{7,40})$", rb"[?&](?:rev|tag)=([^&#]+)", rb"@([^#?&]+)")
_COMMIT = "[0-9a-f]{7,40}"
_RELEASE = r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:\.dev(\d+))?"
# The newest bundled version has no tag of its own but this.
_NEWEST_DEVELOPMENT = (0, 8, 1, 67)
_TOP = ".git"


def find_pin(folder: str) -> Pin:
    """What the nearest pyproject.toml or uv.lock pins; the newest version where neither does.

    Args:
        folder: Where to begin; folders above it are searched up to the top of a git repository.
    """
    folder = os.path.abspath(folder)
    while True:
        project = _read(os.path.join(folder, "pyproject.toml"))
        lock = _read(os.path.join(folder, "uv.lock"))
        for name, content in (("pyproject.toml", project), ("uv.lock", lock)):
            pinned = search(content)
            if pinned is not None:
                found = identify(pinned)
                found.reason = f"{name} pins prime-rl to {pinned}"
                found.lock = lock
                return found
        parent = os.path.dirname(folder)
        if lock or parent == folder or os.path.exists(os.path.join(folder, _TOP)):
            return Pin(NEWEST, lock=lock)
        folder = parent


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def search(content: bytes) -> str | None:
    """The first commit or tag of prime-rl in the text of a pyproject.toml or uv.lock."""
    at = content.find(_NAME)
    while at >= 0:
        start = content.rfind(b"\n", 0, at) + 1
        end = content.find(b"\n", at)
        line = content[start : end if end >= 0 else len(content)]
        if b"git" in line and not line.lstrip().startswith(b"#"):
            pinned = _pinned_in(line)
            # A branch moves, so only the lock file says which commit it stands for.
            if pinned and (re.fullmatch(_COMMIT, pinned) or re.fullmatch(_RELEASE, pinned)):
                return pinned
        at = content.find(_NAME, end) if end >= 0 else -1
    return None


def _pinned_in(line: bytes) -> str:
    address = re.search(_ADDRESS, line, re.IGNORECASE)
    if address is None:
        return ""
    found = None
    for pattern in _IN_ADDRESS:
        found = found or re.search(pattern, address.group(1))
    found = found or re.search(_KEYWORD, line)
    return found.group(1).decode(errors="replace").strip() if found else ""


def identify(name: str) -> Pin:
    """The version that judges for a commit or tag of prime-rl.

    >>> identify("v0.6.0").version, identify("v0.6.1.dev3").before, identify("0" * 40).known
    ('v0.6.0', 'v0.6.0', False)
    """
    if re.fullmatch(_COMMIT, name):
        return _identify_commit(name)
    match = re.fullmatch(_RELEASE, name)
    if match is None:
        return Pin(NEWEST, known=False)
    major, minor, patch, development = (int(part or 0) for part in match.groups())
    version = canonical(f"{major}.{minor}.{patch}")
    if version is not None and match.group(4) is None:
        return Pin(version)
    number = (major, minor, patch, development)
    if number == _NEWEST_DEVELOPMENT:
        return Pin(NEWEST)
    if number > _NEWEST_DEVELOPMENT:
        return Pin(NEWEST, known=False)
    # A development version 0.6.1.dev3 came after 0.6.0.
    earlier = [name for name in VERSIONS[:-1] if _numbers(name) < number[:3]]
    if not earlier:
        return Pin(VERSIONS[0])
    return Pin(VERSIONS[VERSIONS.index(earlier[-1]) + 1], earlier[-1])


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.removeprefix("v").split(".")]
    return tuple((*numbers, 0, 0)[:3])


def _identify_commit(name: str) -> Pin:
    from base64 import b85decode

    from pytest_prime_train.schema.commits import COMMITS

    # Seven characters are what git prints; the last half byte is then any.
    starts = [bytes.fromhex(name[:8])] if len(name) >= 8 else []
    starts = starts or [bytes.fromhex(f"{name}{digit:x}") for digit in range(16)]
    before: str | None = None
    for version, packed in COMMITS.items():
        commits = b85decode(packed)
        for start in starts:
            at = commits.find(start)
            while at >= 0 and at % 4:
                at = commits.find(start, at + 1)
            if at >= 0:
                # The first commit of a version is its own; the others came before it.
                return Pin(version, before if at else None)
        before = version
    return Pin(NEWEST, known=False)


_PACKAGE = rb'\nversion = "([^"\n]+)"(?:\nsource = \{ git = "[^"\n]*#([0-9a-f]{7})[^"\n]*)?'


def other_packages(lock: bytes, taken_from: dict[str, str]) -> list[tuple[str, str, str]]:
    """Packages that a lock file pins to other versions than a schema was taken from.

    Args:
        lock: Content of a uv.lock.
        taken_from: Of a ``Schema``.

    Returns:
        (package, version in the lock file, what the schema was taken from) for each.
    """
    found = []
    for package in ("verifiers", "renderers"):
        taken = taken_from.get(package, "")
        if not taken or taken.startswith("not imported"):
            continue
        at = lock.find(f'\nname = "{package}"\nversion = '.encode())
        match = re.compile(_PACKAGE).match(lock, lock.find(b"\nversion", at)) if at >= 0 else None
        if match is None:
            continue
        version = match.group(1).decode(errors="replace")
        if match.group(2):
            version = f"commit {match.group(2).decode()}"
        if version.removeprefix("commit ") not in taken.split():
            found.append((package, version, taken))
    return found
