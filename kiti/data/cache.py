"""A cache of generated data, verified on every read; damaged data is generated again."""

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
from filelock import FileLock, Timeout
from torch import Tensor

log = logging.getLogger(__name__)

DATA_FILE = "data.safetensors"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class Artefact:
    """Tensors read from the cache.

    `fingerprint` identifies the recipe (sha256 of its canonical JSON), `content_sha256` the bytes (sha256 of the
    safetensors file). Equal recipes give equal content up to rounding, which depends on the machine.
    """

    tensors: dict[str, Tensor]
    fingerprint: str
    content_sha256: str
    path: Path


class _Damaged(Exception):
    """Why an artefact on disk cannot be used."""


def recipe_fingerprint(recipe: dict[str, Any]) -> str:
    """sha256 (hex) of the recipe as canonical JSON; TypeError or ValueError for values that JSON cannot represent."""
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def materialise(
    data_dir: Path | str, name: str, recipe: dict[str, Any], make: Callable[[], dict[str, Tensor]]
) -> Artefact:
    """Return the artefact of `recipe`: from `<data_dir>/<name>/<fingerprint[:12]>/`, or by `make()`.

    An artefact is a directory that appears atomically: it is written to a temporary directory next to its final
    path, synced, and renamed under a lock. If several processes need it at once, one generates it; the others log
    that they are waiting, then read it. Every read verifies the checksum. A damaged artefact is reported in a
    warning, renamed to `….broken-<n>` and generated again. A process killed while generating leaves a `….making-…`
    directory; the next run that generates the artefact removes it. Reading an intact artefact writes nothing, so
    `data_dir` may then be read-only.

    Args:
        data_dir: root of the cache; created if missing.
        name: folder of this kind of data.
        recipe: everything that determines the data: formula, parameters, seed, solver version. JSON values.
        make: called at most once, returns the tensors by name.
    """
    fingerprint = recipe_fingerprint(recipe)
    place = Path(data_dir) / name / fingerprint[:12]
    try:
        return _read(place, fingerprint)
    except (FileNotFoundError, _Damaged):
        pass  # checked again under the lock: another process may be renaming or generating it right now

    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.parent / f"{place.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for another process that is generating %s", place)
        lock.acquire()
    try:
        try:
            return _read(place, fingerprint)
        except FileNotFoundError:
            pass
        except _Damaged as reason:
            aside = _set_aside(place)
            log.warning("%s is damaged (%s): renamed to %s, generating it again", place, reason, aside.name)
        for leftover in place.parent.glob(f"{place.name}.making-*"):
            shutil.rmtree(leftover)
        _write(place, fingerprint, recipe, make)
        return _read(place, fingerprint)
    finally:
        lock.release()


def _read(place: Path, fingerprint: str) -> Artefact:
    """Raises FileNotFoundError if there is no artefact, _Damaged if it cannot be trusted."""
    if not place.is_dir():
        raise FileNotFoundError(place)
    try:
        manifest = json.loads((place / MANIFEST_FILE).read_text())
        made_by, expected = recipe_fingerprint(manifest["recipe"]), manifest["sha256"]
        with (place / DATA_FILE).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as missing:
        raise _Damaged(f"{Path(missing.filename).name} is missing") from missing
    except (ValueError, KeyError, TypeError) as malformed:
        raise _Damaged(f"{MANIFEST_FILE} is malformed") from malformed
    if made_by != fingerprint:
        raise _Damaged(f"{MANIFEST_FILE} contains a different recipe")
    if found != expected:
        raise _Damaged(f"sha256 of {DATA_FILE} is {found[:12]}…, not {str(expected)[:12]}…")
    return Artefact(safetensors.torch.load_file(place / DATA_FILE), fingerprint, found, place)


def _write(place: Path, fingerprint: str, recipe: dict[str, Any], make: Callable[[], dict[str, Tensor]]) -> None:
    making = place.with_name(f"{place.name}.making-{uuid.uuid4().hex[:8]}")
    making.mkdir()  # before the work: fails at once if the path is not writable
    try:
        tensors = {name: tensor.contiguous() for name, tensor in make().items()}
        data = safetensors.torch.save(tensors)
        _write_synced(making / DATA_FILE, data)
        _write_synced(making / MANIFEST_FILE, _manifest(fingerprint, recipe, tensors, data))
        _sync_directory(making)
        making.rename(place)
        _sync_directory(place.parent)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise


def _manifest(fingerprint: str, recipe: dict[str, Any], tensors: dict[str, Tensor], data: bytes) -> bytes:
    manifest = {
        "recipe": recipe,
        "fingerprint": fingerprint,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "tensors": {
            name: {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
            for name, tensor in tensors.items()
        },
        "kiti": version("kiti"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_aside(place: Path) -> Path:
    n = 1
    while (aside := place.with_name(f"{place.name}.broken-{n}")).exists():
        n += 1
    return place.rename(aside)
