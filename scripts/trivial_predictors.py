"""What predictors without a network reach on a run's data, without training: docs/trivial-predictors.md.

python scripts/trivial_predictors.py experiment=burgers scale=paper
python scripts/trivial_predictors.py experiment=heat scale=laptop seed=1 --into trivial.jsonl

Prints the metrics that a run of this configuration records as trivial/…, after the data have been generated or read.
`--into FILE` adds them to FILE as a line of JSON with the identity of the data.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException

from kiti.configuration import explain
from kiti.configuration.compose import Composed, check_files, compose
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CHECKOUT
from kiti.data import DataError
from kiti.storage.exit_status import ExitStatus


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="+", metavar="KEY=VALUE", help="a run, as for kiti-train")
    parser.add_argument("--into", type=Path, metavar="FILE", help="add a line of JSON")
    args = parser.parse_intermixed_args(arguments)
    try:
        composed = compose(args.overrides)
        check_files(composed)
        lines = measured(composed, args.overrides)
    except (ConfigError, DataError, InstantiationException) as error:
        if isinstance(error, InstantiationException) and not isinstance(error.__cause__, ValueError):
            raise
        print(f"trivial_predictors: {explain.line(error, list)}", file=sys.stderr)
        sys.exit(ExitStatus.BAD_INPUT)
    for line in lines:
        for name, value in sorted(line["metrics"].items()):
            print(f"{name} {value:.6g}")
    if args.into is not None:
        with args.into.open("a") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def measured(composed: Composed, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """For each seed: which data, and the metrics. ConfigError if there is no such predictor for these data."""
    from kiti.storage import records
    from kiti.training import building, recording

    building.hush_lightning()
    data, task = building.data(composed), building.task(composed)
    data.prepare_data()
    found = task.trivial(data)
    if not any(found):
        raise ConfigError(f"{composed.experiment}: its data have no predictors without a network")
    git = records.git_state(CHECKOUT)
    about = {
        "experiment": composed.experiment,
        "scale": composed.scale,
        "overrides": [one for one in overrides if not one.startswith("seed=")],
        "git": {"commit": git.commit, "dirty": git.dirty},
        "versions": records.package_versions(recording.PACKAGES),
    }
    return [
        {**about, "seed": seed, "data": asdict(recording.data_state(data, replica)), "metrics": metrics}
        for replica, (seed, metrics) in enumerate(zip(composed.seeds, found, strict=True))
    ]


if __name__ == "__main__":
    main()
