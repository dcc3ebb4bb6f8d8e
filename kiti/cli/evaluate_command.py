"""Test a finished run again, on other data or at another resolution, without training or changing its record.

kiti-eval runs/burgers/<hash>/seed-0                             the recorded configuration, whatever conf/ says today
kiti-eval runs/burgers/<hash>/seed-0 data.test_resolution=512    with a change

The result is printed, and added to evaluations.jsonl beside the record. Language models, of a run or a folder of
Hugging Face, are evaluated on benchmarks too, and compared item by item:

kiti-eval runs/gpt2_pretrain/<hash>/seed-0 --tasks stand_in_mmlu,stand_in_piqa --limit 300
kiti-eval FOLDER --tasks arc_easy --revision allenai/ai2_arc=<commit> --out results/gpt2
kiti-eval --compare runs/gpt2_pretrain/<hash>/seed-0 results/gpt2
"""

import argparse
import sys
from pathlib import Path

from hydra.errors import InstantiationException

from kiti.cli import evaluate_language
from kiti.cli.finished_runs import about_run, finished_run, surroundings
from kiti.configuration import explain
from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.configuration.recorded_run import changed_revisions, compose_recorded
from kiti.data import DataError
from kiti.storage import evaluations
from kiti.storage.exit_status import ExitStatus
from kiti.storage.records import Record, RecordError
from kiti.units import plugins


def main() -> None:
    shape = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="kiti-eval", description=__doc__, formatter_class=shape)
    parser.add_argument("run_dir", nargs="?", type=Path, help="the directory of a finished run")
    parser.add_argument("overrides", nargs="*", help="changes to its configuration, as for kiti-train")
    parser.add_argument("--plugin", action="append", default=[], metavar="PATH", help="a Python file or package")
    evaluate_language.add_arguments(parser)
    arguments = parser.parse_args()
    if (arguments.run_dir is None) == (arguments.compare is None):
        parser.error("give the directory of a finished run, or --compare A B")
    try:
        plugins.enable(arguments.plugin)
        if arguments.compare or arguments.tasks is not None:
            evaluate_language.main(arguments)
            return
        if given := evaluate_language.given(arguments):
            raise ConfigError(f"{given} is of no use without --tasks or --compare")
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
    precision = composed.checked.trainer.precision
    return {**surroundings(), **about_run(record, overrides), "precision": precision}


if __name__ == "__main__":
    main()
