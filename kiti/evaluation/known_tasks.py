"""The tasks by name: lm-eval's multiple-choice tasks, kiti's stand-ins, and perplexities of correct answers.

Nothing here imports torch or lm-eval, so that a wrong name is reported at once.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from kiti.data import DataError

Metric = Literal["acc", "acc_norm"]

STAND_IN = "stand_in_"
OWN_TASKS = Path(__file__).parent / "tasks"
"""YAML of the multiple-choice stand-ins, as lm-eval reads it."""

_NORMALISED = (
    "reading: acc_norm, by characters, for HellaSwag, ARC-C and OpenBookQA, as lm-eval's users report them; the paper "
    "does not say"
)
_PLAIN = "reading: acc for every other task; the paper does not say"
_ARC_C = f"{_NORMALISED}; its printed values fit acc_norm, its printed errors acc"
_TAKEN: dict[str, tuple[Metric, str]] = {
    "hellaswag": ("acc_norm", _NORMALISED),
    "arc_challenge": ("acc_norm", _ARC_C),
    "openbookqa": ("acc_norm", _NORMALISED),
    "stand_in_openbookqa": ("acc_norm", _NORMALISED),
}
_FOLDERS = {
    "mmlu": "mmlu/default",
    "arc_challenge": "arc",
    "arc_easy": "arc",
    "hellaswag": "hellaswag",
    "winogrande": "winogrande",
    "piqa": "piqa",
    "openbookqa": "openbookqa",
}
"""Where lm-eval keeps the papers' tasks; other names are looked for in its thousands of files."""
_DATASET = re.compile(rb"^dataset_path:[ \t]*(\S+)", re.MULTILINE)
_NAMES = re.compile(rb"""^["']?(?:task|group|tag)["']?:[ \t]*["']?([\w.\-]+)""", re.MULTILINE)


@dataclass(frozen=True)
class AnswerSet:
    """Questions with answers whose perplexity is measured.

    `columns` are those of the question and of the answer. `configs` are of the set on the hub, () if it has one;
    `repository` is None where no set on the hub is known, so that a file is needed.
    """

    repository: str | None
    columns: tuple[str, str]
    configs: tuple[str, ...] = ()
    split: str = "test"


_MATH = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
ANSWER_SETS = {
    "perplexity_gsm8k": AnswerSet("openai/gsm8k", ("question", "answer"), ("main",)),
    "perplexity_math": AnswerSet("EleutherAI/hendrycks_math", ("problem", "solution"), _MATH),
    "perplexity_mathqa_option": AnswerSet("regisss/math_qa", ("Problem", "options")),
    "perplexity_mathqa_rationale": AnswerSet("regisss/math_qa", ("Problem", "Rationale")),
    "perplexity_ocw": AnswerSet(None, ("problem", "solution")),
}
_STAND_IN_ANSWERS = AnswerSet(None, ("question", "solution"))
_OF_ANSWERS = "stand_in_perplexity_"


def answer_set(task: str) -> AnswerSet | None:
    """The questions of a perplexity; None for a multiple-choice task."""
    return _STAND_IN_ANSWERS if task.startswith(_OF_ANSWERS) else ANSWER_SETS.get(task)


def stand_in_file(task: str, data_dir: Path) -> Path | None:
    """The file on disk that a stand-in reads; None for other tasks."""
    if task.startswith(_OF_ANSWERS):
        return data_dir / "problems" / f"{task.removeprefix(_OF_ANSWERS)}.jsonl"
    return data_dir / "items" / f"{task.removeprefix(STAND_IN)}.jsonl" if task.startswith(STAND_IN) else None


def taken(task: str) -> tuple[Metric, str]:
    """Which of acc and acc_norm a table takes, and why."""
    return _TAKEN.get(task, ("acc", _PLAIN))


def require_known(tasks: Sequence[str], data_dir: Path) -> None:
    """DataError unless lm-eval is installed and every task is known, in a line that names near ones."""
    root = _harness_root()
    if not tasks:
        raise DataError(f"no task given; there are {', '.join(sorted(_own_names(data_dir)))} and those of lm-eval")
    if len(set(tasks)) < len(tasks):
        raise DataError(f"tasks {', '.join(tasks)}: one is given twice")
    own = _own_names(data_dir)
    if not (rest := [task for task in tasks if task not in own]):
        return
    known = own | _harness_files(root).keys()
    if unknown := [task for task in rest if task not in known]:
        near = difflib.get_close_matches(unknown[0], sorted(known), n=4, cutoff=0.6)
        hint = f"close: {', '.join(near)}" if near else f"there are {', '.join(sorted(own))} and those of lm-eval"
        raise DataError(f"no task {unknown[0]!r}; {hint}")


def repository(task: str) -> str | None:
    """The set on the hub that one of the papers' tasks reads; None for stand-ins, and where only lm-eval knows."""
    if found := answer_set(task):
        return found.repository
    if task not in _FOLDERS:
        return None
    texts = [path.read_bytes() for path in sorted((_harness_root() / _FOLDERS[task]).glob("*yaml"))]
    [name] = {name.decode() for text in texts for name in _DATASET.findall(text)}
    return name


def folders_of(tasks: Iterable[str]) -> list[Path]:
    """The folders whose YAML files define these multiple-choice tasks."""
    root = _harness_root()
    found: dict[Path, None] = {}
    for task in tasks:
        if task.startswith(STAND_IN):
            found[OWN_TASKS] = None
        elif task in _FOLDERS:
            found[root / _FOLDERS[task]] = None
        else:
            found[root / _harness_files(root)[task].relative_to(root).parts[0]] = None
    return list(found)


def _own_names(data_dir: Path) -> set[str]:
    """The papers' tasks, and the stand-ins: those with a format here, and those with problems on disk."""
    choices = {path.stem for path in OWN_TASKS.glob(f"{STAND_IN}*.yaml")}
    problems = {f"{_OF_ANSWERS}{path.stem}" for path in (data_dir / "problems").glob("*.jsonl")}
    return {*_FOLDERS, *ANSWER_SETS, *choices, *problems}


def _harness_root() -> Path:
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("lm-eval is not installed; pip install 'kiti[evaluation]'")
    return Path(spec.submodule_search_locations[0]) / "tasks"


@cache
def _harness_files(root: Path) -> dict[str, Path]:
    """The file that defines each of lm-eval's tasks, groups and tags.

    lm-eval's own index parses all its files, which takes some ten seconds.
    """
    return {
        name.decode(): path
        for path in sorted(root.rglob("*.yaml"), reverse=True)
        for name in _NAMES.findall(path.read_bytes())
    }
