"""A perfect gas in two dimensions: conserved and primitive variables, and the free stream.

Units: chord, free-stream density and free-stream speed of sound; hence the free stream has ρ = 1, c = 1 and p = 1/γ.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

GAMMA = 1.4


def to_conserved(primitive: Float64[Tensor, "*shape 4"]) -> Float64[Tensor, "*shape 4"]:
    """(ρ, u, v, p) to (ρ, ρu, ρv, E), E = p / (γ − 1) + ρ (u² + v²) / 2. Each component of the result is contiguous."""
    rho, u, v, p = primitive.unbind(-1)
    energy = p / (GAMMA - 1) + rho * (u * u + v * v) / 2
    return torch.stack([rho, rho * u, rho * v, energy]).movedim(0, -1)


def to_primitive(conserved: Float64[Tensor, "*shape 4"]) -> Float64[Tensor, "*shape 4"]:
    """(ρ, ρu, ρv, E) to (ρ, u, v, p). Each component of the result is contiguous, as the solver needs it."""
    rho, momentum_x, momentum_y, energy = conserved.unbind(-1)
    u, v = momentum_x / rho, momentum_y / rho
    p = (GAMMA - 1) * (energy - (momentum_x * u + momentum_y * v) / 2)
    return torch.stack([rho, u, v, p]).movedim(0, -1)


def free_stream(mach: Float64[Tensor, " batch"], degrees: Float64[Tensor, " batch"]) -> Float64[Tensor, "batch 4"]:
    """(ρ, u, v, p) = (1, M cos α, M sin α, 1/γ) for Mach number M, angle of attack α in degrees, nose-up positive."""
    angle = torch.deg2rad(degrees)
    one = torch.ones_like(mach)
    return torch.stack([one, mach * angle.cos(), mach * angle.sin(), one / GAMMA], dim=-1)
