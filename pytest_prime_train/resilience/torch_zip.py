"""Whether archives as torch.save writes them are whole: zip files whose members are not packed."""

from __future__ import annotations

import io
import os
import zipfile
import zlib

LOCAL_HEADER = b"PK\x03\x04"
"""What every archive begins with."""
END_RECORD = b"PK\x05\x06"
"""What the last 22 bytes of every archive begin with."""
END_BYTES = 22
_LOCAL_HEADER_BYTES = 30
_BLOCK = 1 << 20


class Window(io.RawIOBase):
    """A part of an open file as a file of its own.

    Args:
        descriptor: Of the open file; it is neither closed nor moved.
        offset: First byte of the part.
        length: Bytes of the part.
    """

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise ValueError("before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(0, self._length - self._position))
        into = memoryview(buffer)[:wanted]  # a slice of a bytearray would be a copy
        got = os.preadv(self._descriptor, [into], self._offset + self._position)
        self._position += got
        return got


def fault(stream: io.RawIOBase | io.BufferedIOBase, size: int) -> str:
    """What is wrong with an archive, as the end of a sentence; empty if nothing is.

    Members that are packed are a fault as well: torch never packs them, and a small archive could
    unpack to any size.

    Args:
        stream: The archive, seekable.
        size: Its bytes.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            if not members:
                return "holds nothing"
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                return "is packed, as torch never writes it"
            if sum(member.file_size for member in members) > size:
                return "is torn"
            for member in members:
                if _checksum(stream, member) != member.CRC:
                    return f"has another content than its checksum says ({member.filename[:80]!r})"
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError):
        return "is torn"
    except (NotImplementedError, RuntimeError, LookupError, OverflowError):
        return "is no archive of torch"
    return ""


def _checksum(stream: io.RawIOBase | io.BufferedIOBase, member: zipfile.ZipInfo) -> int:
    """The checksum of a member's bytes, read in blocks."""
    stream.seek(member.header_offset)
    header = stream.read(_LOCAL_HEADER_BYTES) or b""
    if len(header) != _LOCAL_HEADER_BYTES or header[:4] != LOCAL_HEADER:
        raise EOFError
    names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    stream.seek(member.header_offset + _LOCAL_HEADER_BYTES + names)
    left, checksum = member.file_size, 0
    while left:
        block = stream.read(min(left, _BLOCK))
        if not block:
            raise EOFError
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
    return checksum
