"""What printed accuracies say by themselves: the size of a gain in units of its standard error.

Standard errors of two models on the same test items are combined here as if the items were different ones. A pairing by
item, for which the papers print too little, would change every z: right answers on the same items are correlated, and
the error of a difference shrinks as they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

TEST_ITEMS: Mapping[str, int] = MappingProxyType(
    {
        "MMLU": 14_042,
        "ARC_C": 1_172,
        "ARC_E": 2_376,
        "HellaSwag": 10_042,
        "WinoGrande": 1_267,
        "PIQA": 1_838,
        "OBQA": 500,
    }
)
"""Items that each benchmark is scored on: the test set, or where its answers are withheld the validation set."""


@dataclass(frozen=True)
class Gain:
    """An improvement, positive if ours is better, and its standard error, both in the printed unit."""

    gain: float
    error: float

    @property
    def z(self) -> float:
        """gain / error."""
        return self.gain / self.error


def gain(ours: float, our_error: float, baseline: float, baseline_error: float) -> Gain:
    """ours - baseline with the error √(se₁² + se₂²), for a value of which more is better."""
    return Gain(ours - baseline, math.hypot(our_error, baseline_error))


def pooled(gains: Sequence[Gain]) -> Gain:
    """The mean of independent gains, with the error √(Σ se²) / n. ValueError if there are none."""
    if not gains:
        raise ValueError("no gains to pool")
    count = len(gains)
    return Gain(math.fsum(one.gain for one in gains) / count, math.hypot(*(one.error for one in gains)) / count)


def stouffer(gains: Sequence[Gain]) -> float:
    """Stouffer's z of independent gains, Σ z / √n. ValueError if there are none."""
    if not gains:
        raise ValueError("no gains to combine")
    return math.fsum(one.z for one in gains) / math.sqrt(len(gains))


def binomial_error(accuracy: float, items: int) -> float:
    """The standard error √(p (1 - p) / n) of a share `accuracy` of right answers, a fraction, on `items` items."""
    if not 0 <= accuracy <= 1:
        raise ValueError(f"{accuracy} is not an accuracy between 0 and 1")
    return math.sqrt(accuracy * (1 - accuracy) / items)


def accuracy_of_error(error: float, items: int) -> float:
    """The accuracy below one half whose binomial error on `items` items is `error`; both fractions.

    ValueError if no accuracy has an error that large.
    """
    variance = items * error**2
    if variance > 1 / 4:
        raise ValueError(f"on {items} items no accuracy has a standard error of {error}")
    return (1 - math.sqrt(1 - 4 * variance)) / 2
