"""The result of a fused collision, on any device."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Forward(NamedTuple):
    """x', and the values that the backward and the statistics need.

    k: accepted partners. v_max: max(V_r), as given or of each system. kept: spares the backward of the same backend
    a search. energy: Σ|v|² of a system before and after.
    """

    x_new: Float[Tensor, "S D"]
    k: Int[Tensor, "S N"]
    v_max: Float[Tensor, " S"]
    kept: Int[Tensor, "S M"]
    energy: Float[Tensor, "S 2"]
