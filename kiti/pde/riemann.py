"""The Riemann problem of the Euler equations: exact pressure at a wall, HLLC flux through an edge."""

import torch
from jaxtyping import Float64
from torch import Tensor

from kiti.pde.ideal_gas import GAMMA


def wall_pressure(
    rho: Float64[Tensor, "*shape"], into_wall: Float64[Tensor, "*shape"], p: Float64[Tensor, "*shape"]
) -> Float64[Tensor, "*shape"]:
    """Exact p* at a slip wall: the Riemann problem of a state and its mirror image in closed form; 0 in a vacuum.

    Args:
        rho, p: of the gas at the wall.
        into_wall: the gas velocity normal to the wall, positive towards it.
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

    # Roe's velocity and speed of sound; velocity jumps enter the latter, consistent with averaging total enthalpy.
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
    # If even the wave on the upwind side moves downwind, the flux is that of the upwind state: `crossed` is 0.
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
