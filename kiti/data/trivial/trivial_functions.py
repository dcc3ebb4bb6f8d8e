"""Predictors of u(·, t) from u(·, 0), without a network."""

from jaxtyping import Float
from torch import Tensor

from kiti.data.trivial.interpolation import on_grid, shifted
from kiti.data.trivial.ridge import Ridge

Functions = Float[Tensor, "_ _"]
Pair = tuple[Functions, Functions]


def predicted_functions(train: Pair, given: Functions, time: float) -> dict[str, Functions]:
    """u(·, time) from `given`, by predictor. Those that are fitted work on the training grid; if `given` has another
    one, it is interpolated there, and the prediction back.

    - `persistence`: the given function itself;
    - `input_mean`: its mean over x, which Burgers' equation conserves;
    - `target_mean`: the mean of the training targets;
    - `ridge`: ridge regression of the target on the given function;
    - `moving_ridge`: the same in the frame that moves with the mean m of the given function. As
      u(x, t) = m + w(x − m t, t), where w solves the same equation from u(·, 0) − m, it is the regression of w(·, t) on
      w(·, 0).
    """
    inputs, targets = train
    own, points = targets.shape[1], given.shape[1]
    here = on_grid(given, own, [1])
    means, mean = inputs.mean(1, keepdim=True), given.mean(1, keepdim=True)

    at_rest = shifted(targets, -time * means[:, 0]) - means
    waves = Ridge(inputs - means, at_rest).predict(here - mean)
    moving = shifted(waves, time * mean[:, 0]) + mean
    fitted = {
        "target_mean": targets.mean(0, keepdim=True).expand(len(given), -1),
        "ridge": Ridge(inputs, targets).predict(here),
        "moving_ridge": moving,
    }
    return {
        "persistence": given,
        "input_mean": mean.expand_as(given),
        **{name: on_grid(found, points, [1]).to(given.dtype) for name, found in fitted.items()},
    }
