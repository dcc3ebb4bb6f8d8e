"""Test a finished run again, on other data or at another resolution, without training or changing its record.

kiti-eval runs/burgers/<hash>/seed-0 data.test_resolution=512
"""

import argparse
import sys
from pathlib import Path

from kiti.configuration.compose import Composed, compose
from kiti.configuration.explain import ConfigError
from kiti.storage.records import FILE_NAME, RecordError, read
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
        record = read(arguments.run_dir / FILE_NAME)
        recorded = [*record.overrides, *(record.places or [])]
        kept = [o for o in recorded if o.split("=")[0] not in {_key(new) for new in arguments.overrides}]
        metrics = evaluate(compose([*kept, *arguments.overrides]), arguments.run_dir)
    except (ConfigError, RecordError, plugins.PluginError) as error:
        sys.exit(f"kiti-eval: {error}")
    for name, value in sorted(metrics.items()):
        earlier = f"  (recorded: {record.metrics[name]:.6g})" if name in record.metrics else ""
        print(f"{name} {value:.6g}{earlier}")


def evaluate(composed: Composed, run_dir: Path) -> dict[str, float]:
    """The test metrics of the weights in `run_dir` under `composed`; collisions are off, as in every evaluation."""
    from safetensors.torch import load_file

    from kiti.training import building
    from kiti.training.recording import WEIGHTS

    building.hush_lightning()
    data, task = building.data(composed), building.task(composed)
    task.model.load_state_dict(load_file(run_dir / WEIGHTS), strict=True)
    trainer = building.quiet_trainer(composed)
    data.prepare_data()
    trainer.test(task, data.test_dataloader(), verbose=False)
    return {name: float(value) for name, value in trainer.logged_metrics.items()}


def _key(override: str) -> str:
    return override.split("=")[0]


if __name__ == "__main__":
    main()
