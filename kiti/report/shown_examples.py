"""Examples that belong to records: from a run's own file, or from the committed file with those of many runs."""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from kiti.report.table_runs import StoredRecord
from kiti.storage import examples
from kiti.storage.examples import Example
from kiti.storage.records import Record, RecordError


def read(found: StoredRecord) -> Example:
    """The example of a record. RecordError when it is missing or cannot be read."""
    if not found.committed:
        return examples.read(found.folder / examples.FILE_NAME)
    path, prefix = _committed_file(found.folder, found.record.scale), _prefix(found.record)
    example = {
        name.removeprefix(prefix): array for name, array in examples.read(path).items() if name.startswith(prefix)
    }
    if not example:
        raise RecordError(f"example {path}: nothing from run {prefix.rstrip('/')}; publish it again")
    return example


def array(example: Example, name: str, found: StoredRecord) -> np.ndarray:
    """The array `name` of a record's example. RecordError, listing the available names, when there is no such array."""
    if name not in example:
        raise RecordError(
            f"example of {found.record.config_hash} seed {found.record.seed}: no {name!r}; it has: {', '.join(example)}"
        )
    return example[name]


def publish(behind: Iterable[StoredRecord], records_folder: Path, names: Collection[str] = ()) -> None:
    """Merge the examples of these records (the arrays in `names`, or all) into the committed file of their scale."""
    merged: dict[Path, dict[str, np.ndarray]] = {}
    for found in behind:
        path = _committed_file(records_folder, found.record.scale)
        if path not in merged:
            merged[path] = examples.read(path) if path.exists() else {}
        kept = {name: array for name, array in read(found).items() if not names or name in names}
        merged[path] |= {_prefix(found.record) + name: array for name, array in kept.items()}
    for path, arrays in merged.items():
        examples.write(arrays, path)


def _committed_file(records_folder: Path, scale: str) -> Path:
    return records_folder / f"examples-{scale}.safetensors"


def _prefix(record: Record) -> str:
    return f"{record.config_hash}/seed-{record.seed}/"
