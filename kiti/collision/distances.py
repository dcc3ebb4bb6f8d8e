"""Distances between particles: many at once and roughly by a Gram matrix, or a few exactly."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Entries of N x N matrices handled at once. 8 MB of float32 leave a core's second cache, but on a busy machine the
# threads' meeting after every operation costs more than that: fewer, larger blocks. A GPU wants more still.
_ENTRIES = {"cpu": 1 << 21}
_ENTRIES_ELSEWHERE = 1 << 24
# Numbers gathered at once for exact distances.
_CHUNK = 1 << 19


def entries(device: torch.device) -> int:
    """How many entries of pair matrices to hold at once on this device."""
    return _ENTRIES.get(device.type, _ENTRIES_ELSEWHERE)


def chunk(heads: int) -> int:
    """How many pairs to try exactly at once."""
    return max(1, _CHUNK // heads)


def block_size(points: Float[Tensor, "S N heads"]) -> int:
    """How many systems to look at together."""
    n = points.shape[1]
    each = 4 * n if points.shape[2] == 1 else n * n  # on a line a few numbers a particle are held, no matrix
    return max(1, entries(points.device) // each)


def distance(points: Float[Tensor, "M heads"], i: Int[Tensor, " P"], j: Int[Tensor, " P"]) -> Float[Tensor, " P"]:
    """|p_i - p_j| by the formula of `literal`, which decides at the threshold."""
    return (points[i] - points[j]).square_().sum(1).sqrt_()


def closeness(points: Float[Tensor, "B N heads"], top: int, bottom: int) -> tuple[Tensor, Float[Tensor, " B"]]:
    """-|p_i - p_j|²/2 of rows top…bottom against columns top…N as one product, and a bound of its error."""
    points = points - points.mean(1, keepdim=True)  # the error grows with the distance from the origin
    half = points.square().sum(2, keepdim=True).mul_(-0.5)
    one = torch.ones_like(half)
    left = torch.cat([points, half, one], 2)[:, top:bottom]
    right = torch.cat([points, one, half], 2)[:, top:]
    margin = -8 * (points.shape[2] + 8) * _product_eps(points.dtype) * half.amin((1, 2))
    return torch.bmm(left, right.transpose(1, 2)), margin


def max_distance(points: Float[Tensor, "B N heads"]) -> Float[Tensor, " B"]:
    """max |p_i - p_j| of each system, exactly: pairs that the Gram matrix cannot rule out are tried.

    NaN where a coordinate is not finite.
    """
    systems, n, heads = points.shape
    if heads == 1:
        return points.amax((1, 2)) - points.amin((1, 2))
    rows = max(1, entries(points.device) // n // systems)
    highest = torch.zeros(systems, dtype=points.dtype, device=points.device)
    flat, size = points.flatten(0, 1), chunk(heads)
    for top in range(0, n, rows):
        near, margin = closeness(points, top, min(top + rows, n))
        farthest = near.amin(2)
        bound = farthest.amin(1) + 2 * margin
        system, i = (~(farthest > bound[:, None])).nonzero(as_tuple=True)  # the few rows that may hold the maximum
        row, j = (~(near[system, i] > bound[system, None])).nonzero(as_tuple=True)
        system = system[row]
        i, j = system * n + top + i[row], system * n + top + j
        for s, a, b in zip(system.split(size), i.split(size), j.split(size), strict=True):
            highest.scatter_reduce_(0, s, distance(flat, a, b), "amax")
    return torch.where(points.isfinite().all(2).all(1), highest, torch.nan)


def max_distance_over_batch(points: Float[Tensor, "S N heads"], dtype: torch.dtype) -> Float[Tensor, ""]:
    """max |p_i - p_j| of all systems, in `dtype`."""
    blocks = points.split(block_size(points))
    return torch.stack([max_distance(block.to(dtype).contiguous()).amax() for block in blocks]).amax()


def _product_eps(dtype: torch.dtype) -> float:
    """Rounding of a matrix product, which for float32 a user may have lowered to TF32 or bfloat16."""
    if dtype == torch.float64:
        return torch.finfo(dtype).eps
    precision = torch.get_float32_matmul_precision()
    return {"highest": torch.finfo(torch.float32).eps, "high": 2.0**-10}.get(precision, 2.0**-7)
