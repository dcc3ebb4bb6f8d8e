"""What a fused form of the collision gives, on whichever device."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Forward(NamedTuple):
    """x', and what the backward and the statistics need.

    k: accepted partners. v_max: max(V_r), as given or of each system. kept: what spares the same backend's backward
    a search. energy: Σ|v|² of a system before and after.
    """

    x_new: Float[Tensor, "S D"]
    k: Int[Tensor, "S N"]
    v_max: Float[Tensor, " S"]
    kept: Int[Tensor, "S M"]
    energy: Float[Tensor, "S 2"]
