"""The unit vectors n_ij = -n_ji of the collisions: given, or drawn anew from one seed.

Directions are never stored. Whoever needs them again, as the backward does, asks with the same key and gets
the same draw.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kiti.collision.rules import Rules

_MASK = (1 << 64) - 1


def draw_seed(generator: torch.Generator | None) -> int:
    """The one random number a collision takes from `generator` (None: torch's default CPU generator)."""
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**63 - 1, (), generator=generator, device=device))


def mix(*keys: int) -> int:
    """A seed from several numbers (splitmix64), well mixed in its low 32 bits, all that mt19937 seeds from."""
    state = 0
    for key in keys:
        state = (state + key + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


class Directions:
    """n_ij by pair, either looked up in `given` (S, N, N, heads) or drawn on `device` from `seed`."""

    def __init__(self, given: Tensor | None, seed: int, device: torch.device) -> None:
        self.given = given
        self.seed = seed
        self._generator = torch.Generator(device) if given is None else None

    def of_pairs(
        self,
        first: Int[Tensor, " P"],
        second: Int[Tensor, " P"],
        like: Float[Tensor, "P heads"],
        key: tuple[int, ...],
    ) -> Float[Tensor, "P heads"]:
        """n_ij of listed pairs, i = first and j = second, counted through all systems."""
        if self.given is not None:
            n = self.given.shape[1]
            return self.given[first // n, first % n, second % n].to(like.dtype)
        return _unit(self._normal(like.shape, like, key), dim=1)

    def of_tile(
        self, systems: slice, rows: slice, columns: slice, like: Float[Tensor, "heads b n m"], key: tuple[int, ...]
    ) -> Float[Tensor, "heads b n m"]:
        """n_ij of all i in `rows` and j in `columns`; only the part j > i is to be used."""
        if self.given is not None:
            return self.given[systems, rows, columns].permute(3, 0, 1, 2).to(like.dtype)
        return _unit(self._normal(like.shape, like, key), dim=0)

    def all_pairs(self, like: Float[Tensor, "S N N heads"]) -> Float[Tensor, "S N N heads"]:
        """Every n_ij: one draw per unordered pair, the lower triangle is minus the upper."""
        if self.given is not None:
            return self.given.to(like.dtype)
        normal = self._normal(like.shape, like, ())
        upper = torch.ones(like.shape[1:3], dtype=torch.bool, device=like.device).triu(1)[:, :, None]
        n = torch.where(upper, _unit(normal, dim=-1), 0)
        return n - n.transpose(1, 2)

    def _normal(self, shape: torch.Size, like: Tensor, key: tuple[int, ...]) -> Tensor:
        assert self._generator is not None
        self._generator.manual_seed(mix(self.seed, *key))
        device = self._generator.device
        return torch.randn(shape, generator=self._generator, device=device, dtype=like.dtype).to(like.device)


def directions_for(x: Tensor, rules: Rules, given: Tensor | None, seed: int) -> Directions:
    """The directions of a collision of features x (..., D); `given` is (..., N, N, heads) or None."""
    if given is not None:
        heads, n = rules.collision_heads, x.shape[-1] // rules.collision_heads
        given = given.detach().reshape(x.shape[:-1].numel(), n, n, heads)
    return Directions(given, seed, x.device)


def _unit(normal: Tensor, dim: int) -> Tensor:
    """Normalise to the sphere, on which an isotropic Gaussian is uniform; in one dimension the sphere is ±1."""
    if normal.shape[dim] == 1:
        return torch.where(normal < 0, -1.0, 1.0).to(normal.dtype)
    length = normal.square().sum(dim, keepdim=True).sqrt_()  # vector_norm is ten times slower over a short dim
    return normal.div_(length.clamp_min_(torch.finfo(normal.dtype).tiny))
