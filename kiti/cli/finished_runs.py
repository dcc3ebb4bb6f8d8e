"""A finished run as the commands read it, and what an evaluation says of itself."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from kiti.configuration.locations import CHECKOUT
from kiti.configuration.own_record import require_own_hash
from kiti.storage.records import FILE_NAME, Record, git_state, package_versions, read
from kiti.storage.weights_file import require_own_weights


def finished_run(run_dir: Path) -> Record:
    """The record in `run_dir`. RecordError if it or the weights beside it are not what the run wrote."""
    path = run_dir / FILE_NAME
    record = read(path)
    require_own_hash(record, path)
    require_own_weights(record, run_dir)
    return record


def about_run(record: Record, overrides: Sequence[str]) -> dict[str, object]:
    """Which run was evaluated, and with which changes."""
    return {
        "config_hash": record.config_hash,
        "seed": record.seed,
        "weights": record.weights,
        "overrides": [*overrides],
    }


def surroundings() -> dict[str, object]:
    """The time, and the code that evaluates: kiti's commit, and the versions of the packages."""
    from kiti.training.recording import PACKAGES

    git = git_state(CHECKOUT)
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": package_versions([*PACKAGES, "lm-eval"]),
        "git": {"commit": git.commit, "dirty": git.dirty},
    }
