"""Features seen as particles, (..., D) <-> (systems, N, collision_heads)."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def to_particles(features: Float[Tensor, "*systems D"], heads: int, layout: str) -> Float[Tensor, "S N heads"]:
    """One system per row. `contiguous`: a particle is `heads` adjacent entries; `strided`: entries N apart."""
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
    """The dtype of distances and sums: float32 for half precision, otherwise the same."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
