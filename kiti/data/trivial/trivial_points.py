"""Predictors without a network of a function of points, for each replica on its own points."""

import torch
from jaxtyping import Float
from torch import Tensor

from kiti.data.trivial.ridge import Ridge


def predicted_points(
    x: Float[Tensor, "n R d"],
    y: Float[Tensor, "n R"],
    given: Float[Tensor, "m R d"],
    truth: Float[Tensor, "m R"],
) -> dict[str, tuple[Float[Tensor, "m R"], Float[Tensor, "m R"]]]:
    """The mean of the targets y, and ridge regression of y on x, at the points `given`; each beside the `truth`."""
    lines = [Ridge(x[:, r], y[:, r : r + 1]).predict(given[:, r])[:, 0] for r in range(y.shape[1])]
    return {
        "target_mean": (y.mean(0).expand_as(truth), truth),
        "ridge": (torch.stack(lines, dim=1).to(truth.dtype), truth),
    }
