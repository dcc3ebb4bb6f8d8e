"""Questions with a correct answer each, whose perplexity is measured.

    Question: <question>
    Answer: <answer>

The answer is the full reference solution (P2), GSM8K's with its calculator marks and its last line "#### n". For
MathQA it is the text of the right option, or the rationale: two tasks. Zero-shot, and without an end token.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kiti.data import DataError
from kiti.evaluation.fixed_items import fixed_items
from kiti.evaluation.known_tasks import AnswerSet, answer_set, stand_in_file
from kiti.evaluation.task_data import Located, Sources, from_disk, from_hub, rows

_OPTION = re.compile(r"([a-e]) \) (.*?)(?= , [a-e] \)|$)")


@dataclass(frozen=True)
class AnswerItem:
    """A prompt and its answer, and the item's place in the set."""

    id: str
    prompt: str
    answer: str

    @property
    def content(self) -> str:
        """The beginning of a hash of the item."""
        return hashlib.sha256(f"{self.prompt}\0{self.answer}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class AnswerTask:
    """The chosen items of a task. `available`: how many items there are."""

    name: str
    items: list[AnswerItem]
    located: Located
    available: int


def load(task: str, sources: Sources, limit: int | None) -> AnswerTask:
    """Read the questions of a task. DataError, in one line, if they are missing or not of the task's form."""
    found = answer_set(task)
    assert found is not None, task
    located = _locate(task, found, sources)
    option = task == "perplexity_mathqa_option"
    columns = (*found.columns, *(("correct",) if option else ()))
    read = rows(task, located, columns, found.configs, found.split)
    chosen = fixed_items({task: len(read)}, limit)[task]
    items = [
        _item(f"{task}/{place}", f"{task}: {located.path}: row {place + 1}", read[place], found, option)
        for place in chosen
    ]
    return AnswerTask(task, items, located, len(read))


def prompt(question: str) -> str:
    """It ends without a space: with it, the answer's first word would be tokenised as it never is."""
    return f"Question: {question.strip()}\nAnswer:"


def right_option(options: str, correct: str) -> str | None:
    """The text of option `correct` in MathQA's "a ) 38 , b ) 27.675 , …"; None if there is none."""
    return next((text.strip() for letter, text in _OPTION.findall(options) if letter == correct.strip()), None)


def _locate(task: str, found: AnswerSet, sources: Sources) -> Located:
    path = sources.paths.get(task, stand_in_file(task, sources.data_dir))
    if path is not None:
        return from_disk(task, path)
    if found.repository is None:
        raise DataError(
            f"{task}: no set on the hub is known; give --data {task}=<file.jsonl> with {_named(found.columns)}"
        )
    return from_hub(task, found.repository, sources)


def _item(name: str, where: str, row: Mapping[str, Any], found: AnswerSet, option: bool) -> AnswerItem:
    question, answer = (row[column] for column in found.columns)
    if not isinstance(question, str) or not isinstance(answer, str):
        raise DataError(f"{where}: {_named(found.columns)} must be texts")
    if option:
        text = right_option(answer, str(row["correct"]))
        if text is None:
            raise DataError(f"{where}: option {row['correct']!r} is not among {answer[:80]!r}")
        answer = text
    if not question.strip() or not answer.strip():
        raise DataError(f"{where}: the question or the answer is empty")
    return AnswerItem(name, prompt(question), f" {answer.strip()}")


def _named(columns: Sequence[str]) -> str:
    return " and ".join(columns)
