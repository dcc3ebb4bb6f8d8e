"""Parts of the data directory that are whole, with the content that is expected, or absent."""

import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from kiti.data.fetching.archives import FetchError


class Part(NamedTuple):
    """A file or folder that a script makes.

    `make(scratch, target)` makes it at `target`, or raises FetchError; `scratch` is kept for the parts that follow. A
    part that is not `complete` is made again if it has no files but `ours`, and otherwise left alone.
    """

    place: Path
    complete: Callable[[], bool]
    make: Callable[[Path, Path], None]
    ours: frozenset[str] = frozenset()


def make_missing(data_dir: Path, prefix: str, parts: Mapping[str, Part]) -> None:
    """Make the parts that are not complete, one after the other. Raises FetchError; what was complete by then stays.

    They are made in a folder `prefix`… of `data_dir` and renamed when they are complete. Hold a lock: other folders of
    that prefix are what a killed run left, and are removed.
    """
    for leftover in data_dir.glob(f"{prefix}*"):
        shutil.rmtree(leftover)
    scratch = data_dir / f"{prefix}{uuid.uuid4().hex[:8]}"
    try:
        for name, part in parts.items():
            if part.complete():
                print(f"{part.place}: already there, verified")
                continue
            if part.place.exists() and not _contents(part.place) <= part.ours:
                raise FetchError(f"{part.place} is there but not what this script makes; move it away and run again")
            scratch.mkdir(exist_ok=True)
            part.make(scratch, scratch / name)
            part.place.parent.mkdir(parents=True, exist_ok=True)
            if part.place.exists():
                print(f"{part.place}: damaged, or of another version; made again")
                os.rename(part.place, scratch / f"{name}.replaced")
            os.rename(scratch / name, part.place)
            if not part.complete():
                raise FetchError(f"{part.place} changed while it was made; run again")
            print(f"{part.place}: complete, verified", flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _contents(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()} if place.is_dir() else {place.name}
