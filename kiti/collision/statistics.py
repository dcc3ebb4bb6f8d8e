"""Statistics of a collision."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Collisions(NamedTuple):
    """Two detached scalars on the device of the features.

    `partners`: mean number of accepted partners per particle, 2·pairs / (systems·N).
    `energy_ratio`: Σ|v'|² / Σ|v|² over all particles; 1 if every v is zero, not finite if some v is not.
    """

    partners: Float[Tensor, ""]
    energy_ratio: Float[Tensor, ""]


def collisions(partners: Tensor, energy_before: Tensor, energy_after: Tensor) -> Collisions:
    """Collect the two, with 0/0 as 1: nothing moved, so nothing changed."""
    ratio = torch.where(energy_before == 0, 1, energy_after / energy_before)
    return Collisions(partners.detach(), ratio.detach())
