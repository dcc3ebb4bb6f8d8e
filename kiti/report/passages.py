"""At what part of its baseline's training a run reaches the baseline's final value, over seeds.

A curve with noise passes its own final value before its end, so the ratio is below 1 even where nothing differs. The
verdict is free of that: it asks, seed by seed, which of the two runs first reaches the worse of their two final values.
Both reach it, and if nothing differs it is either with the same probability, whatever the noise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from kiti.report.courses import Course
from kiti.report.significance import CONFIDENCE, UNDECIDED

TOO_FEW = "too few seeds to tell"
SEEDS_NEEDED = 6
"""With fewer no outcome of a two-sided sign test has p < 0.05."""
RESAMPLES = 10_000


@dataclass(frozen=True)
class Passage:
    """One seed: `ratio` is the place at which ours reaches the baseline's final value over the baseline's last place.

    It is inf if ours never does, and `bound` is then the ratio at the end of ours; otherwise both are equal. `ahead` is
    1 if ours is first at the worse of the two final values, -1 if the baseline is, and 0 if neither is.
    """

    ratio: float
    bound: float
    ahead: int

    @property
    def reached(self) -> bool:
        """Whether ours reaches the baseline's final value."""
        return math.isfinite(self.ratio)


@dataclass(frozen=True)
class Bounded:
    """A number, or if `is_open` only a lower bound of it."""

    value: float
    is_open: bool = False

    def at_least(self, value: float) -> "Bounded":
        """The number, of which is known that it is not below `value`."""
        return Bounded(max(self.value, value), is_open=True) if self.is_open else self

    def text(self, digits: str = ".2f") -> str:
        """`0.91`, or `>1.00` for a lower bound; empty if unknown."""
        return "" if math.isnan(self.value) else f"{'>' if self.is_open else ''}{self.value:{digits}}"


@dataclass(frozen=True)
class Passages:
    """The median ratio of `n` passages with its 95 % interval (nan if n < 2), and how many `reached` the value.

    Not reached counts as later than everything. `ahead` and `behind` count who was first at the worse of the two final
    values; p is from the two-sided sign test on them.
    """

    n: int
    reached: int
    median: Bounded
    low: Bounded
    high: Bounded
    ahead: int = 0
    behind: int = 0

    @property
    def p(self) -> float:
        """The two-sided sign test: the probability of a split at least as uneven if either is as likely."""
        split = self.ahead + self.behind
        return min(1.0, 2 * float(special.bdtr(min(self.ahead, self.behind), split, 0.5))) if split else 1.0

    def verdict(self, p: float, fewer: str, more: str) -> str:
        """`fewer` or `more` if `p`, which may be corrected, is below 0.05; `TOO_FEW` below six seeds."""
        if self.n < SEEDS_NEEDED:
            return TOO_FEW
        if p >= 1 - CONFIDENCE:
            return UNDECIDED
        return fewer if self.ahead > self.behind else more


def passage(ours: Course, baseline: Course) -> Passage:
    """Both courses of one seed, over places of one unit."""
    ratio = ours.first(baseline.final) / baseline.end
    bound = ratio if math.isfinite(ratio) else ours.end / baseline.end
    common = (min if ours.higher_is_better else max)(ours.final, baseline.final)
    mine, theirs = ours.first(common), baseline.first(common)
    return Passage(ratio, bound, (mine < theirs) - (mine > theirs))


def over_seeds(found: Sequence[Passage]) -> Passages:
    """The passages of several seeds."""
    ratios, bounds = (np.array([getattr(one, key) for one in found]) for key in ("ratio", "bound"))
    sides = [one.ahead for one in found]
    reached = sum(one.reached for one in found)
    return Passages(len(found), reached, *_median_and_interval(ratios, bounds), sides.count(1), sides.count(-1))


def among_seeds(courses: Mapping[int, Course]) -> Passages:
    """The passages of each of two or more seeds to the final value of each other: what seeds alone do to the ratio.

    `n` counts ordered pairs; the interval is over seeds, and nan below three.
    """
    seeds = sorted(courses)
    pairs = [[passage(courses[a], courses[b]) if a != b else None for b in seeds] for a in seeds]
    ratios, bounds = (
        np.array([[getattr(one, key) if one else math.nan for one in line] for line in pairs])
        for key in ("ratio", "bound")
    )
    found = [one for line in pairs for one in line if one]
    return Passages(len(found), sum(one.reached for one in found), *_median_and_interval(ratios, bounds))


def _median_and_interval(
    ratios: Float[np.ndarray, "*seeds"], bounds: Float[np.ndarray, "*seeds"]
) -> tuple[Bounded, Bounded, Bounded]:
    """The median and the bounds of its percentile bootstrap interval: seeds are drawn anew with replacement.

    The arrays are of seeds, or of seeds x seeds with a diagonal of nan. The numbers drawn are the same in every call.
    """
    count = len(ratios)
    every = np.arange(count)[None]
    middle = _quantile(_medians(ratios, every), _medians(bounds, every), 0.5)
    if count < ratios.ndim + 1:
        return middle, Bounded(math.nan), Bounded(math.nan)
    drawn = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    if ratios.ndim == 2:  # a draw of one seed alone has no pairs
        drawn = drawn[(drawn != drawn[:, :1]).any(axis=1)]
    exact, least = _medians(ratios, drawn), _medians(bounds, drawn)
    low, high = (_quantile(exact, least, share) for share in (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
    # What bounds one of them from below bounds those above it.
    middle = middle.at_least(low.value)
    return middle, low, high.at_least(middle.value)


def _medians(values: Float[np.ndarray, "*seeds"], drawn: Int[np.ndarray, "draws n"]) -> Float[np.ndarray, " draws"]:
    """The median of each draw; nan is left out, and inf is later than everything."""
    taken = values[drawn] if values.ndim == 1 else values[drawn[:, :, None], drawn[:, None, :]].reshape(len(drawn), -1)
    ordered, known = np.sort(taken, axis=1), np.count_nonzero(~np.isnan(taken), axis=1)  # nan comes last
    draws = np.arange(len(drawn))
    halves: Float[np.ndarray, " draws"] = (ordered[draws, (known - 1) // 2] + ordered[draws, known // 2]) / 2
    return halves


def _quantile(exact: Float[np.ndarray, " draws"], least: Float[np.ndarray, " draws"], share: float) -> Bounded:
    """The quantile of the exact numbers, or where that is inf the same quantile of their lower bounds."""
    value, bound = (float(np.quantile(array, share, method="inverted_cdf")) for array in (exact, least))
    return Bounded(bound, is_open=True) if math.isinf(value) else Bounded(value)
