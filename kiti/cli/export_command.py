"""Write a finished run's weights for the library whose model was trained, with a model card.

kiti-export runs/imagenet_resnet50/<hash>/seed-0 --to torchvision resnet50-ko
kiti-export runs/imagenet_convnext_tiny/<hash>/seed-0 --to timm convnext-ko
kiti-export runs/bert_imdb/<hash>/seed-0 --to transformers bert-kiti

DIR gets the weights and README.md. Models that are in none of these libraries are refused, and so is what was trained
with a residual that stays on at inference.
"""

import argparse
import sys
from pathlib import Path

from kiti.cli.finished_runs import finished_run
from kiti.configuration.explain import ConfigError
from kiti.configuration.recorded_run import changed_revisions, compose_recorded
from kiti.data import DataError
from kiti.storage.exit_status import ExitStatus
from kiti.storage.records import RecordError
from kiti.units import plugins


def main() -> None:
    shape = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="kiti-export", description=__doc__, formatter_class=shape)
    parser.add_argument("run_dir", metavar="RUN", type=Path, help="the directory of a finished run")
    parser.add_argument("place", metavar="DIR", type=Path, help="the directory to write; must not exist or be empty")
    libraries = ("torchvision", "timm", "transformers")
    parser.add_argument("--to", required=True, choices=libraries, help="the library to write for")
    parser.add_argument("--plugin", action="append", default=[], metavar="PATH", help="a Python file or package")
    arguments = parser.parse_args()
    try:
        plugins.enable(arguments.plugin)
        record = finished_run(arguments.run_dir)
        composed = compose_recorded(record)
        if changed := changed_revisions(record, composed):
            print(f"kiti-export: {changed}", file=sys.stderr)
        from kiti.exporting.exporter import export
        from kiti.exporting.stock_models import NotStock

        try:
            print(export(arguments.run_dir, record, composed, arguments.to, arguments.place))
        except NotStock as error:
            raise ConfigError(str(error)) from error
    except (ConfigError, DataError, RecordError, plugins.PluginError) as error:
        print(f"kiti-export: {error}", file=sys.stderr)
        sys.exit(ExitStatus.BAD_INPUT)


if __name__ == "__main__":
    main()
