"""Which rows of a large matrix collide: the search for KO, which has few particles of many dimensions.

Matrix products give all distances at once, up to rounding. A pair whose score could be on either side of the threshold
within the rounding error is checked again by the formula itself, so that the accepted pairs are those of `literal`.
Memory: parts of N x N matrices.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Entries of N x N matrices processed at once, and numbers gathered at once for exact distances.
_ENTRIES = 1 << 23
_GATHERED = 1 << 22

Pairs = tuple[Int[Tensor, " P"], Int[Tensor, " P"]]


def accepted_pairs(x: Float[Tensor, "N D"], v: Float[Tensor, "N D"], threshold: float) -> Pairs:
    """i < j with V_r exp(-X_r) / max(V_r) > threshold, in order; none if v has a NaN. x, v: same dtype."""
    n = len(x)
    none = torch.zeros(0, dtype=torch.long, device=x.device)
    v_max = max_distance(v) if n > 1 else x.new_zeros(())
    if threshold >= 1 or not v_max > 0:
        return none, none
    found = [(none, none)]
    rows = max(1, _ENTRIES // n)
    for top in range(0, n - 1, rows):
        near_low, near_high = _square_distances(x, top, top + rows)
        fast_low, fast_high = _square_distances(v, top, top + rows)
        highest = fast_high.sqrt_() * near_low.sqrt_().neg_().exp_() / v_max
        lowest = fast_low.sqrt_() * near_high.sqrt_().neg_().exp_() / v_max
        slack = 16 * torch.finfo(x.dtype).eps
        possible = (~(highest * (1 + slack) < threshold)).triu_(1)  # not "≥": a NaN is checked exactly
        certain = (lowest * (1 - slack) > threshold).logical_and_(possible)
        first, second = possible.nonzero(as_tuple=True)
        tried = (~certain[first, second]).nonzero()[:, 0]
        keep = torch.ones_like(first, dtype=torch.bool)
        keep[tried] = _accepted(x, v, first[tried] + top, second[tried] + top, threshold, v_max)
        found.append((first[keep] + top, second[keep] + top))
    return torch.cat([first for first, _ in found]), torch.cat([second for _, second in found])


def max_distance(points: Float[Tensor, "N D"]) -> Float[Tensor, ""]:
    """max |p_i - p_j|; NaN if a coordinate is not finite."""
    if not points.isfinite().all():
        return points.new_tensor(math.nan)
    highest = points.new_zeros(())
    rows = max(1, _ENTRIES // len(points))
    for top in range(0, len(points) - 1, rows):
        low, high = _square_distances(points, top, top + rows)
        first, second = (high >= low.amax()).nonzero(as_tuple=True)
        for i, j in chunks(first + top, second + top, points.shape[1]):
            highest = torch.maximum(highest, _distance(points, i, j).amax())
    return highest


def _square_distances(points: Float[Tensor, "N D"], top: int, bottom: int) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds of |p_i - p_j|² for rows top … bottom against columns top … N."""
    points = points - points.mean(0)  # the error grows with the distance from the origin
    half = points.square().sum(1).mul_(-0.5)
    near = points[top:bottom] @ points[top:].T
    near.add_(half[top:bottom, None]).add_(half[None, top:]).mul_(-2)
    margin = -16 * (points.shape[1] + 8) * _product_eps(points.dtype) * half[top:].amin()
    return (near - margin).clamp_min_(0), near.add_(margin).clamp_min_(0)


def _accepted(x: Tensor, v: Tensor, first: Tensor, second: Tensor, threshold: float, v_max: Tensor) -> Tensor:
    """Eq 4 of listed pairs, by the formula of `literal`."""
    parts = [
        _distance(v, i, j) * torch.exp(-_distance(x, i, j)) / v_max > threshold
        for i, j in chunks(first, second, x.shape[1])
    ]
    return torch.cat(parts) if parts else torch.zeros_like(first, dtype=torch.bool)


def _distance(points: Tensor, i: Tensor, j: Tensor) -> Float[Tensor, " P"]:
    return (points[i] - points[j]).square_().sum(1).sqrt_()


def chunks(first: Int[Tensor, " P"], second: Int[Tensor, " P"], d: int) -> list[tuple[Tensor, Tensor]]:
    """Listed pairs in chunks small enough to gather d numbers for each pair."""
    size = max(1, _GATHERED // max(1, d))
    return [] if not len(first) else list(zip(first.split(size), second.split(size), strict=True))


def _product_eps(dtype: torch.dtype) -> float:
    """Rounding of a matrix product; for float32 the user may have lowered it to TF32 or bfloat16."""
    if dtype == torch.float64:
        return torch.finfo(dtype).eps
    precision = torch.get_float32_matmul_precision()
    return {"highest": torch.finfo(torch.float32).eps, "high": 2.0**-10}.get(precision, 2.0**-7)
