"""Runs with checkpoints as prime-rl and torch leave them, made without either.

The index is a pickle that names torch's classes, and every entry of a shard is an archive of the
form that torch.save writes. ``tests/test_checkpoint_torch.py`` compares with the real ones.
"""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

CONFIG = """\
output_dir = "{output}"
max_steps = 100

[run]
name = "{run}"

[model]
name = "Qwen/Qwen3-0.6B"

[ckpt]
interval = 10
keep_last = 3

[trainer]

[[orchestrator.train.source]]
name = "gsm8k"

[orchestrator.train.source.env.taskset]
id = "gsm8k"
"""


def _class(module: str, name: str) -> type[Any]:
    return type(name, (), {"__module__": module, "__qualname__": name})


_METADATA = "torch.distributed.checkpoint.metadata"
_Metadata = _class(_METADATA, "Metadata")
_MetadataIndex = _class(_METADATA, "MetadataIndex")
_TensorStorageMetadata = _class(_METADATA, "TensorStorageMetadata")
_StorageInfo = _class("torch.distributed.checkpoint.filesystem", "_StorageInfo")


# The pickler that is written in Python lets the way that a class is named be replaced.
_PythonPickler: Any = vars(pickle)["_Pickler"]


def _save_class(pickler: Any, named: type[Any]) -> None:
    pickler.save(named.__module__)
    pickler.save(named.__qualname__)
    pickler.write(pickle.STACK_GLOBAL)
    pickler.memoize(named)


_NamingPickler: Any = type(
    "_NamingPickler",
    (_PythonPickler,),
    {"dispatch": {**_PythonPickler.dispatch, type: _save_class}},
)
"""Writes classes by their names without looking for them."""


def pickled(value: Any, protocol: int = 4) -> bytes:
    """A pickle that may name classes that are not there."""
    stream = io.BytesIO()
    _NamingPickler(stream, protocol).dump(value)
    return stream.getvalue()


def _object(kind: type[Any], **state: Any) -> Any:
    made = object.__new__(kind)
    made.__dict__.update(state)
    return made


def index(entries: list[tuple[str, str, int, int]]) -> bytes:
    """An index of entries: name, file, offset and length."""
    storage = {
        _object(_MetadataIndex, fqn=name, offset=None, index=0): _object(
            _StorageInfo, relative_path=path, offset=offset, length=length
        )
        for name, path, offset, length in entries
    }
    names = {name: _object(_TensorStorageMetadata, size=()) for name, *_ in entries}
    return pickled(
        _object(
            _Metadata,
            state_dict_metadata=names,
            planner_data=None,
            storage_data=storage,
            storage_meta=None,
        )
    )


def archive(content: bytes) -> bytes:
    """What torch.save writes, with some content."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as made:
        made.writestr("archive/data.pkl", b"\x80\x02K\x01.")
        made.writestr("archive/data/0", content)
        made.writestr("archive/version", b"3\n")
    return stream.getvalue()


def write_trainer(folder: Path, seed: int, *, ranks: int = 2, entry_bytes: int = 3000) -> None:
    """Write a trainer's part: two entries in the file of every rank, the index last."""
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(seed)
    entries = []
    for rank in range(ranks):
        name = f"__{rank}_0.distcp"
        content = b""
        for number in range(2):
            made = archive(source.randbytes(entry_bytes))
            entries.append((f"model.w{rank}.{number}", name, len(content), len(made)))
            content += made
        (folder / name).write_bytes(content)
    temporary = folder / ".metadata.tmp"
    temporary.write_bytes(index(entries))
    os.replace(temporary, folder / ".metadata")


def write_orchestrator(folder: Path, seed: int) -> None:
    """Write an orchestrator's part."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.pt").write_bytes(archive(random.Random(-seed).randbytes(300)))


class MadeRun:
    """A run of prime-rl's main branch with checkpoints.

    Attributes:
        config: Its config.
        run_dir: Its directory.
        checkpoints: The folder of its steps.
    """

    def __init__(self, folder: Path, run: str = "math", text: str = CONFIG) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "rl.toml"
        self.config.write_text(text.format(output=folder / "outputs", run=run))
        self.run_dir = folder / "outputs" / run
        self.checkpoints = self.run_dir / "checkpoints"

    def step(self, number: int) -> Path:
        """The folder of a step."""
        return self.checkpoints / f"step_{number}"

    def save(self, number: int, *, seed: int | None = None, entry_bytes: int = 3000) -> Path:
        """Save a step as prime-rl does; its folder."""
        made_from = number if seed is None else seed
        write_orchestrator(self.step(number) / "orchestrator", made_from)
        write_trainer(self.step(number) / "trainer", made_from, entry_bytes=entry_bytes)
        return self.step(number)


def tree(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, for comparing two of them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
