"""`kiti-eval --tasks` and `kiti-eval --compare`: language models on benchmarks, and item by item."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kiti.cli.finished_runs import about_run, finished_run, surroundings
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import working_root
from kiti.configuration.recorded_run import changed_revisions, compose_recorded
from kiti.evaluation.known_tasks import require_known
from kiti.evaluation.task_data import Sources, require_reachable
from kiti.storage.records import FILE_NAME

KIND = "language"

Loaded = tuple[Any, Any, int | None]
"""A model, its tokenizer, and the context it was trained with; None: all its positions."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("language models")
    group.add_argument("--tasks", metavar="NAMES", help="names with commas: mmlu, stand_in_piqa, perplexity_gsm8k, …")
    group.add_argument("--limit", type=_positive, help="at most so many items of each task, always the same")
    group.add_argument("--batch-size", type=_positive, metavar="N", help="texts at a time; 16 by default")
    revision = "commit of a set on the hub, as NAME=<40 digits>; again for others"
    group.add_argument("--revision", action="append", default=[], metavar="NAME=COMMIT", help=revision)
    local = "a local copy of a task's data, as TASK=<file or folder>; again for others"
    group.add_argument("--data", action="append", default=[], metavar="TASK=PATH", help=local)
    group.add_argument("--data-dir", type=Path, metavar="DIR", help="the folder with items/, problems/ and hub/")
    group.add_argument("--out", type=Path, metavar="DIR", help="where results go; by default into the run's directory")
    both = "compare the last evaluations in two folders, of --tasks or all they have in common"
    group.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"), help=both)


def given(arguments: argparse.Namespace) -> str:
    """The first option that only language models have; empty if there is none."""
    names = ("limit", "batch_size", "revision", "data", "data_dir", "out")
    return next((f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name)), "")


def main(arguments: argparse.Namespace) -> None:
    """Print a table of what was found, or of a comparison. DataError, ConfigError and RecordError as documented."""
    names = None if arguments.tasks is None else [name.strip() for name in arguments.tasks.split(",") if name.strip()]
    if arguments.compare:
        if option := given(arguments):
            raise ConfigError(f"{option} is of no use with --compare, which reads what was kept")
        first, second = arguments.compare
        _compare(first, second, names)
    else:
        _evaluate(arguments, names or [])


def _compare(first: Path, second: Path, names: list[str] | None) -> None:
    from rich.console import Console

    from kiti.evaluation.comparison import compare
    from kiti.evaluation.printing import comparison_table

    compared = compare(first, second, names)
    print(f"A {first}\nB {second}")
    Console().print(comparison_table(compared))


def _evaluate(arguments: argparse.Namespace, names: list[str]) -> None:
    given_data = _pairs("--data", arguments.data)
    data_dir = arguments.data_dir or Path(os.environ.get("KITI_DATA_DIR", working_root() / "data"))
    require_known(names, data_dir)
    if unused := sorted(given_data.keys() - set(names)):
        raise ConfigError(f"--data {unused[0]}=…: not among --tasks")
    sources = Sources(
        data_dir,
        _pairs("--revision", arguments.revision),
        {task: Path(path) for task, path in given_data.items()},
    )
    load, about, out = _run(arguments) if (arguments.run_dir / FILE_NAME).is_file() else _folder(arguments)
    require_reachable(names, sources)

    from rich.console import Console

    from kiti.evaluation.evaluating import evaluate_model, prepare
    from kiti.evaluation.kept_results import keep
    from kiti.evaluation.printing import results_table
    from kiti.training.device import device_name

    tasks = prepare(names, sources, arguments.limit)
    model, tokenizer, context = load()
    batch_size = arguments.batch_size or 16
    results = evaluate_model(
        model, tokenizer, tasks, batch_size=batch_size, context=context, progress=sys.stderr.isatty()
    )
    Console().print(results_table(results))
    print(keep(results, out, {**surroundings(), **about, "device_name": device_name(model.device)}))


def _run(arguments: argparse.Namespace) -> tuple[Callable[[], Loaded], dict[str, object], Path]:
    record = finished_run(arguments.run_dir)
    composed = compose_recorded(record, arguments.overrides)
    if composed.checked.model.kind != KIND:
        kind = composed.checked.model.kind
        raise ConfigError(f"{arguments.run_dir}: a model of {kind}; --tasks needs one of {KIND}")
    if changed := changed_revisions(record, composed):
        print(f"kiti-eval: {changed}", file=sys.stderr)

    def load() -> Loaded:
        from kiti.evaluation.model_folder import tokenizer_in
        from kiti.models.pretrained_files import folder_of
        from kiti.training import building

        building.hush_lightning()
        data = composed.node.data
        model = building.model(composed)
        building.load_weights(model, record, arguments.run_dir)
        return (
            _placed(model),
            tokenizer_in(folder_of(data.tokenizer, data.tokenizer_commit, "data.tokenizer")),
            data.context,
        )

    return load, about_run(record, arguments.overrides), arguments.out or arguments.run_dir


def _folder(arguments: argparse.Namespace) -> tuple[Callable[[], Loaded], dict[str, object], Path]:
    from kiti.evaluation.model_folder import model_in, require_model, tokenizer_in, weights_digest

    folder: Path = arguments.run_dir
    if arguments.overrides:
        raise ConfigError(f"{arguments.overrides[0]}: changes are of a run's configuration, and {folder} is no run")
    require_model(folder)
    if arguments.out is None:
        raise ConfigError(f"{folder} is a folder of Hugging Face: give --out <folder for the results>")
    about: dict[str, object] = {"folder": str(folder), "weights": weights_digest(folder)}
    out: Path = arguments.out
    return lambda: (_placed(model_in(folder)), tokenizer_in(folder), None), about, out


def _placed(model: Any) -> Any:
    import torch

    return model.float().eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _pairs(option: str, given: list[str]) -> dict[str, str]:
    pairs = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{option} {one}: give it as {option} <name>=<value>")
        pairs[name] = value
    return pairs


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)
