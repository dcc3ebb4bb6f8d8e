"""What a paired t-test over seeds could have seen, and how many seeds it would need.

With n differences of standard deviation s, the test of a true mean difference δ has the power

    P(|T| > t_{0.975, n-1}),  T noncentral t with n-1 degrees of freedom and noncentrality δ √n / s,

of which the tail on the wrong side is left out. Two one-sided tests show a true difference of 0 to lie within ±m with
probability 2 F_{n-1}(m √n / s - t_{0.95, n-1}) - 1, a lower bound.
"""

import math
from collections.abc import Callable

from scipy import special  # scipy.stats takes a second to import

POWER = 0.8
_ALPHA = 0.05
MOST_SEEDS = 1000  # beyond this the number is not worth printing


def smallest_effect(spread: float, n: int) -> float:
    """The true difference that `n` seeds see with 80 % power, two-sided at 5 %; nan if n < 2.

    `spread` is the standard deviation of the differences, in their units.
    """
    if n < 2:
        return math.nan
    critical = special.stdtrit(n - 1, 1 - _ALPHA / 2)
    return float(special.nctdtrinc(n - 1, 1 - POWER, critical)) * spread / math.sqrt(n)


def seeds_for_difference(spread: float, effect: float) -> int | None:
    """The fewest seeds that see a true difference of `effect` with 80 % power; None beyond 1,000, or if unknown."""
    return _fewest(lambda n: smallest_effect(spread, n) <= abs(effect))


def seeds_for_equivalence(spread: float, margin: float) -> int | None:
    """The fewest seeds that show a true difference of 0 to lie within ±`margin` with 80 % power; None as above."""

    def enough(n: int) -> bool:
        beyond = _standardized(margin, spread, n) - special.stdtrit(n - 1, 1 - _ALPHA)
        return bool(2 * special.stdtr(n - 1, beyond) - 1 >= POWER)

    return _fewest(enough)


def upper_spread(spread: float, n: int, confidence: float = 0.8) -> float:
    """The upper limit of a standard deviation estimated from `n` values: s √((n-1) / χ²_{1-confidence, n-1})."""
    # chdtri takes the upper tail, so `confidence` of it lies above.
    return spread * math.sqrt((n - 1) / special.chdtri(n - 1, confidence)) if n > 1 else math.nan


def _standardized(effect: float, spread: float, n: int) -> float:
    return effect * math.sqrt(n) / spread if spread else math.inf


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The smallest n ≥ 2 that is enough. Power grows with n, so bisection finds it."""
    if not enough(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
