"""Pairs that choose each other (`reduction="max_one"`).

Pairs are strictly ordered, by higher score and then by lower (i, j), so that each particle has one best pair.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def mutual_best(
    first: Int[Tensor, " P"], second: Int[Tensor, " P"], score: Float[Tensor, " P"], particles: int
) -> Bool[Tensor, " P"]:
    """Which pairs are the best of both their particles."""
    for_first, for_second = _best(first, second, score, particles)
    return for_first & for_second


def best_of_either(
    first: Int[Tensor, " P"], second: Int[Tensor, " P"], score: Float[Tensor, " P"], particles: int
) -> Bool[Tensor, " P"]:
    """Which pairs are the best of at least one of their particles; the others can never be mutual."""
    for_first, for_second = _best(first, second, score, particles)
    return for_first | for_second


def _best(
    first: Int[Tensor, " P"], second: Int[Tensor, " P"], score: Float[Tensor, " P"], particles: int
) -> tuple[Bool[Tensor, " P"], Bool[Tensor, " P"]]:
    highest = torch.full((particles,), -torch.inf, dtype=score.dtype, device=score.device)
    for end in (first, second):
        highest.scatter_reduce_(0, end, score, "amax")
    order = first * particles + second  # lower (i, j) first
    leader = torch.full((particles,), torch.iinfo(order.dtype).max, device=score.device)
    tied = [score == highest[end] for end in (first, second)]
    for end, tie in zip((first, second), tied, strict=True):
        leader.scatter_reduce_(0, end[tie], order[tie], "amin")
    return tied[0] & (order == leader[first]), tied[1] & (order == leader[second])
