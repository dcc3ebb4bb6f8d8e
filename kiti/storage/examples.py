"""Arrays that a run stores beside its record for figures: one test sample, cosines of neurons."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from kiti.storage.records import RecordError, write_whole

FILE_NAME = "example.safetensors"

Example = Mapping[str, np.ndarray]
"""Arrays by name: `prediction` and `target`, of equal shape; cosines to be drawn, (N, N), as `<layer>@<epoch>`."""


def write(example: Example, path: Path) -> None:
    """Write the arrays to `path` atomically."""
    write_whole(path, save({name: np.ascontiguousarray(array) for name, array in sorted(example.items())}))


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays at `path`. Raises RecordError if they are missing or cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RecordError(f"example {path}: {error}; move the run away and run it again") from None
