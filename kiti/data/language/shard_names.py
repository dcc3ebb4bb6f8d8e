"""Names like train-00001-of-00004.parquet: all shards of one snapshot, or a line that says what is wrong."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from kiti.data import DataError

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\..+)")


def shard_name(stem: str, number: int, of: int, suffix: str) -> str:
    """`tokens-00001-of-00004.bin`."""
    return f"{stem}-{number:05}-of-{of:05}{suffix}"


def check_snapshot(paths: Iterable[Path], remedy: str) -> None:
    """DataError if a shard among `paths` is missing, or if there are shards of two snapshots. Other names are ignored.

    Args:
        remedy: what to do, for the message.
    """
    found: dict[tuple[Path, str, str], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for path in paths:
        if match := _SHARD.fullmatch(path.name):
            stem, number, of, suffix = match.groups()
            found[path.parent, stem, suffix][of].add(int(number))
    for (folder, stem, suffix), snapshots in found.items():
        if len(snapshots) > 1:
            named = " and ".join(f"{stem}-*-of-{of}{suffix}" for of in sorted(snapshots)[:2])
            raise DataError(f"{folder} has shards of two snapshots, {named}; {remedy}")
        [(of, numbers)] = snapshots.items()
        if missing := sorted(set(range(int(of))) - numbers):
            more = f" and {len(missing) - 1} more" if missing[1:] else ""
            raise DataError(f"{folder / f'{stem}-{missing[0]:05}-of-{of}{suffix}'}{more} is missing; {remedy}")
