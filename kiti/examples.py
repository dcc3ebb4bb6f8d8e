"""One test sample as a run told it, kept beside the run's record: what a picture of a prediction is drawn from."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from kiti.cells import Found
from kiti.records import Record, RecordError, write_whole

FILE_NAME = "example.safetensors"

Example = Mapping[str, np.ndarray]
"""By name; `prediction` and `target` have one shape."""


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


def publish(behind: Iterable[Found], records_folder: Path) -> None:
    """Merge the examples of these records into the committed file of their scale."""
    merged: dict[Path, dict[str, np.ndarray]] = {}
    for found in behind:
        path = _committed_file(records_folder, found.record.scale)
        if path not in merged:
            merged[path] = load_file(path) if path.exists() else {}
        merged[path] |= {_prefix(found.record) + name: array for name, array in read(found).items()}
    for path, arrays in merged.items():
        write_whole(path, save(dict(sorted(arrays.items()))))


def _committed_file(records_folder: Path, scale: str) -> Path:
    return records_folder / f"examples-{scale}.safetensors"


def _prefix(record: Record) -> str:
    return f"{record.config_hash}/seed-{record.seed}/"
