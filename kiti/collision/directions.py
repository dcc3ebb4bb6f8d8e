"""The randomness of a collision: one seed per call, which determines every n_ij = -n_ji."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kiti.collision.library import library, operator

_MASK = (1 << 64) - 1


def draw_seed(generator: torch.Generator | None) -> Int[Tensor, ""]:
    """The only random number a collision draws from `generator` (None: torch's default CPU generator), on the CPU."""
    if generator is None:
        return torch.randint(2**63 - 1, (), device="cpu")  # whatever torch.set_default_device says
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


def all_directions(seed: Int[Tensor, ""], like: Float[Tensor, "S N N heads"]) -> Float[Tensor, "S N N heads"]:
    """n_ij of every pair, uniform on the unit sphere: one draw per unordered pair, negated in the lower triangle.

    `literal` uses these directions; the fused forms draw others from the same seed, pair by pair (`philox.py`). An
    operator, since torch.compile and torch.func cannot look into a generator.
    """
    return torch.ops.kiti.directions.default(seed, like.shape, like.dtype, like.device)


@operator
def _directions(seed: Tensor, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    generator = torch.Generator(device).manual_seed(int(seed))
    normal = torch.randn(shape, generator=generator, dtype=dtype, device=device)
    if shape[-1] == 1:
        unit = torch.where(normal < 0, -1.0, 1.0).to(dtype)
    else:
        length = normal.square().sum(-1, keepdim=True).sqrt_()  # vector_norm is ten times slower over a short dim
        unit = normal.div_(length.clamp_min_(torch.finfo(dtype).tiny))
    upper = torch.ones(shape[1:3], dtype=torch.bool, device=device).triu(1)[:, :, None]
    n = torch.where(upper, unit, 0)
    return n - n.transpose(1, 2)


@torch.library.register_fake("kiti::directions", lib=library)
def _(seed: Tensor, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    return seed.new_empty(shape, dtype=dtype, device=device)


@torch.library.register_vmap("kiti::directions", lib=library)
def _(
    info: Any, in_dims: Any, seed: Tensor, shape: Sequence[int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, int]:
    samples = info.batch_size
    n = torch.ops.kiti.directions.default(seed[0], (samples * shape[0], *shape[1:]), dtype, device)
    return n.unflatten(0, (samples, shape[0])), 0
