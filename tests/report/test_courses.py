"""Curves over steps: read from a record, and where they first reach a value."""

import math

import numpy as np
import pytest
from record_cases import make_record

from kiti.report.courses import Course, course
from kiti.storage.records import Curve, RecordError

CURVES = {"val/loss": Curve([10, 30], [5.0, 2.0])}


def curve(*values, steps=None, **settings):
    steps = steps or [10 * (number + 1) for number in range(len(values))]
    return Course(np.array(steps, dtype=float), np.array(values, dtype=float), **settings)


def test_a_value_is_reached_between_two_points():
    falling = curve(5.0, 4.0, 2.0)
    assert falling.first(4.5) == pytest.approx(15)
    assert falling.first(3.0) == pytest.approx(25)
    assert falling.first(2.0) == 30, "a falling curve reaches its final value at its end, exactly"
    assert falling.first(6.0) == 10, "nothing is known before the first point"
    assert falling.first(1.9) == math.inf


def test_a_curve_with_noise_is_followed_by_its_running_minimum():
    noisy = curve(5.0, 3.0, 4.0, 2.9, 3.5)
    assert noisy.final == 3.5
    assert noisy.first(noisy.final) == pytest.approx(17.5), "before its end, so a ratio below 1 is no gain by itself"
    assert noisy.first(2.95) == pytest.approx(35), "from the minimum so far, 3 at 20 and at 30"


def test_more_may_be_better_and_the_final_value_a_mean():
    rising = curve(0.1, 0.5, 0.4, 0.6, higher_is_better=True, last=2)
    assert rising.final == pytest.approx(0.5)
    assert rising.first(0.3) == pytest.approx(15)
    assert rising.first(0.5) == 20
    assert rising.first(0.55) == pytest.approx(35)
    assert rising.first(0.7) == math.inf


def test_pace():
    assert curve(5.0, 4.0, 2.0).paced(4096).first(4.5) == pytest.approx(15 * 4096)


def test_a_record_holds_the_values_by_step():
    metrics = {"val/loss@100": 3.0, "val/loss@20": 4.0, "val/loss": 1.0, "val/loss@best": 2.0, "val/loss/a@30": 9.0}
    found = course(make_record(metrics=metrics), "val/loss", False, 1)
    assert found.places.tolist() == [20, 100]
    assert found.values.tolist() == [4, 3]
    assert (found.final, found.end, found.is_finite) == (3, 100, True)
    assert course(make_record(metrics=metrics, curves=CURVES), "val/loss", False, 1).values.tolist() == [4, 3]
    assert not course(make_record(metrics=metrics | {"val/loss@20": math.nan}), "val/loss", False, 1).is_finite


def test_without_them_it_is_the_curve_that_every_record_has():
    found = course(make_record(curves=CURVES), "val/loss", False, 1)
    assert (found.places.tolist(), found.values.tolist()) == ([10, 30], [5, 2])


@pytest.mark.parametrize(
    ("metrics", "last", "message"),
    [
        ({"val/loss@1": 1.0, "rho/a@2": 1.0}, 1, "no curve of 'val/los'; there are: lr, rho/a, val/loss"),
        ({"test/mse": 1.0}, 1, "there are: lr"),
        ({"val/los@1": 1.0}, 1, "the curve of 'val/los' has 1 values, at least 2 are needed"),
        ({"val/los@1": 1.0, "val/los@2": 1.0}, 3, "the curve of 'val/los' has 2 values, at least 3 are needed"),
    ],
)
def test_a_record_without_the_curve_is_named_in_one_line(metrics, last, message):
    with pytest.raises(RecordError) as error:
        course(make_record(3, metrics=metrics, curves={"lr": Curve([1], [0.1])}), "val/los", False, last)
    assert str(error.value).startswith("record 0123456789ab seed 3: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
