"""One multiple-choice item as a model answers it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ChoiceItem:
    """An item and its score.

    Attributes:
        id: part of the task, and the item's place in it.
        content: the beginning of a hash of the item: equal if two models got the same.
        subject: MMLU's; None elsewhere.
        log_likelihoods: ln p of each choice, float32.
        chosen: the choice of the largest; the first of several. `right`: whether it is the answer.
        tied: whether several are the largest.
        chosen_norm, right_norm, tied_norm: the same per character of the choice; None where lm-eval has no acc_norm.
        cut: whether a choice and its context did not fit into the model's context.
    """

    id: str
    content: str
    subject: str | None
    log_likelihoods: list[float]
    chosen: int
    right: bool
    tied: bool
    chosen_norm: int | None
    right_norm: bool | None
    tied_norm: bool | None
    cut: bool


def choice_item(
    part: str, task: Any, sample: Mapping[str, Any], parts_are_subjects: bool, cut: Collection[tuple[str, str]]
) -> ChoiceItem:
    """From what lm-eval logs of an item; right or not is lm-eval's own verdict."""
    found = np.array([score for score, _ in sample["filtered_resps"]])
    chosen_norm = right_norm = tied_norm = None
    if "acc_norm" in sample:
        per_character = found / np.array([float(len(choice)) for choice in task.doc_to_choice(sample["doc"])])
        chosen_norm, right_norm = int(per_character.argmax()), bool(sample["acc_norm"])
        tied_norm = _tied(per_character)
    return ChoiceItem(
        id=f"{part}/{sample['doc_id']}",
        content=sample["doc_hash"][:16],
        subject=part if parts_are_subjects else sample["doc"].get("subject"),
        log_likelihoods=found.tolist(),
        chosen=int(found.argmax()),
        right=bool(sample["acc"]),
        tied=_tied(found),
        chosen_norm=chosen_norm,
        right_norm=right_norm,
        tied_norm=tied_norm,
        cut=any(tuple(pair) in cut for pair in sample["arguments"]),
    )


def _tied(values: np.ndarray) -> bool:
    return int((values == values.max()).sum()) > 1
