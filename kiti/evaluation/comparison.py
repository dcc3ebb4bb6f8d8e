"""Two models compared item by item.

Both answer the same items, so what is compared are the items on which they differ. For accuracies McNemar's exact test:
with b items that only the first has right and c that only the second has, b is binomial(b + c, 1/2) if the models are
equally good. For the difference of accuracies, and the ratio of perplexities over tokens, a bootstrap interval that
draws items, each with both models' results.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from kiti.data import DataError
from kiti.evaluation.kept_results import Kept, latest

CONFIDENCE = 0.95
_RESAMPLES = 9999
_AT_ONCE = 1 << 23  # drawn items in memory


@dataclass(frozen=True)
class Compared:
    """A metric of two models on the same items of a task.

    Attributes:
        task, metric, n: what is compared, on how many items.
        first, second: the two values.
        change: second − first for an accuracy, second / first for a perplexity; `low` and `high` bound its 95 %
            bootstrap interval.
        p: of McNemar's exact test, two-sided; None for a perplexity.
        only_first, only_second: items that one has right and the other has not; None for a perplexity.
    """

    task: str
    metric: str
    n: int
    first: float
    second: float
    change: float
    low: float
    high: float
    p: float | None = None
    only_first: int | None = None
    only_second: int | None = None


def compare(first: Path, second: Path, tasks: Sequence[str] | None = None) -> list[Compared]:
    """The metrics of the last evaluations in two folders, task by task.

    Args:
        tasks: which; None: all that both folders have.

    Raises:
        DataError: a folder has no such results, or they are of other items.
    """
    ours, theirs = latest(first), latest(second)
    for folder, found in ((first, ours), (second, theirs)):
        if missing := [task for task in tasks or () if task not in found]:
            raise DataError(f"{folder}: no results of {', '.join(missing)}; there are {', '.join(sorted(found))}")
    common = tasks or [task for task in ours if task in theirs]
    if not common:
        raise DataError(f"{first} and {second} have no task in common: {', '.join(ours)} and {', '.join(theirs)}")
    return [one for task in common for one in _compared(task, ours[task], theirs[task])]


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> tuple[int, int, float]:
    """Items that only the first has right, those that only the second has, and p; 1 if there are none of either."""
    only_first = sum(one and not other for one, other in zip(first, second, strict=True))
    only_second = sum(other and not one for one, other in zip(first, second, strict=True))
    differing = only_first + only_second
    p = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    return only_first, only_second, p


def _compared(task: str, ours: Kept, theirs: Kept) -> list[Compared]:
    _require_same_items(task, ours, theirs)
    if ours.record["kind"] == "perplexity":
        return [_of_perplexities(task, ours, theirs)]
    metrics = {"acc": "right", "acc_norm": "right_norm"}
    return [_of_accuracies(task, name, at, ours, theirs) for name, at in metrics.items() if name in ours.record]


def _require_same_items(task: str, ours: Kept, theirs: Kept) -> None:
    for column in ("id", "content"):
        if ours.items[column] != theirs.items[column]:
            sizes = f"{ours.items.num_rows} and {theirs.items.num_rows} of them"
            raise DataError(
                f"{task}: the two were evaluated on other items ({sizes}); evaluate both on the same data and limit"
            )


def _of_accuracies(task: str, metric: str, column: str, ours: Kept, theirs: Kept) -> Compared:
    first, second = (np.array(kept.items[column].to_pylist(), dtype=bool) for kept in (ours, theirs))
    differences = second.astype(float) - first
    low, high = _interval((differences,), lambda drawn, axis: drawn.mean(axis=axis))
    only_first, only_second, p = mcnemar(first.tolist(), second.tolist())
    values = float(first.mean()), float(second.mean())
    change = float(differences.mean())
    return Compared(task, metric, len(first), *values, change, low, high, p, only_first, only_second)


def _of_perplexities(task: str, ours: Kept, theirs: Kept) -> Compared:
    if ours.items["tokens"] != theirs.items["tokens"]:
        raise DataError(f"{task}: the two models cut the answers into other tokens, so perplexities do not compare")
    first, second, tokens = (
        np.array(column.to_pylist(), dtype=float)
        for column in (ours.items["nll"], theirs.items["nll"], ours.items["tokens"])
    )

    def ratio(one: np.ndarray, other: np.ndarray, lengths: np.ndarray, axis: int) -> Any:
        return np.exp((other.sum(axis=axis) - one.sum(axis=axis)) / lengths.sum(axis=axis))

    low, high = _interval((first, second, tokens), ratio)
    ours_found, theirs_found = (math.exp(nll.sum() / tokens.sum()) for nll in (first, second))
    change = float(ratio(first, second, tokens, axis=0))
    return Compared(task, "perplexity_of_tokens", len(first), ours_found, theirs_found, change, low, high)


def _interval(samples: tuple[np.ndarray, ...], statistic: Callable[..., Any]) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic of paired samples; nan if there is one item."""
    if len(samples[0]) < 2:
        return math.nan, math.nan
    found = stats.bootstrap(
        samples,
        statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=CONFIDENCE,
        n_resamples=_RESAMPLES,
        batch=max(1, _AT_ONCE // len(samples[0])),
        rng=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
