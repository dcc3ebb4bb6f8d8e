"""Means, paired differences and verdicts, against scipy.stats."""

import math

import numpy as np
import pytest
from scipy import stats

from kiti.report.significance import BETTER, HIGHER, LOWER, NO_DIFFERENCE, NOT_RUN, ONE_SEED, WORSE, paired, summarize


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("shift", [0.0, 0.3, -2.0])
def test_paired_test_matches_scipy(n, shift):
    generator = np.random.default_rng(n)
    baseline = generator.normal(size=n)
    ours = baseline + shift + 0.2 * generator.normal(size=n)

    result = paired(dict(enumerate(ours.tolist())), dict(enumerate(baseline.tolist())), higher_is_better=False)

    test = stats.ttest_rel(ours, baseline)
    interval = stats.t.interval(0.95, n - 1, loc=np.mean(ours - baseline), scale=stats.sem(ours - baseline))
    assert result.n == n
    assert result.p == pytest.approx(test.pvalue, rel=1e-9)
    assert (result.low, result.high) == pytest.approx(interval, rel=1e-9)
    assert result.difference == pytest.approx(np.mean(ours - baseline), rel=1e-12)
    assert result.relative == pytest.approx(np.mean(ours - baseline) / abs(np.mean(baseline)), rel=1e-9)
    significant = test.pvalue < 0.05
    assert significant == (not result.low <= 0 <= result.high)
    assert result.verdict == ((WORSE if result.difference > 0 else BETTER) if significant else NO_DIFFERENCE)


def test_direction_of_better():
    low, high = {0: 1.0, 1: 1.1, 2: 0.9}, {0: 2.0, 1: 2.1, 2: 2.0}
    assert paired(low, high, higher_is_better=False).verdict == BETTER
    assert paired(low, high, higher_is_better=True).verdict == WORSE
    assert paired(high, low, higher_is_better=True).verdict == BETTER
    assert paired(low, high, higher_is_better=None).verdict == LOWER
    assert paired(high, low, higher_is_better=None).verdict == HIGHER


def test_only_common_seeds_are_paired():
    result = paired({0: 1.0, 1: 2.0, 7: 99.0}, {1: 1.0, 0: 1.0, 8: -99.0}, higher_is_better=False)
    assert result.n == 2
    assert result.difference == 0.5


def test_equal_differences():
    same = paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}, higher_is_better=False)
    assert (same.p, same.low, same.high, same.verdict) == (1.0, 0.0, 0.0, NO_DIFFERENCE)
    constant = paired({0: 1.5, 1: 2.5}, {0: 1.0, 1: 2.0}, higher_is_better=False)
    assert (constant.p, constant.low, constant.high, constant.verdict) == (0.0, 0.5, 0.5, WORSE)


def test_too_few_seeds_for_a_verdict():
    one = paired({0: 1.0}, {0: 2.0}, higher_is_better=False)
    assert (one.n, one.difference, one.verdict) == (1, -1.0, ONE_SEED)
    assert math.isnan(one.p)
    assert paired({0: 1.0}, {1: 2.0}, higher_is_better=False).verdict == NOT_RUN
    assert paired({}, {0: 2.0}, higher_is_better=False).verdict == NOT_RUN


@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_a_diverged_seed_is_named_and_prevents_a_verdict(lost):
    result = paired({0: 1.0, 1: lost, 2: 1.0}, {0: 2.0, 1: 2.0, 2: 2.1}, higher_is_better=False)
    assert result.diverged == (1,)
    assert result.verdict == "diverged (seed 1): no verdict"
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
    assert math.isnan(paired({0: 1.0, 1: 2.0}, {0: 0.0, 1: 0.0}, higher_is_better=False).relative)
