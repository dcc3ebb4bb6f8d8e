"""Arrays that a run keeps beside its record, which a picture is drawn from: a test sample as it told it, cosines."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from kiti.report.table_runs import Found
from kiti.storage.records import Record, RecordError, write_whole

FILE_NAME = "example.safetensors"

Example = Mapping[str, np.ndarray]
"""By name: `prediction` and `target`, of one shape; cosines as they are drawn, (N, N), by `<layer>@<epoch>`."""


def write(example: Example, run_dir: Path) -> None:
    """Write `run_dir/example.safetensors`, whole or not at all."""
    write_whole(run_dir / FILE_NAME, save({name: np.ascontiguousarray(array) for name, array in example.items()}))


def read(found: Found) -> Example:
    """The example that belongs to a record. RecordError when there is none or it cannot be read."""
    record = found.record
    path = _committed_file(found.folder, record.scale) if found.committed else found.folder / FILE_NAME
    prefix = _prefix(record) if found.committed else ""
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RecordError(f"example {path}: {error}; move the run away and run it again") from None
    example = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    if not example:
        raise RecordError(f"example {path}: holds none of run {prefix.rstrip('/')}; publish it again")
    return example


def array(example: Example, name: str, found: Found) -> np.ndarray:
    """The array `name` of a record's example. RecordError, naming what there is, when it holds none of that name."""
    if name not in example:
        raise RecordError(
            f"example of {found.record.config_hash} seed {found.record.seed}: no {name!r}; it has: {', '.join(example)}"
        )
    return example[name]


def publish(behind: Iterable[Found], records_folder: Path, names: Collection[str] = ()) -> None:
    """Merge the examples of these records, of these `names` or all, into the committed file of their scale."""
    merged: dict[Path, dict[str, np.ndarray]] = {}
    for found in behind:
        path = _committed_file(records_folder, found.record.scale)
        if path not in merged:
            merged[path] = load_file(path) if path.exists() else {}
        kept = {name: array for name, array in read(found).items() if not names or name in names}
        merged[path] |= {_prefix(found.record) + name: array for name, array in kept.items()}
    for path, arrays in merged.items():
        write_whole(path, save(dict(sorted(arrays.items()))))


def _committed_file(records_folder: Path, scale: str) -> Path:
    return records_folder / f"examples-{scale}.safetensors"


def _prefix(record: Record) -> str:
    return f"{record.config_hash}/seed-{record.seed}/"
