"""A curve has few points, runs from first to last step, and is the same after resuming."""

import math

import pytest
from pytorch_lightning import LightningModule, Trainer

from kiti.training.callbacks.curves import POINTS, Curves


def logged(curves: Curves, steps: range) -> None:
    for step in steps:
        curves.logger.log_metrics({"train/loss": 1 / (1 + step), "epoch": step // 10}, step=step)


@pytest.mark.parametrize("steps", [1, 49, 50, 51, 999, 1001, 40_000])
def test_curves_run_from_the_first_step_to_the_last(steps: int) -> None:
    curves = Curves()
    logged(curves, range(steps))
    [(name, curve)] = curves.curves().items()
    assert name == "train/loss"
    assert len(curve.steps) == len(curve.values) <= POINTS
    assert len(curve.steps) >= min(POINTS, steps) // 2
    assert curve.steps[0] == 0
    assert curve.steps[-1] >= steps - 1 - steps // 500, "at most one point dropped before the end"
    assert curve.values == pytest.approx([1 / (1 + step) for step in curve.steps], rel=1e-5)
    gaps = [after - before for before, after in zip(curve.steps, curve.steps[1:], strict=False)]
    assert not gaps or max(gaps) <= 2 * max(1, steps / POINTS) + 1


@pytest.mark.parametrize("stop", [10, 1500, 2500])
def test_a_resumed_run_has_the_curve_of_an_uninterrupted_one(stop: int) -> None:
    uninterrupted, first, second = Curves(), Curves(), Curves()
    logged(uninterrupted, range(3000))
    logged(first, range(stop))
    second.load_state_dict(first.state_dict())
    logged(second, range(stop, 3000))
    assert second.curves() == uninterrupted.curves()


def test_test_metrics_are_left_out() -> None:
    curves = Curves()
    logged(curves, range(3))
    curves.on_test_start(Trainer(logger=False, enable_checkpointing=False), LightningModule())
    curves.logger.log_metrics({"test/mse": 1.0}, step=3)
    assert set(curves.curves()) == {"train/loss"}


def test_a_diverged_curve_shows_where_it_diverged() -> None:
    curves = Curves()
    curves.logger.log_metrics({"train/loss": 1.0}, step=0)
    curves.logger.log_metrics({"train/loss": math.nan}, step=1)
    assert math.isnan(curves.curves()["train/loss"].values[1])
