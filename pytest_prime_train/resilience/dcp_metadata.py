"""The index of a torch distributed checkpoint (``.metadata``), read without torch and without risk.

The index is a pickle, and a pickle can run anything. Here it is looked through first, opcode by
opcode: only those that torch's indices are made of may be in it, and nothing that asks for more
memory than the file has bytes. Then it is loaded with every class replaced by an empty one, and
only names that such an index holds are replaced; any other is refused.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

NAME = ".metadata"
"""Name of the index in the folder of a checkpoint."""

MOST_BYTES = 1 << 30
"""An index above this size is refused; those of the largest published models stay far below."""


class BadIndex(Exception):
    """The index cannot be read, or holds what no index of torch holds; the text says what."""


class Extent(NamedTuple):
    """Where one entry of the checkpoint lies.

    Attributes:
        path: File, relative to the folder of the checkpoint.
        offset: First byte.
        length: Bytes.
        plain: Whether the bytes are as torch.save wrote them, neither compressed nor encrypted.
    """

    path: str
    offset: int
    length: int
    plain: bool


class Index(NamedTuple):
    """What an index says.

    Attributes:
        extents: Every entry.
        names: How many tensors and values the checkpoint holds.
    """

    extents: tuple[Extent, ...]
    names: int

    def sizes(self) -> dict[str, int]:
        """Every file with the least number of bytes that it must have."""
        sizes: dict[str, int] = {}
        for extent in self.extents:
            end = extent.offset + extent.length
            if end > sizes.get(extent.path, -1):
                sizes[extent.path] = end
        return sizes


def read_index(data: bytes) -> Index:
    """Read an index.

    Raises:
        BadIndex: It is torn, hostile, or no index of a checkpoint.
    """
    if not data:
        raise BadIndex("it is empty")
    if len(data) > MOST_BYTES:
        raise BadIndex(f"it has {len(data)} bytes, more than any index")
    _look_through(data)
    try:
        loaded = _Unpickler(io.BytesIO(data)).load()
    except BadIndex:
        raise
    except Exception as error:  # whatever a broken pickle makes the unpickler raise
        raise BadIndex("it is torn or not a pickle") from error
    return _index_of(loaded)


# ---------------------------------------------------------------- what may be in it

_METADATA = "torch.distributed.checkpoint.metadata"
_FILESYSTEM = "torch.distributed.checkpoint.filesystem"
_CLASSES = frozenset(
    (
        (_METADATA, "BytesStorageMetadata"),
        (_METADATA, "ChunkStorageMetadata"),
        (_METADATA, "Metadata"),
        (_METADATA, "MetadataIndex"),
        (_METADATA, "StorageMeta"),
        (_METADATA, "TensorProperties"),
        (_METADATA, "TensorStorageMetadata"),
        (_METADATA, "_MEM_FORMAT_ENCODING"),
        (_FILESYSTEM, "_StorageInfo"),
        ("torch", "Size"),
        ("torch.serialization", "_get_layout"),
        ("pathlib", "PosixPath"),
        ("pathlib._local", "PosixPath"),
        ("collections", "OrderedDict"),
    )
)
_DTYPE = re.compile(
    r"(?:u?int\d{1,2}|q(?:u?int\d{1,2}|uint\dx\d)|bfloat16|b?float\d[a-z0-9_]*|complex\d{2,3}|bool"
    r"|half|float|double|long|short|int|uint8|bits\w*|strided)"
)

# Opcodes by what follows them: so many bytes, or a length of 1 or 4 bytes and that many.
_FIXED = {
    b"\x80": 1,  # PROTO
    b"\x95": 8,  # FRAME
    b"K": 1, b"M": 2, b"J": 4, b"G": 8,  # numbers
    b"h": 1, b"j": 4,  # GET
    b"\x94": 0, b"q": 1, b"r": 4,  # MEMOIZE, PUT
    b"\x93": 0,  # STACK_GLOBAL
    b"(": 0, b"0": 0, b"1": 0, b"2": 0, b"N": 0, b"\x88": 0, b"\x89": 0,
    b")": 0, b"\x85": 0, b"\x86": 0, b"\x87": 0, b"t": 0,  # tuples
    b"]": 0, b"a": 0, b"e": 0, b"l": 0,  # lists
    b"}": 0, b"s": 0, b"u": 0, b"d": 0,  # dicts
    b"\x8f": 0, b"\x90": 0, b"\x91": 0,  # sets
    b"R": 0, b"b": 0, b"\x81": 0, b"\x92": 0,  # REDUCE, BUILD, NEWOBJ, NEWOBJ_EX
}  # fmt: skip
_SHORT = (b"\x8c", b"C", b"U", b"\x8a")  # SHORT_BINUNICODE, SHORT_BINBYTES, …, LONG1
_LONG = (b"X", b"B", b"T")  # BINUNICODE, BINBYTES, BINSTRING
_STOP = 0x2E
_GLOBAL = 0x63
_LONG_BINPUT = 0x72
_SHORT_KIND, _LONG_KIND, _GLOBAL_KIND, _REFUSED = -1, -2, -3, -4


def _kinds() -> list[int]:
    kinds = [_REFUSED] * 256
    for opcode, length in _FIXED.items():
        kinds[opcode[0]] = length
    for opcode in _SHORT:
        kinds[opcode[0]] = _SHORT_KIND
    for opcode in _LONG:
        kinds[opcode[0]] = _LONG_KIND
    kinds[_GLOBAL] = _GLOBAL_KIND
    return kinds


_KINDS = _kinds()


def _look_through(data: bytes) -> None:
    """Refuse what the unpickler could be hurt by.

    The unpickler makes room for the highest number that a value is remembered under, so that one
    opcode of five bytes could ask for 64 GiB.
    """
    position, end, kinds = 0, len(data), _KINDS
    remembered = 0
    while position < end:
        opcode = data[position]
        if opcode == _STOP:
            return
        kind = kinds[opcode]
        if kind >= 0:
            if opcode == _LONG_BINPUT:
                if int.from_bytes(data[position + 1 : position + 5], "little") > remembered:
                    raise BadIndex("it asks for memory that it has no use for")
                remembered += 1
            elif opcode in (0x94, 0x71):
                remembered += 1
            position += 1 + kind
        elif kind == _SHORT_KIND:
            if position + 1 >= end:
                break
            position += 2 + data[position + 1]
        elif kind == _LONG_KIND:
            position += 5 + int.from_bytes(data[position + 1 : position + 5], "little")
        elif kind == _GLOBAL_KIND:
            module_end = data.find(b"\n", position)
            name_end = data.find(b"\n", module_end + 1) if module_end >= 0 else -1
            if name_end < 0:
                break
            position = name_end + 1
        else:
            raise BadIndex(f"it holds the pickle opcode {bytes((opcode,))!r}, which no index needs")
    raise BadIndex("it is torn or not a pickle")


class _Stub:
    """Stands for an instance of any class, and does nothing."""

    __slots__ = ("arguments", "state")
    state: Any
    arguments: tuple[Any, ...]

    def __new__(cls, *arguments: Any) -> _Stub:
        stub = object.__new__(cls)
        stub.arguments = arguments
        stub.state = None
        return stub

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def get(self, key: str) -> Any:
        """An attribute of the instance that this stands for."""
        return self.state.get(key) if type(self.state) is dict else None


class _OrderedDict(dict[Any, Any]):
    pass


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self._stubs: dict[tuple[str, str], type[Any]] = {}

    def find_class(self, module: str, name: str) -> type[Any]:
        key = (module, name)
        if key not in self._stubs:
            is_dtype = module == "torch" and _DTYPE.fullmatch(name) is not None
            if key not in _CLASSES and not is_dtype:
                raise BadIndex(f"it names {f'{module}.{name}'[:80]!r}, which no index holds")
            base: type[Any] = _OrderedDict if module == "collections" else _Stub
            self._stubs[key] = type(name, (base,), {"__slots__": ()})
        return self._stubs[key]

    def persistent_load(self, pid: Any) -> Any:
        raise BadIndex("it refers to something outside of it, which no index does")


# ---------------------------------------------------------------- what it says


def _index_of(loaded: Any) -> Index:
    if not isinstance(loaded, _Stub) or type(loaded).__name__ != "Metadata":
        raise BadIndex("it is a pickle, but not the index of a checkpoint")
    storage = loaded.get("storage_data")
    names = loaded.get("state_dict_metadata")
    if not isinstance(storage, dict) or not isinstance(names, dict):
        raise BadIndex("it does not say where the entries of the checkpoint lie")
    keys = [key.get("fqn") for key in storage if isinstance(key, _Stub)]
    stored = {key for key in keys if type(key) is str}
    missing = [name for name in names if name not in stored]
    if missing:
        raise BadIndex(f"it does not say where {str(missing[0])[:80]!r} lies")
    return Index(tuple(_extents(storage)), len(names))


def _extents(storage: dict[Any, Any]) -> Iterator[Extent]:
    from pytest_prime_train.resilience.manifest import is_safe_path

    for info in storage.values():
        if not isinstance(info, _Stub):
            raise BadIndex("it does not say where the entries of the checkpoint lie")
        path, offset, length = (info.get(key) for key in ("relative_path", "offset", "length"))
        if type(path) is not str or type(offset) is not int or type(length) is not int:
            raise BadIndex("it does not say where the entries of the checkpoint lie")
        if not is_safe_path(path):
            raise BadIndex(f"it names the file {path[:80]!r}, which is outside of the checkpoint")
        if offset < 0 or length < 0:
            raise BadIndex(f"it names a negative place in {path[:80]!r}")
        yield Extent(path, offset, length, not info.get("transform_descriptors"))
