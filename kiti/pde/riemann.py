"""The Riemann problem of the Euler equations: exact in one dimension, at a wall, and HLLC's flux through an edge."""

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

    Raises ValueError for density or pressure that is not positive, and where a vacuum would form.
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


def wall_pressure(
    rho: Float64[Tensor, "*shape"], into_wall: Float64[Tensor, "*shape"], p: Float64[Tensor, "*shape"]
) -> Float64[Tensor, "*shape"]:
    """p* at a slip wall, exact: the Riemann problem of a state with its mirror image, in closed form; 0 in a vacuum.

    Args:
        rho, p: of the gas at the wall.
        into_wall: its velocity normal to the wall, positive towards it.
    """
    c = (GAMMA * p / rho).sqrt()
    expansion = (1 + (GAMMA - 1) / 2 * into_wall.clamp(max=0) / c).clamp(min=0)
    toward = into_wall.clamp(min=0)
    a = rho * toward * (GAMMA + 1) / 4
    return p * expansion ** (2 * GAMMA / (GAMMA - 1)) + toward * (a + (a * a + rho * GAMMA * p).sqrt())


def hllc(
    left: Float64[Tensor, "*#shape 4"], right: Float64[Tensor, "*#shape 4"], normal: Float64[Tensor, "*#shape 2"]
) -> Float64[Tensor, "*#shape 4"]:
    """Flux of (ρ, ρu, ρv, E) per length and time through an edge from `left` to `right`, by HLLC.

    The wave speeds are bounded by both sides and by Roe's average (Einfeldt, Batten), which keeps density and
    pressure positive; a contact or shear wave at rest is kept exactly.

    Args:
        left, right: (ρ, u, v, p), positive ρ and p.
        normal: unit normal that points from left to right; its shape may broadcast.
    """
    nx, ny = normal.unbind(-1)
    (rho_l, u_l, v_l, p_l), (rho_r, u_r, v_r, p_r) = left.unbind(-1), right.unbind(-1)
    un_l, un_r = u_l * nx + v_l * ny, u_r * nx + v_r * ny
    cc_l, cc_r = GAMMA * p_l / rho_l, GAMMA * p_r / rho_r

    # Roe's velocity and speed of sound; the jumps in velocity enter the latter, as total enthalpy would have them.
    root_l, root_r = rho_l.sqrt(), rho_r.sqrt()
    share = root_r / (root_l + root_r)
    jump_squared = (u_r - u_l) ** 2 + (v_r - v_l) ** 2
    un = un_l + share * (un_r - un_l)
    c = (cc_l + share * (cc_r - cc_l) + (GAMMA - 1) / 2 * share * (1 - share) * jump_squared).sqrt()
    slow = torch.minimum(un_l - cc_l.sqrt(), un - c)
    fast = torch.maximum(un_r + cc_r.sqrt(), un + c)

    mass_l, mass_r = rho_l * (slow - un_l), rho_r * (fast - un_r)
    contact = (p_r - p_l + mass_l * un_l - mass_r * un_r) / (mass_l - mass_r)

    upwind = contact >= 0
    rho, u, v, p, un, wave, mass = (
        torch.where(upwind, a, b)
        for a, b in (
            (rho_l, rho_r), (u_l, u_r), (v_l, v_r), (p_l, p_r), (un_l, un_r), (slow, fast), (mass_l, mass_r)
        )
    )  # fmt: skip
    energy = p / (GAMMA - 1) + rho * (u * u + v * v) / 2
    # Where even the wave on the upwind side moves downwind the flux is that side's own: `crossed` is 0.
    crossed = torch.where(upwind, slow.clamp(max=0), fast.clamp(min=0))
    gap = contact - un
    rho_star = mass / (wave - contact)
    d_rho = rho_star - rho
    d_energy = rho_star * (energy / rho + gap * (contact + p / mass)) - energy
    flow = rho * un
    return torch.stack(
        [
            flow + crossed * d_rho,
            flow * u + p * nx + crossed * (d_rho * u + rho_star * gap * nx),
            flow * v + p * ny + crossed * (d_rho * v + rho_star * gap * ny),
            un * (energy + p) + crossed * d_energy,
        ]
    ).movedim(0, -1)


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
