"""Test a finished run again, on other data or at another resolution, without training or changing its record.

kiti-eval runs/burgers/<hash>/seed-0                             the recorded configuration, whatever conf/ says today
kiti-eval runs/burgers/<hash>/seed-0 data.test_resolution=512    with a change

The result is printed, and added to evaluations.jsonl beside the record.
"""

import argparse
import datetime
import sys
from pathlib import Path

from hydra.errors import InstantiationException

from kiti.configuration import explain
from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CHECKOUT
from kiti.configuration.own_record import require_own_hash
from kiti.configuration.recorded_run import changed_revisions, compose_recorded
from kiti.data import DataError
from kiti.storage import evaluations
from kiti.storage.exit_status import ExitStatus
from kiti.storage.records import FILE_NAME, Record, RecordError, git_state, package_versions, read
from kiti.storage.weights_file import require_own_weights
from kiti.units import plugins


def main() -> None:
    shape = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="kiti-eval", description=__doc__, formatter_class=shape)
    parser.add_argument("run_dir", type=Path, help="the directory of a finished run")
    parser.add_argument("overrides", nargs="*", help="changes to its configuration, as for kiti-train")
    parser.add_argument("--plugin", action="append", default=[], metavar="PATH", help="a Python file or package")
    arguments = parser.parse_args()
    try:
        plugins.enable(arguments.plugin)
        record = finished_run(arguments.run_dir)
        composed = compose_recorded(record, arguments.overrides)
        if changed := changed_revisions(record, composed):
            print(f"kiti-eval: {changed}", file=sys.stderr)
        metrics = evaluate(composed, record, arguments.run_dir)
    except (ConfigError, DataError, RecordError, plugins.PluginError, InstantiationException) as error:
        if isinstance(error, InstantiationException) and not isinstance(error.__cause__, ValueError):
            raise
        print(f"kiti-eval: {explain.line(error, list)}", file=sys.stderr)
        sys.exit(ExitStatus.BAD_INPUT)
    for name, value in sorted(metrics.items()):
        earlier = f"  (recorded: {record.metrics[name]:.6g})" if name in record.metrics else ""
        print(f"{name} {value:.6g}{earlier}")
    evaluations.append(arguments.run_dir, metrics, _about(record, composed, arguments.overrides))


def finished_run(run_dir: Path) -> Record:
    """The record in `run_dir`. RecordError if it or the weights beside it are not what the run wrote."""
    path = run_dir / FILE_NAME
    record = read(path)
    require_own_hash(record, path)
    require_own_weights(record, run_dir)
    return record


def evaluate(composed: Composed, record: Record, run_dir: Path) -> dict[str, float]:
    """The test metrics of the weights in `run_dir` under `composed`; collisions are off, as in every evaluation."""
    from kiti.training import building

    building.hush_lightning()
    data, task = building.data(composed), building.task(composed)
    building.load_weights(task.model, record, run_dir)
    trainer = building.quiet_trainer(composed, precision=composed.checked.trainer.precision)
    data.prepare_data()
    trainer.test(task, data.test_dataloader(), verbose=False)
    return {name: float(value) for name, value in trainer.logged_metrics.items()}


def _about(record: Record, composed: Composed, overrides: list[str]) -> dict[str, object]:
    from kiti.training.recording import PACKAGES

    git = git_state(CHECKOUT)
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "config_hash": record.config_hash,
        "seed": record.seed,
        "weights": record.weights,
        "overrides": overrides,
        "precision": composed.checked.trainer.precision,
        "versions": package_versions(PACKAGES),
        "git": {"commit": git.commit, "dirty": git.dirty},
    }


if __name__ == "__main__":
    main()
