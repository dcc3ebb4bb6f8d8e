"""Paired t statistics over seeds, and a verdict in words.

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
NO_DIFFERENCE = "no difference seen"
NOT_RUN = "not run"
NOT_LEARNT = "not learnt"
ONE_SEED = "one seed: no verdict"

CONFIDENCE = 0.95


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

    `low` and `high` bound the 95 % t interval of the mean `difference`, `p` is from the two-sided paired t-test,
    `relative` is the difference divided by the absolute mean of the baseline on the same seeds, and `diverged` lists
    the seeds where either side is not finite.
    """

    n: int
    difference: float
    low: float
    high: float
    p: float
    relative: float
    verdict: str
    diverged: tuple[int, ...] = ()


def summarize(values: Iterable[float]) -> Summary:
    """Mean, sample standard deviation and count of the finite `values`, and the count of the others."""
    everything = list(values)
    finite = [value for value in everything if math.isfinite(value)]
    mean = statistics.fmean(finite) if finite else math.nan
    std = statistics.stdev(finite) if len(finite) > 1 else math.nan
    return Summary(mean, std, len(finite), len(everything) - len(finite))


def half_width(std: float, n: int) -> float:
    """Half the 95 % t interval of a mean of `n` values with this sample standard deviation; nan if n < 2."""
    return float(special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * std / math.sqrt(n) if n > 1 else math.nan


def no_verdict(diverged: Sequence[int]) -> str:
    """What stands for a verdict if these seeds diverged."""
    return f"diverged (seed{'s' if len(diverged) > 1 else ''} {', '.join(map(str, diverged))}): no verdict"


def paired(ours: Mapping[int, float], baseline: Mapping[int, float], higher_is_better: bool | None) -> Comparison:
    """Compare a metric of two configurations (`seed -> value`) on their common seeds.

    "better" and "worse" require p < 0.05, that is a 95 % interval without 0. If all differences are equal there is no
    spread to test against: p is 1 ("no difference seen") if they are 0, and 0 otherwise. For a metric that is neither
    good nor bad `higher_is_better` is None, and the verdict is "higher" or "lower".
    """
    seeds = sorted(ours.keys() & baseline.keys())
    diverged = tuple(seed for seed in seeds if not (math.isfinite(ours[seed]) and math.isfinite(baseline[seed])))
    if diverged:
        verdict = no_verdict(diverged)
        return Comparison(len(seeds), math.nan, math.nan, math.nan, math.nan, math.nan, verdict, diverged)
    if not seeds:
        return Comparison(0, math.nan, math.nan, math.nan, math.nan, math.nan, NOT_RUN)

    differences = [ours[seed] - baseline[seed] for seed in seeds]
    difference = statistics.fmean(differences)
    baseline_mean = statistics.fmean(baseline[seed] for seed in seeds)
    relative = difference / abs(baseline_mean) if baseline_mean else math.nan
    n = len(seeds)
    if n < 2:
        return Comparison(n, difference, math.nan, math.nan, math.nan, relative, ONE_SEED)

    standard_error = statistics.stdev(differences) / math.sqrt(n)
    if standard_error == 0:
        half, p = 0.0, (1.0 if difference == 0 else 0.0)
    else:
        half = half_width(statistics.stdev(differences), n)
        p = 2 * float(special.stdtr(n - 1, -abs(difference) / standard_error))
    verdict = NO_DIFFERENCE
    if p < 1 - CONFIDENCE:
        if higher_is_better is None:
            verdict = HIGHER if difference > 0 else LOWER
        else:
            verdict = BETTER if (difference > 0) == higher_is_better else WORSE
    return Comparison(n, difference, difference - half, difference + half, p, relative, verdict)
