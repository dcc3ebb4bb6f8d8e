"""lm-eval's multiple-choice tasks, read from data on this disk."""

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import lm_eval
import yaml
from lm_eval.tasks import TaskManager

from kiti.data import DataError
from kiti.evaluation.choice_items import ChoiceItem, choice_item
from kiti.evaluation.fixed_items import fixed_items
from kiti.evaluation.harness_model import HarnessModel, quiet
from kiti.evaluation.known_tasks import folders_of, stand_in_file
from kiti.evaluation.task_data import Located, Sources, from_disk, from_hub, rows

_WRAPPER = "kiti_"
_CHOICES = {"stand_in_mmlu": 4, "stand_in_commonsenseqa": 5}
"""How many choices the formats that score letters have."""


@dataclass(frozen=True)
class ChoiceTask:
    """A task with its parts, such as MMLU's subjects, each an object of lm-eval; one part for most.

    `chosen`: the items that are evaluated, by part. `available`: how many items there are.
    """

    name: str
    parts: dict[str, Any]
    located: Located
    chosen: dict[str, list[int]]
    available: int

    @property
    def versions(self) -> list[str]:
        """lm-eval's versions of the parts."""
        return sorted({str(part.VERSION) for part in self.parts.values()})


def load(tasks: Sequence[str], sources: Sources, limit: int | None) -> list[ChoiceTask]:
    """Read the items of each task. DataError, in one line, if they are missing or not of the task's form."""
    quiet()
    folders = folders_of(tasks)
    known = TaskManager(include_path=folders, include_defaults=False)
    located = {task: _locate(task, known, sources) for task in tasks}
    with tempfile.TemporaryDirectory() as place:
        given = {"cache_dir": place, "keep_in_memory": True}
        for task, found in located.items():
            overrides = {"dataset_path": str(found.path), "dataset_kwargs": given}
            if stand_in_file(task, sources.data_dir):
                overrides = {"dataset_kwargs": given | {"data_files": {"test": str(found.path)}}}
            # What a group says about its members comes on top of their own files.
            kind = "group" if task in known.all_groups else "task"
            wrapper = {"group": _WRAPPER + task, "task": [{kind: task, **overrides}]}
            (Path(place) / f"{_WRAPPER}{task}.yaml").write_text(yaml.safe_dump(wrapper))
        manager = TaskManager(include_path=[*folders, Path(place)], include_defaults=False)
        return [_loaded(task, manager, located[task], limit) for task in tasks]


def scores(tasks: Sequence[ChoiceTask], model: HarnessModel, progress: bool) -> dict[str, list[ChoiceItem]]:
    """The items of every task, with what `model` makes of them. `progress`: show lm-eval's bars."""
    parts = {name: part for task in tasks for name, part in task.parts.items() if name in task.chosen}
    chosen = {name: places for task in tasks for name, places in task.chosen.items()}
    with nullcontext() if progress else redirect_stderr(io.StringIO()):  # some of its bars cannot be turned off
        found = lm_eval.evaluate(lm=model, task_dict={"tasks": parts}, samples=chosen, bootstrap_iters=0)
    return {
        task.name: [
            choice_item(name, task.parts[name], sample, len(task.parts) > 1, model.cut)
            for name in task.chosen
            for sample in found["samples"][name]
        ]
        for task in tasks
    }


def _locate(task: str, known: Any, sources: Sources) -> Located:
    if file := stand_in_file(task, sources.data_dir):
        found = from_disk(task, sources.paths.get(task, file))
        _check_items(task, rows(task, found, ("question", "choices", "answer"), (), "test"), found.path)
        return found
    leaves = list(_leaves(known, task))
    if kinds := {str(leaf.get("output_type")) for leaf in leaves} - {"multiple_choice"}:
        raise DataError(f"{task}: of kind {', '.join(sorted(kinds))} in lm-eval; kiti evaluates multiple_choice")
    repositories = {str(leaf["dataset_path"]) for leaf in leaves}
    if len(repositories) > 1:
        raise DataError(f"{task}: a collection over {', '.join(sorted(repositories))}; name its tasks one by one")
    if task not in sources.paths:
        return from_hub(task, repositories.pop(), sources)
    path = sources.paths[task]
    if path.is_file():
        raise DataError(f"{task}: {path} is a file; give a folder with the files of {repositories.pop()} on the hub")
    return from_disk(task, path)


def _leaves(known: Any, name: str) -> Iterator[dict[str, Any]]:
    """The configurations of the tasks that a name stands for."""
    entry = known.task_index[name]
    if entry.cfg is None:
        for each in sorted(entry.tags):
            yield from _leaves(known, each)
    elif "group" in entry.cfg:
        for each in entry.cfg["task"]:
            if isinstance(each, str):
                yield from _leaves(known, each)
            else:
                yield {**known.task_index[each["task"]].cfg, **each} if "task" in each else each
    else:
        yield entry.cfg


def _check_items(task: str, items: Sequence[Any], path: Path) -> None:
    for number, item in enumerate(items, start=1):
        choices, answer = item["choices"], item["answer"]
        texts = isinstance(choices, list) and all(isinstance(one, str) and one for one in choices)
        if not isinstance(item["question"], str) or not texts:
            raise DataError(f"{task}: {path}: row {number}: question and choices must be texts")
        if not isinstance(answer, int) or not 0 <= answer < len(choices):
            raise DataError(f"{task}: {path}: row {number}: answer {answer!r} is none of the {len(choices)} choices")
        if len(choices) != _CHOICES.get(task, len(choices)):
            raise DataError(f"{task}: {path}: row {number} has {len(choices)} choices, not {_CHOICES[task]}")
        if task == "stand_in_mmlu" and not isinstance(item.get("subject"), str | None):
            raise DataError(f"{task}: {path}: row {number}: the subject must be a text, or absent if not known")


def _loaded(task: str, manager: Any, located: Located, limit: int | None) -> ChoiceTask:
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        parts = manager.load([_WRAPPER + task])["tasks"]
    except Exception as error:  # whatever datasets, jinja2 or the task itself raises on files of another form
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{task}: {located.path}: lm-eval cannot read it: {type(error).__name__}: {reason}") from error
    finally:
        if not shown:
            datasets.enable_progress_bars()
    sizes = {name: len(part.eval_docs) for name, part in parts.items()}
    return ChoiceTask(task, parts, located, fixed_items(sizes, limit), sum(sizes.values()))
