"""Replacing a file by a new text, so that no failure leaves half of it behind."""

from __future__ import annotations

import os
import stat
import tempfile


class NotWritten(Exception):
    """A file that was left as it is, with the reason in one sentence."""


def work_tree(path: str) -> str:
    """The folder that a file must not leave: the top of its git repository, else its own folder."""
    start = folder = os.path.dirname(os.path.abspath(path))
    while not os.path.exists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return start
        folder = parent
    return folder


def replace(path: str, old: bytes, new: bytes, tree: str | None = None) -> None:
    """Replace the whole content of a file, or leave it as it is.

    Permissions stay. The new content is on the disk before the old one goes.

    Args:
        path: The file.
        old: What was read from it; another program may have written it since.
        new: What it is to hold.
        tree: Folder that the file must lie in; ``None`` for its own work tree.

    Raises:
        NotWritten: It is a link or lies outside the folder, it has changed, or it cannot be
            written. Nothing has changed then.
    """
    try:
        _require_inside(path, tree or work_tree(path))
        _replace(path, old, new)
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotWritten(f"it cannot be written: {reason[:1].lower()}{reason[1:]}") from error


def create(path: str, content: bytes) -> None:
    """Write a file that there is not yet, whole or not at all.

    Raises:
        NotWritten: There is one by now, or it cannot be written. Nothing has changed then.
    """
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, temporary = tempfile.mkstemp(
            prefix=f".{os.path.basename(path)}.", suffix=".tmp", dir=folder
        )
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(stream.fileno(), 0o666 & ~mask)
                os.fsync(stream.fileno())
            os.link(temporary, path)  # Unlike a renaming, it does not replace what is there.
        finally:
            os.unlink(temporary)
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotWritten(f"it cannot be written: {reason[:1].lower()}{reason[1:]}") from error
    _sync_folder(folder)


def _require_inside(path: str, tree: str) -> None:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        raise NotWritten("it is a symbolic link, and what it leads to may belong to somebody else")
    if not stat.S_ISREG(status.st_mode):
        raise NotWritten("it is not a file")
    inside = os.path.realpath(tree)
    if os.path.commonpath((os.path.realpath(path), inside)) != inside:
        raise NotWritten(f"it lies outside {tree}")


def _replace(path: str, old: bytes, new: bytes) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    status = os.stat(path)
    if not os.access(path, os.W_OK):
        raise NotWritten("it is not to be written to, as its permissions say")
    handle, temporary = tempfile.mkstemp(
        prefix=f".{os.path.basename(path)}.", suffix=".tmp", dir=folder
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(new)
            stream.flush()
            os.fchmod(stream.fileno(), stat.S_IMODE(status.st_mode))
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                _keep_owner(stream.fileno(), status)
            os.fsync(stream.fileno())
        with open(path, "rb") as stream:
            if stream.read() != old:
                raise NotWritten("it has changed since it was read")
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_folder(folder)


def _keep_owner(descriptor: int, status: os.stat_result) -> None:
    """Give the new file to the owner of the old one, where that is allowed."""
    try:
        os.fchown(descriptor, status.st_uid, status.st_gid)
    except PermissionError:
        return


def _sync_folder(folder: str) -> None:
    """Put the new name on the disk; on a file system that cannot, it is there soon anyway."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
