"""Checkpoint files: whose they are, whether they are whole, and which one a run goes on from.

A run directory has `last.ckpt` and, before it, `previous.ckpt`. Each is what `torch.save` writes, followed by a label
and a checksum, which fill the comment that a zip file may have at its end:

    zip | label as JSON | its length, 8 digits | sha256 of all that precedes, 64 hex digits

So `torch.load` reads such a file as any other, and every changed or missing bit is noticed.
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from kiti.configuration import identity
from kiti.configuration.compose import Composed
from kiti.storage.run_dirs import set_aside

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"

_LENGTH, _DIGEST = 8, 64


class UnusableCheckpoint(ValueError):
    """A checkpoint that is damaged or belongs to another run, in a few words without its path."""


@dataclass(frozen=True)
class Identity:
    """The run that a checkpoint belongs to."""

    config_hash: str
    revisions: dict[str, int | str]
    seed: int
    replicas: int

    @classmethod
    def of(cls, composed: Composed) -> "Identity":
        checked = composed.checked
        return cls(composed.hash, identity.revisions(checked), composed.seed, checked.replicas)


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints with the `identity` of their run, each complete or not at all; reads only tensors and values.

    `storage_options={"keep": 1}` leaves no checkpoint but the one that is written; by default the one before it stays.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # One name for all processes: rank 0 of the process that has locked the run writes, and overwrites what a
        # killed one has left.
        partial, before = path.with_name(f".{path.name}.partial"), path.with_name(PREVIOUS)
        try:
            with partial.open("w+b") as file:
                torch.save(checkpoint, file)
                _label(file, self.identity)
                file.flush()
                os.fsync(file.fileno())
            if (storage_options or {}).get("keep", 2) == 1:
                before.unlink(missing_ok=True)
            elif path.exists():
                _keep(path, before)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        _flush_folder(path.parent)

    def load_checkpoint(
        self, path: Any, map_location: Any = lambda storage, _: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return torch.load(path, map_location=map_location, weights_only=True)

    def mapped(self, path: Any) -> dict[str, Any]:
        """The checkpoint, whose tensors are read when they are used: several processes share the file's pages."""
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)


def verify(path: Path, own: Identity) -> None:
    """Raise UnusableCheckpoint unless the file is whole and belongs to the run `own`."""
    try:
        with path.open("rb") as file:
            found = _read_label(file)
    except OSError as error:
        raise UnusableCheckpoint(f"cannot be read: {error.strerror}") from None
    mine = asdict(own)
    differing = [f"{key} {found.get(key)} instead of {mine[key]}" for key in mine if found.get(key) != mine[key]]
    if differing:
        raise UnusableCheckpoint(f"belongs to another run ({', '.join(differing)})")


def to_resume(run_dir: Path, own: Identity, say: Callable[[str], None]) -> Path | None:
    """The checkpoint to go on from; None to begin afresh.

    Damaged and foreign ones are renamed, and each is reported to `say` in one line.
    """
    files = [path for path in (run_dir / LAST, run_dir / PREVIOUS) if path.exists()]
    while files:
        path = files.pop(0)
        try:
            verify(path, own)
        except UnusableCheckpoint as error:
            aside = set_aside(path)
            then = f"trying {files[0].name}" if files else "beginning afresh"
            say(f"{path} {error}; set aside as {aside}; {then}")
        else:
            return path
    return None


def _label(file: BufferedRandom, identity: Identity) -> None:
    """Append the label and the checksum to a zip file without a comment."""
    label = json.dumps(asdict(identity), sort_keys=True).encode()
    label += f"{len(label):0{_LENGTH}d}".encode()
    file.seek(-2, os.SEEK_END)  # a zip file ends with the length of its comment
    file.write(struct.pack("<H", len(label) + _DIGEST))
    file.write(label)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0, os.SEEK_END)
    file.write(digest.encode())


def _read_label(file: BinaryIO) -> dict[str, Any]:
    end = file.seek(0, os.SEEK_END) - _DIGEST
    if end < _LENGTH:
        raise UnusableCheckpoint("is empty or truncated")
    file.seek(end)
    written = file.read(_DIGEST)
    file.seek(0)
    computed = hashlib.sha256()
    for block in _blocks(file, end):
        computed.update(block)
    if computed.hexdigest().encode() != written:
        if all(byte in b"0123456789abcdef" for byte in written):
            raise UnusableCheckpoint("is damaged: its checksum differs")
        raise UnusableCheckpoint("has no checksum: it is truncated or damaged, or an earlier kiti wrote it")
    file.seek(end - _LENGTH)
    length = int(file.read(_LENGTH))
    file.seek(end - _LENGTH - length)
    return json.loads(file.read(length))  # type: ignore[no-any-return]


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (block := file.read(min(size, 1 << 20))):
        size -= len(block)
        yield block


def _keep(path: Path, before: Path) -> None:
    """Let `before` name the file at `path`, which keeps its name where the file system has hard links."""
    linked = before.with_name(f".{before.name}.partial")
    linked.unlink(missing_ok=True)
    try:
        os.link(path, linked)
    except OSError:
        os.replace(path, before)
    else:
        os.replace(linked, before)


def _flush_folder(folder: Path) -> None:
    """Make renames durable."""
    with contextlib.suppress(OSError):  # some network file systems have no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
