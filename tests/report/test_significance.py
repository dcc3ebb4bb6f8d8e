"""Means, paired differences and verdicts, against scipy.stats."""

import math

import numpy as np
import pytest
from scipy import stats

from kiti.report.significance import (
    BETTER,
    EQUIVALENT,
    HIGHER,
    LOWER,
    NOT_RUN,
    ONE_SEED,
    UNDECIDED,
    WORSE,
    holm,
    paired,
    summarize,
)

NO_MARGIN = math.nan


def verdict(ours, baseline, higher_is_better=False, margin=NO_MARGIN):
    found = paired(ours, baseline)
    return found.verdict(found.p, margin, higher_is_better)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("shift", [0.0, 0.3, -2.0])
def test_paired_test_matches_scipy(n, shift):
    generator = np.random.default_rng(n)
    baseline = generator.normal(size=n)
    ours = baseline + shift + 0.2 * generator.normal(size=n)

    result = paired(dict(enumerate(ours.tolist())), dict(enumerate(baseline.tolist())))

    test = stats.ttest_rel(ours, baseline)
    interval = stats.t.interval(0.95, n - 1, loc=np.mean(ours - baseline), scale=stats.sem(ours - baseline))
    assert result.n == n
    assert result.p == pytest.approx(test.pvalue, rel=1e-9)
    assert (result.low, result.high) == pytest.approx(interval, rel=1e-9)
    assert result.difference == pytest.approx(np.mean(ours - baseline), rel=1e-12)
    assert result.relative == pytest.approx(np.mean(ours - baseline) / abs(np.mean(baseline)), rel=1e-9)
    significant = test.pvalue < 0.05
    assert significant == (not result.low <= 0 <= result.high)
    assert result.spread == pytest.approx(np.std(ours - baseline, ddof=1), rel=1e-12)
    word = result.verdict(result.p, NO_MARGIN, higher_is_better=False)
    assert word == ((WORSE if result.difference > 0 else BETTER) if significant else UNDECIDED)


def test_direction_of_better():
    low, high = {0: 1.0, 1: 1.1, 2: 0.9}, {0: 2.0, 1: 2.1, 2: 2.0}
    assert verdict(low, high, higher_is_better=False) == BETTER
    assert verdict(low, high, higher_is_better=True) == WORSE
    assert verdict(high, low, higher_is_better=True) == BETTER
    assert verdict(low, high, higher_is_better=None) == LOWER
    assert verdict(high, low, higher_is_better=None) == HIGHER


@pytest.mark.parametrize("n", [3, 8])
def test_equivalent_is_two_one_sided_tests(n):
    """At the margin where the greater of the two one-sided p is just 5 %."""
    generator = np.random.default_rng(n)
    ours, baseline = generator.normal(size=n), generator.normal(size=n)
    seeded = dict(enumerate(ours.tolist())), dict(enumerate(baseline.tolist()))

    def greater_p(margin):
        below = stats.ttest_rel(ours, baseline + margin, alternative="less").pvalue
        above = stats.ttest_rel(ours, baseline - margin, alternative="greater").pvalue
        return max(below, above)

    difference = paired(*seeded)
    half = stats.t.ppf(0.95, n - 1) * stats.sem(ours - baseline)
    margin = abs(difference.difference) + half
    assert greater_p(margin) == pytest.approx(0.05)
    assert verdict(*seeded, margin=margin * 1.001) == EQUIVALENT
    assert verdict(*seeded, margin=margin * 0.999) != EQUIVALENT


def test_a_difference_inside_the_margin_reads_equivalent_although_it_is_significant():
    ours, baseline = {0: 1.01, 1: 1.012, 2: 1.011}, {0: 1.0, 1: 1.0, 2: 1.0}
    assert verdict(ours, baseline) == WORSE
    assert verdict(ours, baseline, margin=0.1) == EQUIVALENT


def test_the_verdict_goes_by_the_corrected_p():
    found = paired({0: 1.0, 1: 1.1, 2: 0.9}, {0: 2.0, 1: 2.1, 2: 2.1})
    assert found.p < 0.05
    assert found.verdict(0.2, NO_MARGIN, higher_is_better=False) == UNDECIDED


def test_holm():
    """The example of Wikipedia's page on the method: only the smallest of four p is below 5 %."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    with_missing = holm([math.nan, 0.02, math.nan, 0.01])
    assert with_missing[1::2] == pytest.approx([0.02, 0.02])
    assert math.isnan(with_missing[0])
    assert holm([]) == []


def test_holm_keeps_the_rate_of_false_verdicts():
    """Of families of five tests without any effect, at most one in twenty has a corrected p below 5 %."""
    generator = np.random.default_rng(0)
    families = generator.uniform(size=(4000, 5))
    share = np.mean([min(holm(family.tolist())) < 0.05 for family in families])
    assert 0.04 < share < 0.06


def test_only_common_seeds_are_paired():
    result = paired({0: 1.0, 1: 2.0, 7: 99.0}, {1: 1.0, 0: 1.0, 8: -99.0})
    assert result.n == 2
    assert result.difference == 0.5


def test_equal_differences():
    same = paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0})
    assert (same.p, same.low, same.high) == (1.0, 0.0, 0.0)
    assert same.verdict(same.p, NO_MARGIN, higher_is_better=False) == UNDECIDED
    assert same.verdict(same.p, 0.1, higher_is_better=False) == EQUIVALENT
    constant = paired({0: 1.5, 1: 2.5}, {0: 1.0, 1: 2.0})
    assert (constant.p, constant.low, constant.high) == (0.0, 0.5, 0.5)
    assert constant.verdict(constant.p, NO_MARGIN, higher_is_better=False) == WORSE


def test_too_few_seeds_for_a_verdict():
    one = paired({0: 1.0}, {0: 2.0})
    assert (one.n, one.difference) == (1, -1.0)
    assert math.isnan(one.p)
    assert verdict({0: 1.0}, {0: 2.0}, margin=9.0) == ONE_SEED
    assert verdict({0: 1.0}, {1: 2.0}) == NOT_RUN
    assert verdict({}, {0: 2.0}) == NOT_RUN


@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_a_diverged_seed_is_named_and_prevents_a_verdict(lost):
    result = paired({0: 1.0, 1: lost, 2: 1.0}, {0: 2.0, 1: 2.0, 2: 2.1})
    assert result.diverged == (1,)
    assert result.verdict(result.p, 9.0, higher_is_better=False) == "diverged (seed 1): no verdict"
    assert math.isnan(result.difference)
    summary = summarize([1.0, lost, 3.0])
    assert (summary.mean, summary.n, summary.diverged) == (2.0, 2, 1)


def test_summary():
    values = [0.3, 0.1, 0.7]
    summary = summarize(values)
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.std == pytest.approx(np.std(values, ddof=1))
    assert math.isnan(summarize([1.0]).std)
    assert math.isnan(summarize([]).mean)


def test_a_baseline_of_zero_has_no_relative_change():
    assert math.isnan(paired({0: 1.0, 1: 2.0}, {0: 0.0, 1: 0.0}).relative)
