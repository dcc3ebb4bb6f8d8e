"""The weights of a finished run, from which another one continues; nothing here imports torch."""

from pathlib import Path

from kiti.storage.records import FILE_NAME, RecordError, read
from kiti.storage.weights_file import WEIGHTS, require_own_weights
from kiti.units.keys import FilesError


def require_run(run_dir: Path, name: str, seed: int) -> None:
    """FilesError unless `run_dir` holds the finished run `name`, <experiment>/<config hash>, of this seed."""
    experiment = name.partition("/")[0]
    where = f"model.from_run={name}"
    if not (run_dir / FILE_NAME).is_file():
        raise FilesError(
            f"{where}: there is no finished run {run_dir}; train it first, with experiment={experiment} seed={seed}"
        )
    try:
        record = read(run_dir / FILE_NAME)
        if (found := f"{record.experiment}/{record.config_hash} seed {record.seed}") != f"{name} seed {seed}":
            raise FilesError(f"{where}: {run_dir} holds {found}; copy the run's own directory there")
        if not (run_dir / WEIGHTS).is_file():
            raise FilesError(f"{where}: {run_dir / WEIGHTS} is missing; run it again")
        require_own_weights(record, run_dir)
    except RecordError as error:
        raise FilesError(f"{where}: {error}") from error
    if record.state != "finished":
        raise FilesError(f"{where}: the run in {run_dir} has diverged; continue from another")
