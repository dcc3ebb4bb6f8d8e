"""Predictors of later frames on the torus from earlier ones, without a network."""

from math import exp, pi

import torch
from jaxtyping import Float
from torch import Tensor

from kiti.data.trivial.interpolation import on_grid
from kiti.data.trivial.ridge import Ridge
from kiti.pde.navier_stokes_solver import paper_forcing

Frames = Float[Tensor, "_ _ _ _"]
"""(samples, frames, S, S), one time unit apart."""


def predicted_frames(train: tuple[Frames, Frames], given: Frames) -> dict[str, Frames]:
    """The frames after `given`, by predictor.

    - `persistence`: the last given frame, repeated;
    - `extrapolation`: the line through the last two given frames; not there if only one is given;
    - `target_mean`: the mean of the training targets, at each time, interpolated to the grid of `given`;
    - `ridge`: ridge regression of all later frames on all given ones, at once.

    The regression is fitted on the training grid. A finer grid contains its points, so the given frames are read
    there, as the training frames were. What is predicted is the change since the last given frame: it is interpolated
    to the finer grid and added to that frame. So what the training grid does not show stays as it was.
    """
    inputs, targets = train
    later, own, points = targets.shape[1], targets.shape[-1], given.shape[-1]
    last = given[:, -1:]  # (n, 1, points, points)
    found = {"persistence": last.expand(-1, later, -1, -1)}
    if given.shape[1] > 1:
        ahead = torch.arange(1, later + 1, dtype=given.dtype)[:, None, None]
        found["extrapolation"] = last + ahead * (last - given[:, -2:-1])
    mean = on_grid(targets.mean(0), points, [1, 2])
    found["target_mean"] = mean.expand(len(given), -1, -1, -1)
    here = on_grid(given, own, [2, 3])
    change = Ridge(inputs.flatten(1), (targets - inputs[:, -1:]).flatten(1)).predict(here.flatten(1))
    change = change.to(given.dtype).unflatten(1, (later, own, own))
    found["ridge"] = last + on_grid(change, points, [2, 3])
    return found


def laminar_response(given: Frames, later: int, viscosity: float) -> Frames:
    """`later` frames in which the forcing's own mode evolves as in a laminar flow, and the rest stays as it was last.

    F.2's forcing f = 0.1 (sin 2π(x1 + x2) + cos 2π(x1 + x2)) depends on x1 + x2 alone. A vorticity that does so too has
    a velocity along the lines of constant x1 + x2, so u·∇w = 0, and w_t = ν Δw + f is linear:

        w(T + τ) = e^(−λτ) w(T) + (1 − e^(−λτ)) / λ f,   λ = ν (2π)² (1² + 1²) = 8π² ν.

    Here w(T) is the part of the last given frame along sin 2π(x1 + x2) and cos 2π(x1 + x2).
    """
    points = given.shape[-1]
    last, forcing = given[:, -1:].double(), paper_forcing(points)
    x = torch.arange(points, dtype=torch.float64) / points
    angle = 2 * pi * (x[:, None] + x)
    own = sum(2 * (last * wave).mean((2, 3), keepdim=True) * wave for wave in (angle.sin(), angle.cos()))
    rate = 8 * pi**2 * viscosity
    frames = []
    for ahead in range(1, later + 1):
        kept = exp(-rate * ahead)
        frames.append(last - own + kept * own + (1 - kept) / rate * forcing)
    return torch.cat(frames, dim=1).to(given.dtype)
