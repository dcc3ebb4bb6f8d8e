"""The exact solution of the Riemann problem in one dimension, the reference for the solver's fluxes and flows."""

from math import sqrt

import torch
from jaxtyping import Float64
from scipy.optimize import brentq
from torch import Tensor

from kiti.pde.ideal_gas import GAMMA

State = tuple[float, float, float]
"""(ρ, u, p) on one side."""


def star_state(left: State, right: State) -> tuple[float, float]:
    """(p*, u*) between the two nonlinear waves (Toro, Riemann Solvers and Numerical Methods, 3rd ed., section 4.2).

    Raises ValueError if density or pressure is not positive or a vacuum would form.
    """
    for rho, u, p in (left, right):
        if not (rho > 0 and p > 0):
            raise ValueError(f"state (ρ, u, p) = {(rho, u, p)}: density and pressure must be positive")
    jump = right[1] - left[1]
    if jump >= 2 / (GAMMA - 1) * (_sound_speed(left) + _sound_speed(right)):
        raise ValueError(f"states {left} and {right} part so fast that a vacuum forms")

    def mismatch(p: float) -> float:
        return _velocity_change(p, left) + _velocity_change(p, right) + jump

    high = max(left[2], right[2])
    while mismatch(high) < 0:
        high *= 2
    p = brentq(mismatch, 0.0, high, xtol=1e-15 * min(left[2], right[2]), rtol=1e-14)
    return p, (left[1] + right[1] + _velocity_change(p, right) - _velocity_change(p, left)) / 2


def exact_riemann(left: State, right: State, speed: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape 3"]:
    """(ρ, u, p) at x / t = `speed` of the problem with `left` at x < 0 and `right` at x > 0; errors of star_state."""
    p, u = star_state(left, right)
    mirrored = (right[0], -right[1], right[2])
    from_left = _side(left, p, u, speed)
    from_right = _side(mirrored, p, -u, -speed) * speed.new_tensor([1.0, -1.0, 1.0])
    return torch.where((speed < u).unsqueeze(-1), from_left, from_right)


def _sound_speed(state: State) -> float:
    return sqrt(GAMMA * state[2] / state[0])


def _velocity_change(p: float, state: State) -> float:
    """f(p) of one wave, Toro (4.6) and (4.7): a shock where p is above the state's pressure, else a rarefaction."""
    rho, _, p0 = state
    if p > p0:
        return (p - p0) * sqrt(2 / ((GAMMA + 1) * rho) / (p + (GAMMA - 1) / (GAMMA + 1) * p0))
    return 2 * _sound_speed(state) / (GAMMA - 1) * ((p / p0) ** ((GAMMA - 1) / (2 * GAMMA)) - 1)


def _side(state: State, p_star: float, u_star: float, speed: Tensor) -> Tensor:
    """(ρ, u, p) left of the contact: the left state, its wave, and the state behind that wave, Toro section 4.5."""
    rho, u, p = state
    c = _sound_speed(state)
    before = speed.new_tensor([rho, u, p]).expand(*speed.shape, 3)
    ratio, weak = p_star / p, (GAMMA - 1) / (GAMMA + 1)
    if p_star > p:
        rho_star = rho * (ratio + weak) / (weak * ratio + 1)
        shock = u - c * sqrt((GAMMA + 1) / (2 * GAMMA) * ratio + (GAMMA - 1) / (2 * GAMMA))
        behind = speed.new_tensor([rho_star, u_star, p_star])
        return torch.where((speed < shock).unsqueeze(-1), before, behind)
    behind = speed.new_tensor([rho * ratio ** (1 / GAMMA), u_star, p_star])
    tail = u_star - c * ratio ** ((GAMMA - 1) / (2 * GAMMA))
    local_c = (2 / (GAMMA + 1) * c + weak * (u - speed)).clamp(min=0)
    inside = torch.stack(
        [
            rho * (local_c / c) ** (2 / (GAMMA - 1)),
            speed + local_c,
            p * (local_c / c) ** (2 * GAMMA / (GAMMA - 1)),
        ],
        dim=-1,
    )
    fan = torch.where((speed > tail).unsqueeze(-1), behind, inside)
    return torch.where((speed < u - c).unsqueeze(-1), before, fan)
