"""The randomness of a collision: one seed per call, which determines every n_ij = -n_ji."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_MASK = (1 << 64) - 1


def draw_seed(generator: torch.Generator | None) -> Int[Tensor, ""]:
    """The only random number a collision draws from `generator` (None: torch's default CPU generator), on the CPU."""
    if generator is None:
        return torch.randint(2**63 - 1, ())
    return torch.randint(2**63 - 1, (), generator=generator, device=generator.device).cpu()


def mix(*keys: int) -> int:
    """A seed from several numbers (splitmix64); its low 32 bits, all that mt19937 uses, are well mixed."""
    state = 0
    for key in keys:
        state = (state + key + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def all_directions(seed: int, like: Float[Tensor, "S N N heads"]) -> Float[Tensor, "S N N heads"]:
    """n_ij of every pair, uniform on the unit sphere: one draw per unordered pair, negated in the lower triangle.

    `literal` uses these directions; the fused forms draw others from the same seed, pair by pair (`philox.py`).
    """
    generator = torch.Generator(like.device).manual_seed(seed)
    normal = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
    if like.shape[-1] == 1:
        unit = torch.where(normal < 0, -1.0, 1.0).to(like.dtype)
    else:
        length = normal.square().sum(-1, keepdim=True).sqrt_()  # vector_norm is ten times slower over a short dim
        unit = normal.div_(length.clamp_min_(torch.finfo(like.dtype).tiny))
    upper = torch.ones(like.shape[1:3], dtype=torch.bool, device=like.device).triu(1)[:, :, None]
    n = torch.where(upper, unit, 0)
    return n - n.transpose(1, 2)
