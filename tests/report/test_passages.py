"""Ratios of steps to a value: known ones, values that are not reached, and noise that is not a gain."""

import math

import numpy as np
import pytest
from scipy import stats

from kiti.report.courses import Course
from kiti.report.passages import SEEDS_NEEDED, TOO_FEW, Bounded, Passages, among_seeds, over_seeds, passage

STEPS = np.arange(10.0, 1001.0, 10.0)


def law(speed=1.0, noise=0.0, seed=0, steps=STEPS):
    """A loss that falls with `speed` times the steps."""
    falling = 2 + 4 / np.sqrt(1 + speed * steps / 10)
    return Course(steps, falling + noise * np.random.default_rng(seed).normal(size=steps.size))


def verdict(found):
    return found.verdict(found.p, "fewer steps", "more steps")


@pytest.mark.parametrize("ratio", [0.5, 0.8, 0.9])
def test_a_known_ratio_is_found(ratio):
    ours, baseline = law(1 / ratio), law()
    assert passage(ours, baseline).ratio == pytest.approx(ratio, abs=1e-4)
    found = over_seeds([passage(ours, baseline)] * 6)
    for bound in (found.median, found.low, found.high):
        assert (bound.value, bound.is_open) == (pytest.approx(ratio, abs=1e-4), False)
    assert (found.n, found.reached, found.ahead, found.behind) == (6, 6, 6, 0)
    assert verdict(found) == "fewer steps"


def test_a_longer_training_reaches_the_value_late():
    longer = np.arange(10.0, 2001.0, 10.0)
    found = passage(law(0.8, steps=longer), law())
    assert found.ratio == pytest.approx(1.25, abs=1e-3)
    assert found.ahead == -1, "it ends lower, but both reach the baseline's final value, and the baseline does first"


def test_different_evaluation_steps():
    assert passage(law(1.25, steps=np.arange(7.0, 1001, 7.0)), law()).ratio == pytest.approx(0.8, abs=1e-3)


def test_what_is_not_reached_is_counted_and_bounds_the_median():
    ours = [law(1.25), law(1.1), law(0.8)]
    found = over_seeds([passage(one, law()) for one in ours])
    assert (found.n, found.reached, found.ahead, found.behind) == (3, 2, 2, 1)
    assert found.median.text() == "0.91"
    assert found.low.text() == "0.80"
    assert found.high == Bounded(1.0, is_open=True)
    assert found.high.text() == ">1.00"

    never = over_seeds([passage(law(0.8), law())] * 6)
    assert never.reached == 0
    assert {bound.text() for bound in (never.median, never.low, never.high)} == {">1.00"}
    assert verdict(never) == "more steps"


def test_bounds_of_unequal_lengths_are_ordered():
    """Censored at 0.5, 2 and 2: the median is above 2."""
    short, long = STEPS[:50], np.arange(10.0, 2001.0, 10.0)
    found = over_seeds([passage(law(0.1, steps=steps), law()) for steps in (short, long, long)])
    assert [bound.text() for bound in (found.low, found.median, found.high)] == [">0.50", ">2.00", ">2.00"]


def test_noise_alone():
    """A noisy curve passes its own final value early; the interval has this null in it, and there is no verdict."""
    baseline = {seed: law(noise=0.02, seed=seed) for seed in range(8)}
    ours = {seed: law(noise=0.02, seed=100 + seed) for seed in range(8)}
    itself = over_seeds([passage(one, one) for one in baseline.values()])
    others = among_seeds(baseline)
    found = over_seeds([passage(ours[seed], baseline[seed]) for seed in baseline])
    assert itself.reached == itself.n == 8
    assert itself.median.value < 0.95, "a ratio below 1 without any difference"
    assert others.n == 56
    assert found.low.value <= itself.median.value <= found.high.value
    assert found.low.value <= others.median.value <= found.high.value
    assert verdict(found) == "undecided"


def test_the_verdict_is_fair_where_the_ratio_is_not():
    """Among equals the first at a common value is either as often; more of them are below 1 than above."""
    found = [passage(law(noise=0.02, seed=2 * n), law(noise=0.02, seed=2 * n + 1)) for n in range(600)]
    ahead, behind = (sum(one.ahead == side for one in found) for side in (1, -1))
    assert stats.binomtest(ahead, ahead + behind).pvalue > 0.01
    assert sum(one.ratio < 1 for one in found) > 0.6 * len(found)


def test_the_bootstrap_is_that_of_scipy_and_always_the_same():
    values = [0.8, 0.95, 0.97, 0.9, 0.85, 1.0, 0.93]
    found = over_seeds([passage(law(1 / ratio), law()) for ratio in values])
    again = over_seeds([passage(law(1 / ratio), law()) for ratio in values])
    assert found == again
    theirs = stats.bootstrap((np.array(values),), np.median, n_resamples=10_000, method="percentile", rng=1)
    interval = theirs.confidence_interval
    assert (found.low.value, found.high.value) == pytest.approx((interval.low, interval.high), abs=0.01)


@pytest.mark.parametrize(("ahead", "behind"), [(6, 0), (5, 1), (0, 7), (9, 1), (3, 3), (0, 0)])
def test_sign_test_matches_scipy(ahead, behind):
    unknown = Bounded(math.nan)
    found = Passages(10, 0, unknown, unknown, unknown, ahead, behind)
    expected = stats.binomtest(ahead, ahead + behind).pvalue if ahead + behind else 1.0
    assert found.p == pytest.approx(expected)
    side = "fewer steps" if ahead > behind else "more steps"
    assert verdict(found) == (side if expected < 0.05 else "undecided")


def test_too_few_seeds_for_a_verdict():
    one = passage(law(2), law())
    assert verdict(over_seeds([one] * (SEEDS_NEEDED - 1))) == TOO_FEW == "too few seeds to tell"
    assert verdict(over_seeds([one] * SEEDS_NEEDED)) == "fewer steps"
    single = over_seeds([one])
    assert (single.median.text(), single.low.text(), single.high.text()) == ("0.50", "", "")


def test_equal_runs_are_neither_ahead_nor_behind():
    found = over_seeds([passage(law(noise=0.02, seed=seed), law(noise=0.02, seed=seed)) for seed in range(6)])
    assert (found.ahead, found.behind, found.p) == (0, 0, 1.0)
    assert verdict(found) == "undecided"


def test_pairs_of_seeds_need_three_for_an_interval():
    courses = {seed: law(noise=0.02, seed=seed) for seed in range(3)}
    assert among_seeds(courses).low.text() != ""
    two = among_seeds({0: courses[0], 1: courses[1]})
    assert (two.n, two.low.text(), two.high.text()) == (2, "", "")
    assert two.reached in (0, 1, 2)
    assert two.median.text() != ""


def test_more_may_be_better():
    rising, faster = (Course(STEPS, 1 - 1 / np.sqrt(1 + speed * STEPS), True) for speed in (1.0, 1.25))
    assert passage(faster, rising).ratio == pytest.approx(0.8, abs=1e-3)
    assert (passage(faster, rising).ahead, passage(rising, faster).ahead) == (1, -1)
    assert not passage(rising, faster).reached
