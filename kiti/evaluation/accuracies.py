"""What a record says of a multiple-choice task: accuracies with their errors, chance, ties, weighting."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from kiti.evaluation.choice_items import ChoiceItem

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Accuracy:
    """The share of right items.

    Attributes:
        value: the share.
        error: its standard error, from the sample standard deviation as lm-eval has it; nan for one item.
        low, high: the exact binomial (Clopper-Pearson) interval of 95 %.
        beyond_chance: whether `chance` is outside of it.
        ties: items at which several choices were best; the first of them counted.
    """

    value: float
    error: float
    low: float
    high: float
    beyond_chance: bool
    ties: int


@dataclass(frozen=True)
class Weighted:
    """The accuracy over all items, and the mean of the subjects' accuracies, each with its error.

    Both errors are from the variance s² within subjects, pooled over them: √(s²/N) over N items, as lm-eval has it for
    groups, and √(s² Σ_k 1/n_k) / K over K subjects of n_k items. They are nan if every subject has one item.
    """

    items: float
    items_error: float
    subjects: float
    subjects_error: float
    number_of_subjects: int


def accuracy(right: Sequence[bool], ties: Sequence[bool], chance: float) -> Accuracy:
    """Of at least one item."""
    from scipy import stats  # takes a second to import

    n, hits = len(right), sum(right)
    share = hits / n
    error = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else math.nan
    interval = stats.binomtest(hits, n).proportion_ci(CONFIDENCE, "exact")
    low, high = float(interval.low), float(interval.high)
    return Accuracy(share, error, low, high, not low <= chance <= high, sum(ties))


def weighted(items: Sequence[ChoiceItem]) -> Weighted | None:
    """By items and by subjects; None if there are not several subjects."""
    by_subject: dict[str, list[bool]] = defaultdict(list)
    for item in items:
        if item.subject is not None:
            by_subject[item.subject].append(item.right)
    if len(by_subject) < 2:
        return None
    n, k = len(items), len(by_subject)
    shares = {subject: sum(right) / len(right) for subject, right in by_subject.items()}
    squares = math.fsum(len(right) * shares[subject] * (1 - shares[subject]) for subject, right in by_subject.items())
    variance = squares / (n - k) if n > k else math.nan
    inverse = math.fsum(1 / len(right) for right in by_subject.values())
    return Weighted(
        items=sum(item.right for item in items) / n,
        items_error=math.sqrt(variance / n),
        subjects=math.fsum(shares.values()) / k,
        subjects_error=math.sqrt(variance * inverse) / k,
        number_of_subjects=k,
    )


def chance(items: Sequence[ChoiceItem]) -> float:
    """The expected accuracy of drawing a choice: the mean of 1 / number of choices."""
    return math.fsum(1 / len(item.log_likelihoods) for item in items) / len(items)


def chance_bound(chance: float, n: int) -> float:
    """The accuracy on n items that draws exceed with a probability of at most 2.5 %."""
    from scipy import stats

    return float(stats.binom.ppf(1 - (1 - CONFIDENCE) / 2, n, chance)) / n
