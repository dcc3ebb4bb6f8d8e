"""Paired t statistics over seeds, Holm's correction for several comparisons, and a verdict in words.

Both runs of a seed see the same data order, so differences are taken seed by seed. A diverged seed (its metric is
nan or infinite) is counted and named. There is then no verdict, since leaving that seed out would compare only the
surviving runs.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy import special  # scipy.stats takes a second to import

BETTER = "better"
WORSE = "worse"
HIGHER = "higher"
LOWER = "lower"
EQUIVALENT = "equivalent"
UNDECIDED = "undecided"
NOT_RUN = "not run"
NOT_LEARNT = "not learnt"
ONE_SEED = "one seed: no verdict"

CONFIDENCE = 0.95
EQUIVALENCE_CONFIDENCE = 0.90  # of the interval inside the margin: two one-sided tests at 5 % each


@dataclass(frozen=True)
class Summary:
    """`mean` and sample standard deviation `std` (nan if n < 2) of `n` finite values; `diverged` counts the others."""

    mean: float
    std: float
    n: int
    diverged: int = 0


@dataclass(frozen=True)
class Comparison:
    """Ours minus baseline on the `n` common seeds; unknown numbers are nan.

    `low` and `high` bound the 95 % t interval of the mean `difference`, `spread` is the sample standard deviation of
    the differences, `p` is from the two-sided paired t-test, `relative` is the difference divided by `level`, the
    absolute mean of the baseline on the same seeds, and `diverged` lists the seeds where either side is not finite.
    """

    n: int
    difference: float = math.nan
    spread: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    level: float = math.nan
    diverged: tuple[int, ...] = ()

    @property
    def relative(self) -> float:
        return self.difference / self.level if self.level else math.nan

    def verdict(self, p: float, margin: float, higher_is_better: bool | None) -> str:
        """One of four words, or why there is none.

        "equivalent" if the 90 % interval lies within ±`margin`, which may be nan: there is none. Else "better" or
        "worse" if `p`, which may be corrected, is below 0.05. Else "undecided". For a metric that is neither good nor
        bad `higher_is_better` is None, and the words are "higher" and "lower".
        """
        if self.diverged:
            return no_verdict(self.diverged)
        if self.n < 2:
            return ONE_SEED if self.n else NOT_RUN
        half = half_width(self.spread, self.n, EQUIVALENCE_CONFIDENCE)
        if abs(self.difference) + half < margin:
            return EQUIVALENT
        if not p < 1 - CONFIDENCE:
            return UNDECIDED
        if higher_is_better is None:
            return HIGHER if self.difference > 0 else LOWER
        return BETTER if (self.difference > 0) == higher_is_better else WORSE


def summarize(values: Iterable[float]) -> Summary:
    """Mean, sample standard deviation and count of the finite `values`, and the count of the others."""
    everything = list(values)
    finite = [value for value in everything if math.isfinite(value)]
    mean = statistics.fmean(finite) if finite else math.nan
    std = statistics.stdev(finite) if len(finite) > 1 else math.nan
    return Summary(mean, std, len(finite), len(everything) - len(finite))


def half_width(std: float, n: int, confidence: float = CONFIDENCE) -> float:
    """Half the t interval of a mean of `n` values with this sample standard deviation; nan if n < 2."""
    return float(special.stdtrit(n - 1, 0.5 + confidence / 2)) * std / math.sqrt(n) if n > 1 else math.nan


def no_verdict(diverged: Sequence[int]) -> str:
    """What stands for a verdict if these seeds diverged."""
    return f"diverged (seed{'s' if len(diverged) > 1 else ''} {', '.join(map(str, diverged))}): no verdict"


def paired(ours: Mapping[int, float], baseline: Mapping[int, float]) -> Comparison:
    """Compare a metric of two configurations (`seed -> value`) on their common seeds.

    If all differences are equal there is no spread to test against: p is 1 if they are 0, and 0 otherwise.
    """
    seeds = sorted(ours.keys() & baseline.keys())
    diverged = tuple(seed for seed in seeds if not (math.isfinite(ours[seed]) and math.isfinite(baseline[seed])))
    if diverged or not seeds:
        return Comparison(len(seeds), diverged=diverged)
    differences = [ours[seed] - baseline[seed] for seed in seeds]
    difference = statistics.fmean(differences)
    level = abs(statistics.fmean(baseline[seed] for seed in seeds))
    n = len(seeds)
    if n < 2:
        return Comparison(n, difference, level=level)
    spread = statistics.stdev(differences)
    if spread == 0:
        p = 1.0 if difference == 0 else 0.0
    else:
        p = 2 * float(special.stdtr(n - 1, -abs(difference) / spread * math.sqrt(n)))
    half = half_width(spread, n)
    return Comparison(n, difference, spread, difference - half, difference + half, p, level)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's corrected p of a family of tests: p_(k) times the number of tests that are not below it, at most 1.

    A nan is a test that was not made: it stays nan and does not count.
    """
    order = sorted((place for place, p in enumerate(ps) if not math.isnan(p)), key=lambda place: ps[place])
    corrected = list(ps)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * ps[place]))
        corrected[place] = largest
    return corrected
