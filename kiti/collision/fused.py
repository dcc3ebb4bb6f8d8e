"""What a fused form of the collision gives, on whichever device."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Forward(NamedTuple):
    """x', and what the backward and the statistics need.

    k: accepted partners. v_max: max(V_r), as given or of each system. partner: with reduction "max_one" whom each
    particle would collide with, -1 for nobody; otherwise (S, 0). energy: Σ|v|² of a system before and after.
    """

    x_new: Float[Tensor, "S D"]
    k: Int[Tensor, "S N"]
    v_max: Float[Tensor, " S"]
    partner: Int[Tensor, "S M"]
    energy: Float[Tensor, "S 2"]
