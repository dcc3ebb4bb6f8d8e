"""Checksums of files, where reading terabytes at each start would take hours.

Files that are small together are read each time. Of larger ones a checksum is taken once, and kept with the file's size
and time of change; as long as these are the same, the file counts as unchanged.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kiti.data import DataError
from kiti.storage.records import write_whole

SMALL = 256 << 20
"""Bytes of all files together; about a second to read."""


def sums_of(paths: Sequence[Path], kept: Path) -> list[str]:
    """The sha256 of each file. DataError if one cannot be read.

    Args:
        kept: the file in which checksums of large files are kept; if it cannot be written, they are taken each time.
    """
    try:
        stats = [path.stat() for path in paths]
        if sum(stat.st_size for stat in stats) <= SMALL:
            return [_sha256(path) for path in paths]
        known = _read(kept)
        found: dict[str, list[int | str]] = {}
        for path, stat in zip(paths, stats, strict=True):
            name, state = str(path.absolute()), [stat.st_size, stat.st_mtime_ns]
            earlier = known.get(name, [])
            found[name] = earlier if earlier[:2] == state else [*state, _sha256(path)]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}; check the file") from error
    if any(known.get(name) != entry for name, entry in found.items()):
        with suppress(OSError):  # of a folder that others have made
            write_whole(kept, json.dumps(known | found, indent=1).encode())
    return [str(sha256) for *_, sha256 in found.values()]


def _read(kept: Path) -> dict[str, list[int | str]]:
    """What was kept; nothing if it cannot be read, as it can be taken again."""
    try:
        found = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
