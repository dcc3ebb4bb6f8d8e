"""A run's own record: whether the file in its directory is what that run wrote."""

from pathlib import Path

from kiti.configuration import identity
from kiti.configuration.compose import Composed
from kiti.storage.records import FILE_NAME, RUN_AGAIN, DamagedRecord, Record, RecordError, read


def own_record(composed: Composed, seed: int) -> Record | None:
    """The record of the configured run with `seed`; None if there is none.

    Raises DamagedRecord if the file is not what this run wrote, RecordError if it cannot be read.
    """
    path = composed.run_dir_of(seed) / FILE_NAME
    if not path.exists():
        return None
    record = read(path)
    if reason := _foreign(record, composed, seed):
        raise DamagedRecord(f"record {path}: {reason}", RUN_AGAIN)
    return record


def is_done(composed: Composed, seed: int) -> bool:
    """Whether the run has a record that need not be made again; one that only cannot be read counts as such."""
    try:
        return own_record(composed, seed) is not None
    except DamagedRecord:
        return False
    except RecordError:
        return True


def require_own_hash(record: Record, path: Path) -> None:
    """DamagedRecord unless the record's hash is that of its configuration and revisions."""
    if reason := _edited(record):
        raise DamagedRecord(f"record {path}: {reason}", RUN_AGAIN)


def _foreign(record: Record, composed: Composed, seed: int) -> str:
    if (record.experiment, record.seed) != (composed.experiment, seed):
        return f"belongs to {record.experiment}, seed {record.seed}"
    if record.config_hash != composed.hash:
        return f"belongs to configuration {record.config_hash}, not {composed.hash}"
    return _edited(record)


def _edited(record: Record) -> str:
    try:
        found = identity.hash_of(record.config, record.revisions)
    except (KeyError, TypeError, AttributeError) as error:
        return f"its configuration is damaged ({type(error).__name__}: {error})"
    except ValueError as error:  # a unit that is gone
        return str(error)
    if found != record.config_hash:
        return f"edited: its configuration and revisions have the hash {found}, not {record.config_hash}"
    return ""
