"""The weights beside a record, and whether they are those it names."""

import hashlib
from pathlib import Path

from kiti.storage.records import RUN_AGAIN, DamagedRecord, Record

WEIGHTS = "weights.safetensors"


class DamagedWeights(DamagedRecord):
    """Weights that are not those of the record beside them."""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_own_weights(record: Record, run_dir: Path) -> None:
    """DamagedWeights unless the checksum of the weights in `run_dir` is the record's.

    A record from before there were checksums has none to compare.
    """
    path = run_dir / WEIGHTS
    try:
        found = sha256(path)
    except OSError as error:
        raise DamagedWeights(f"weights {path}: {error.strerror}", RUN_AGAIN) from None
    if record.weights not in (None, found):
        raise DamagedWeights(f"weights {path}: their checksum is not the record's", RUN_AGAIN)
