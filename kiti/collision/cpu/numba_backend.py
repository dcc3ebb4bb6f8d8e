"""The collision on the CPU: compiled loops, bounded memory, as many threads as torch uses.

S systems of N = D / heads particles; features are contiguous (S, D). Half precision is computed in float32.
"""

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kiti.collision.cpu import numba_loops
from kiti.collision.cpu.numba_search import Physics
from kiti.collision.cpu.numba_sums import add_pairs
from kiti.collision.cpu.numba_threads import each
from kiti.collision.fused import Forward
from kiti.collision.particles import accumulation_dtype
from kiti.collision.rules import Rules

# Work a thread takes at a time, in features; each possible pair counts as a quarter of one. Less is not worth waking a
# second thread.
_SHARE = 1 << 15
# Parts of a sum over listed pairs, fixed so that its rounding does not depend on the number of threads.
_PARTS = 4


def kept_width(n: int | torch.SymInt, reduction: str) -> int | torch.SymInt:
    """Width of `Forward.kept` for N particles: room for N pairs, whatever the reduction."""
    return 2 * n


def max_speed(v: Float[Tensor, "S D"], heads: int, strided: bool) -> Float[Tensor, " S"]:
    """max |v_i - v_j| of each system; NaN if a velocity is not finite."""
    particles = _numbers(v, heads, strided)
    v_max = np.zeros(len(particles), particles.dtype)
    if particles.size:
        _share(particles.shape, heads, numba_loops.max_speed, particles, heads, _slack(particles.dtype), v_max)
    return torch.from_numpy(v_max)


def forward(
    x: Float[Tensor, "S D"],
    v: Float[Tensor, "S D"],
    rules: Rules,
    seed: int,
    directions: Float[Tensor, "S N N heads"] | None,
    v_max: Float[Tensor, " S"] | None,
) -> Forward:
    """Algorithm 1; if `directions` is None they are drawn from `seed`, if `v_max` is None each system has its own."""
    heads, strided = rules.collision_heads, rules.layout == "strided"
    n, mutual = x.shape[1] // heads, rules.reduction == "max_one"
    dtype, own = accumulation_dtype(x.dtype), v_max is None
    v_max = torch.zeros(len(x), dtype=dtype) if v_max is None else v_max.to(dtype).contiguous()
    k = torch.zeros(len(x), n, dtype=torch.int32)
    kept = torch.full((len(x), kept_width(n, rules.reduction)), -1, dtype=torch.int32)
    energy = torch.zeros(len(x), 2, dtype=dtype)
    if not x.numel():
        return Forward(torch.add(x, v, alpha=rules.dt), k, v_max, kept, energy)
    positions, velocities = _numbers(x, heads, strided), _numbers(v, heads, strided)
    whole = rules.dt == 1 and x.dtype == dtype  # otherwise untouched particles are rounded by torch
    out = _like(positions) if whole else _numbers(torch.add(x, v, alpha=rules.dt), heads, strided)
    _share(
        x.shape, heads, numba_loops.forward, positions, velocities, heads,
        _physics(rules, out.dtype), mutual, np.uint64(seed), _given(directions, out.dtype),
        own, v_max.numpy(), whole, out, k.numpy(), _pairs(kept), energy.numpy(),
    )  # fmt: skip
    # A particle without partners keeps the value of torch.add: float32 holds every half exactly.
    return Forward(_features(out, heads, strided).to(x.dtype), k, v_max, kept, energy)


def backward(
    grad: Float[Tensor, "S D"],
    x: Float[Tensor, "S D"],
    v: Float[Tensor, "S D"],
    rules: Rules,
    seed: int,
    directions: Float[Tensor, "S N N heads"] | None,
    k: Int[Tensor, "S N"],
    v_max: Float[Tensor, " S"],
    kept: Int[Tensor, "S M"],
) -> tuple[Float[Tensor, "S D"], Float[Tensor, "S D"]]:
    """The gradients of x and v, given that of x'; acceptance and directions are constants, recomputed here."""
    heads, strided = rules.collision_heads, rules.layout == "strided"
    dtype = accumulation_dtype(x.dtype)
    grads = _numbers(grad, heads, strided)
    grad_x, grad_v = _like(grads), _like(grads)
    if x.numel():
        _share(
            x.shape, heads, numba_loops.backward, grads, _numbers(x, heads, strided), _numbers(v, heads, strided),
            heads, _physics(rules, grads.dtype), np.uint64(seed), _given(directions, grads.dtype),
            v_max.to(dtype).contiguous().numpy(), k.contiguous().numpy(), _pairs(kept), grad_x, grad_v,
        )  # fmt: skip
    return _features(grad_x, heads, strided).to(x.dtype), _features(grad_v, heads, strided).to(x.dtype)


def kicks(
    v: Float[Tensor, "N D"],
    first: Int[Tensor, " P"],
    second: Int[Tensor, " P"],
    seed: int,
    directions: Float[Tensor, "N N D"] | None,
) -> Float[Tensor, "N D"]:
    """Σ dV_ij of each row over the listed pairs, first < second, without repeats; rows are one system's particles."""
    n, d = v.shape
    velocities = _numbers(v, d, strided=False).reshape(-1)
    kick = np.zeros((_PARTS, n * d), velocities.dtype)
    if not len(first) or not d:
        return torch.from_numpy(kick[0].reshape(n, d))
    pairs = torch.stack([first, second], 1).to(torch.int32).numpy()
    given = _given(None if directions is None else directions[None], velocities.dtype)
    nothing = np.zeros(0, velocities.dtype)

    def add(part: int) -> None:
        some = pairs[len(pairs) * part // _PARTS : len(pairs) * (part + 1) // _PARTS]
        k = np.zeros(n, np.int32)
        add_pairs(
            nothing, velocities, 0, d, some, len(some), np.uint64(seed), given, True, True, k, nothing, kick[part]
        )

    each(add, [(part,) for part in range(_PARTS)])
    return torch.from_numpy(kick.sum(0).reshape(n, d))


def _numbers(features: Tensor, heads: int, strided: bool) -> Any:
    """Features (S, D) as a contiguous numpy array in the precision of the sums, particle by particle."""
    features = features.detach()
    if strided and features.numel():
        features = features.unflatten(1, (heads, -1)).transpose(1, 2).flatten(1)
    return features.to(accumulation_dtype(features.dtype)).contiguous().numpy()


def _like(particles: Any) -> Any:
    """An array of the same kind, in memory from torch, whose allocator reuses freed blocks."""
    return torch.empty_like(torch.from_numpy(particles)).numpy()


def _features(particles: Any, heads: int, strided: bool) -> Tensor:
    """The inverse of `_numbers`, except for the precision."""
    features = torch.from_numpy(particles)
    if strided and features.numel():
        features = features.unflatten(1, (-1, heads)).transpose(1, 2).flatten(1)
    return features


def _pairs(kept: Tensor) -> Any:
    """The first N accepted pairs of each system, (S, N, 2), -1 if there are fewer."""
    return kept.contiguous().unflatten(1, (-1, 2)).numpy()


def _given(directions: Tensor | None, dtype: Any) -> Any:
    if directions is None:
        return np.zeros((0, 0, 0, 0), dtype)
    return directions.detach().contiguous().numpy().astype(dtype, copy=False)


def _slack(dtype: Any) -> Any:
    """The possible error of a bound, relative to the numbers it was computed from."""
    return dtype.type(64 * np.finfo(dtype).eps)


@functools.lru_cache(64)
def _physics(rules: Rules, dtype: Any) -> Physics:
    number = dtype.type
    radius = math.inf if rules.threshold <= 0 else -math.log(rules.threshold)
    return Physics(
        number(rules.threshold), number(radius), _slack(dtype), number(rules.dt), rules.position_update,
        rules.reduction == "mean", rules.pairing == "random", rules.terms != "kicks", rules.terms != "means",
    )  # fmt: skip


def _share(shape: tuple[int, ...], heads: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Call kernel(*arguments, begin, end) so that all systems are covered, in as many threads as torch uses."""
    systems, d = shape
    work = systems * d * (1 + d // heads // (4 * heads))
    parts = max(1, min(systems, 4 * torch.get_num_threads(), work // _SHARE))
    edges = [systems * part // parts for part in range(parts + 1)]
    each(kernel, [(*arguments, *edge) for edge in pairwise(edges)])
