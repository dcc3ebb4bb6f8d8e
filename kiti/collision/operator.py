"""The fused collision as torch operators, `kiti::max_speed` and `kiti::collide`, with their gradient.

torch.compile sees them as single operations, autocast leaves them alone, and checkpointing repeats them exactly:
all randomness comes from the seed, a tensor. What runs inside is `cpu.py` or `gpu.py`.
"""

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kiti.collision import cpu, gpu
from kiti.collision.particles import accumulation_dtype
from kiti.collision.rules import Rules
from kiti.collision.statistics import Collisions, collisions

BACKENDS: dict[str, ModuleType] = {"numba": cpu, "triton": gpu}


def collide_fused(
    x: Float[Tensor, "*systems D"],
    v: Float[Tensor, "*systems D"],
    rules: Rules,
    given: Float[Tensor, "*systems N N heads"] | None,
    seed: Int[Tensor, ""],
    backend: str,
) -> tuple[Float[Tensor, "*systems D"], Collisions]:
    """x', and the statistics, by one of BACKENDS; `given` are the directions or None to draw them from `seed`."""
    d, heads = x.shape[-1], rules.collision_heads
    n = d // heads
    rows, speeds = x.reshape(-1, d) if d else x.flatten(0, -2), v.reshape(-1, d) if d else v.flatten(0, -2)
    directions = None if given is None else given.reshape(len(rows), n, n, heads)
    v_max = None
    if rules.max_over == "batch" and speeds.numel():
        v_max = _max_speed(speeds.detach(), heads, rules.layout == "strided", backend).amax().expand(len(rows))
    x_new, k, _, _, energy = _collide(
        rows, speeds, seed, directions, v_max, heads, rules.coll_coef, rules.dt, rules.layout, rules.position_update,
        rules.reduction, backend,
    )  # fmt: skip
    before, after = energy.detach().sum(0)
    partners = k.sum().to(energy.dtype) / max(k.numel(), 1)
    return x_new.view(x.shape), collisions(partners, before, after)


@torch.library.custom_op("kiti::max_speed", mutates_args=())
def _max_speed(v: Tensor, heads: int, strided: bool, backend: str) -> Tensor:
    return BACKENDS[backend].max_speed(v.contiguous(), heads, strided)


@_max_speed.register_fake
def _(v: Tensor, heads: int, strided: bool, backend: str) -> Tensor:
    return v.new_empty(v.shape[0], dtype=accumulation_dtype(v.dtype))


@torch.library.custom_op("kiti::collide", mutates_args=())
def _collide(
    x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, v_max: Tensor | None, collision_heads: int,
    coll_coef: float, dt: float, layout: str, position_update: bool, reduction: str, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """x', k, max(V_r), partner and energy as in `fused.Forward`."""
    rules = Rules(collision_heads, coll_coef, dt, layout, position_update, reduction)
    done = BACKENDS[backend].forward(x.contiguous(), v.contiguous(), rules, int(seed), directions, v_max)
    return (done.x_new, done.k, done.v_max.clone() if v_max is not None else done.v_max, done.partner, done.energy)


@_collide.register_fake
def _(
    x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, v_max: Tensor | None, collision_heads: int,
    coll_coef: float, dt: float, layout: str, position_update: bool, reduction: str, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    systems, n, dtype = x.shape[0], x.shape[1] // collision_heads, accumulation_dtype(x.dtype)
    return (
        x.new_empty(x.shape),
        x.new_empty(systems, n, dtype=torch.int32),
        x.new_empty(systems, dtype=dtype),
        x.new_empty(systems, n if reduction == "max_one" else 0, dtype=torch.int32),
        x.new_empty(systems, 2, dtype=dtype),
    )


@torch.library.custom_op("kiti::collide_backward", mutates_args=())
def _collide_backward(
    grad: Tensor, x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, k: Tensor, v_max: Tensor,
    partner: Tensor, collision_heads: int, coll_coef: float, dt: float, layout: str, position_update: bool,
    reduction: str, backend: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    rules = Rules(collision_heads, coll_coef, dt, layout, position_update, reduction)
    return BACKENDS[backend].backward(
        grad.contiguous(), x.contiguous(), v.contiguous(), rules, int(seed), directions, k, v_max, partner
    )


@_collide_backward.register_fake
def _(
    grad: Tensor, x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, k: Tensor, v_max: Tensor,
    partner: Tensor, collision_heads: int, coll_coef: float, dt: float, layout: str, position_update: bool,
    reduction: str, backend: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return x.new_empty(x.shape), x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, v, seed, directions, _, *ctx.settings = inputs
    _, k, v_max, partner, energy = output
    # Where nothing collided the gradient is that of x + dt v, and x and v need not be kept. A traced k has no numbers,
    # and a GPU would have to be waited for.
    ctx.still = type(k) is Tensor and k.device.type == "cpu" and not k.any()
    if not ctx.still:
        ctx.save_for_backward(x, v, seed, directions, k, v_max, partner)
    ctx.mark_non_differentiable(k, v_max, partner, energy)


def _backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    nothing = [None] * (3 + len(ctx.settings))
    if ctx.still:
        _, _, dt, *_ = ctx.settings
        return grad, grad if dt == 1 else dt * grad, *nothing
    x, v, seed, directions, k, v_max, partner = ctx.saved_tensors
    return *_collide_backward(grad, x, v, seed, directions, k, v_max, partner, *ctx.settings), *nothing


_collide.register_autograd(_backward, setup_context=_save)
