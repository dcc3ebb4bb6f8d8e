"""How a number of blocks is shared among corpora. Without torch."""

from collections.abc import Mapping
from math import floor, isfinite


def shared(number: int, weights: Mapping[str, float]) -> dict[str, int]:
    """`number` in proportion to the weights, in whole numbers with this sum: the largest remainders are rounded up.

    ValueError: a weight is negative or not finite, or all are 0.
    """
    for name, weight in weights.items():
        if not isfinite(weight) or weight < 0:
            raise ValueError(f"corpora.{name}.weight={weight} is not a number of at least 0")
    total = sum(weights.values())
    if not 0 < total < float("inf"):
        raise ValueError("the weights of the corpora have no positive sum; give one of them a positive weight")
    exact = {name: number * weight / total for name, weight in weights.items()}
    found = {name: floor(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in by_remainder[: number - sum(found.values())]:
        found[name] += 1
    return found
