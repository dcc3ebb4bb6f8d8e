"""What so many seeds can see, and how many a difference needs, against scipy.stats and simulated experiments."""

import math

import numpy as np
import pytest
from scipy import stats

from kiti.report.power import seeds_for_difference, seeds_for_equivalence, smallest_effect, upper_spread


@pytest.mark.parametrize("n", [2, 3, 5, 20, 100])
def test_the_smallest_effect_has_a_power_of_80_percent(n):
    spread = 0.37
    effect = smallest_effect(spread, n)
    critical = stats.t.ppf(0.975, n - 1)
    power = stats.nct.sf(critical, n - 1, effect / spread * math.sqrt(n))
    assert power == pytest.approx(0.8, abs=1e-6)


def test_it_is_what_simulated_experiments_see():
    n, spread = 5, 2.0
    effect = smallest_effect(spread, n)
    drawn = np.random.default_rng(0).normal(effect, spread, size=(20_000, n))
    seen = stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05
    assert np.mean(seen) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("spread", "effect"), [(1.0, 2.0), (1.0, 0.66), (0.2, 0.05)])
def test_the_fewest_seeds_that_see_a_difference(spread, effect):
    n = seeds_for_difference(spread, effect)
    assert smallest_effect(spread, n) <= effect < smallest_effect(spread, n - 1)
    assert seeds_for_difference(spread, -effect) == n


def test_the_fewest_seeds_that_show_equivalence():
    spread, margin = 1.0, 0.9
    n = seeds_for_equivalence(spread, margin)
    generator = np.random.default_rng(0)

    def share(n):
        drawn = generator.normal(0, spread, size=(50_000, n))
        half = stats.t.ppf(0.95, n - 1) * drawn.std(axis=1, ddof=1) / math.sqrt(n)
        return np.mean(np.abs(drawn.mean(axis=1)) + half < margin)

    assert share(n) > 0.79
    assert share(n - 2) < 0.8


def test_the_upper_limit_of_a_spread_holds_four_times_in_five():
    drawn = np.random.default_rng(0).normal(size=(20_000, 5))
    limits = [upper_spread(spread, 5) for spread in drawn.std(axis=1, ddof=1)]
    assert np.mean(np.array(limits) > 1) == pytest.approx(0.8, abs=0.01)


def test_what_is_unknown_or_out_of_reach():
    assert math.isnan(smallest_effect(1.0, 1))
    assert math.isnan(upper_spread(1.0, 1))
    assert seeds_for_difference(1.0, 1e-3) is None
    assert seeds_for_difference(math.nan, 1.0) is None
    assert seeds_for_difference(1.0, math.nan) is None
    assert seeds_for_equivalence(1.0, math.nan) is None
    assert seeds_for_difference(0.0, 1.0) == 2
    assert seeds_for_equivalence(0.0, 1.0) == 2
