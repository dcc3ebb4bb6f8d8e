"""What a record says of a task, and the table of its items."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from kiti.evaluation.accuracies import accuracy, chance, chance_bound, weighted
from kiti.evaluation.answer_scores import AnswerScore, perplexities
from kiti.evaluation.answer_tasks import AnswerTask
from kiti.evaluation.choice_items import ChoiceItem
from kiti.evaluation.choice_tasks import ChoiceTask
from kiti.evaluation.kept_results import TaskResult
from kiti.evaluation.known_tasks import taken

_CHOICES = pa.schema(
    {
        "id": pa.string(),
        "content": pa.string(),
        "subject": pa.string(),
        "log_likelihoods": pa.list_(pa.float32()),
        "chosen": pa.int16(),
        "right": pa.bool_(),
        "tied": pa.bool_(),
        "chosen_norm": pa.int16(),
        "right_norm": pa.bool_(),
        "tied_norm": pa.bool_(),
        "cut": pa.bool_(),
    }
)
_ANSWERS = pa.schema(
    {"id": pa.string(), "content": pa.string(), "nll": pa.float64(), "tokens": pa.int32(), "cut": pa.bool_()}
)


def of_choices(
    task: ChoiceTask, items: Sequence[ChoiceItem], limit: int | None, measured: Mapping[str, Any]
) -> TaskResult:
    drawn = chance(items)
    found = {"acc": accuracy([one.right for one in items], [one.tied for one in items], drawn)}
    if items[0].right_norm is not None:
        right, tied = [bool(one.right_norm) for one in items], [bool(one.tied_norm) for one in items]
        found["acc_norm"] = accuracy(right, tied, drawn)
    metric, why = taken(task.name)
    by_subject = weighted(items)
    record = {
        "task": task.name,
        "kind": "multiple_choice",
        "lm_eval": version("lm_eval"),
        "task_versions": task.versions,
        "data": task.located.identity,
        "shots": 0,
        "n": len(items),
        "available": task.available,
        "limit": limit,
        "chance": drawn,
        **{name: asdict(one) for name, one in found.items()},
        "taken": metric,
        "why": why,
        "weighting": asdict(by_subject) if by_subject else None,
        "truncated": sum(one.cut for one in items),
        "not_finite": sum(not all(map(math.isfinite, one.log_likelihoods)) for one in items),
        **measured,
    }
    metrics = {f"{task.name}/{name}": one.value for name, one in found.items()}
    metrics[f"{task.name}/chance_bound"] = chance_bound(drawn, len(items))
    if by_subject:
        metrics[f"{task.name}/acc_by_subject"] = by_subject.subjects
    return TaskResult(task.name, record, metrics, pa.Table.from_pylist([asdict(one) for one in items], _CHOICES))


def of_answers(
    task: AnswerTask, scores: Sequence[AnswerScore], limit: int | None, measured: Mapping[str, Any]
) -> TaskResult:
    found = perplexities(scores)
    record = {
        "task": task.name,
        "kind": "perplexity",
        "data": task.located.identity,
        "shots": 0,
        "n": len(scores),
        "available": task.available,
        "limit": limit,
        "answer_tokens": sum(score.tokens for score in scores),
        "perplexity_of_tokens": found.of_tokens,
        "mean_perplexity_of_items": found.mean_of_items,
        "mean_perplexity_of_items_error": found.mean_of_items_error,
        "taken": "perplexity_of_tokens",
        "why": "over all answer tokens (P2); the paper does not say which mean",
        "truncated": sum(score.cut for score in scores),
        **measured,
    }
    metrics = {
        f"{task.name}/perplexity_of_tokens": found.of_tokens,
        f"{task.name}/mean_perplexity_of_items": found.mean_of_items,
    }
    rows = [
        {"id": item.id, "content": item.content, **asdict(score)}
        for item, score in zip(task.items, scores, strict=True)
    ]
    return TaskResult(task.name, record, metrics, pa.Table.from_pylist(rows, _ANSWERS))
