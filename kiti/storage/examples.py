"""Arrays that a run keeps beside its record, which a picture is drawn from: one test sample, cosines of neurons."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from kiti.storage.records import RecordError, write_whole

FILE_NAME = "example.safetensors"

Example = Mapping[str, np.ndarray]
"""By name: `prediction` and `target`, of one shape; cosines as they are drawn, (N, N), by `<layer>@<epoch>`."""


def write(example: Example, path: Path) -> None:
    """Write the arrays to `path`, whole or not at all."""
    write_whole(path, save({name: np.ascontiguousarray(array) for name, array in sorted(example.items())}))


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays at `path`. RecordError when there are none or they cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RecordError(f"example {path}: {error}; move the run away and run it again") from None
