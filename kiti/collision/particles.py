"""Features seen as particles, (..., D) <-> (systems, N, collision_heads)."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def to_particles(features: Float[Tensor, "*systems D"], heads: int, layout: str) -> Float[Tensor, "S N heads"]:
    """One system a row. `contiguous`: a particle is `heads` neighbours; `strided`: entries N apart."""
    systems, n = math.prod(features.shape[:-1]), features.shape[-1] // heads
    if layout == "strided":
        return features.reshape(systems, heads, n).transpose(1, 2)
    return features.reshape(systems, n, heads)


def from_particles(
    particles: Shaped[Tensor, "S N heads"], shape: Sequence[int], layout: str
) -> Shaped[Tensor, "*systems D"]:
    """The inverse of `to_particles`, to features of `shape`."""
    if layout == "strided":
        particles = particles.transpose(1, 2)
    return particles.reshape(shape)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Distances and sums of half precision are taken in float32; float32 and float64 stay."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
