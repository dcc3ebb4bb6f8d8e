"""The fused collision as torch operators, `kiti::max_speed` and `kiti::collide`, with their gradient.

torch.compile sees them as single operations, autocast leaves them alone, and checkpointing repeats them exactly:
all randomness comes from the seed, a tensor. They run one of the `backends.py`. An operator cannot take a dataclass,
so rules are passed as `Rules.encoded`.

They are registered by hand: torch.library.custom_op with its register_autograd would do the same, but takes twice as
long per call, which matters for steps made of small calls.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from kiti.collision.backends import backend as module_of
from kiti.collision.particles import accumulation_dtype
from kiti.collision.rules import Rules
from kiti.collision.statistics import Collisions, collisions


def collide_fused(
    x: Float[Tensor, "*systems D"],
    v: Float[Tensor, "*systems D"],
    rules: Rules,
    given: Float[Tensor, "*systems N N heads"] | None,
    seed: Int[Tensor, ""],
    backend: str,
) -> tuple[Float[Tensor, "*systems D"], Collisions]:
    """x', and the statistics, by a `backend`; `given` are the directions or None to draw them from `seed`."""
    d, heads = x.shape[-1], rules.collision_heads
    n = d // heads
    rows, speeds = x.reshape(-1, d) if d else x.flatten(0, -2), v.reshape(-1, d) if d else v.flatten(0, -2)
    directions = None if given is None else given.reshape(len(rows), n, n, heads)
    v_max = None
    if rules.max_over == "batch" and speeds.numel():
        v_max = torch.ops.kiti.max_speed.default(speeds.detach(), heads, rules.layout == "strided", backend)
        v_max = v_max.amax().expand(len(rows))
    x_new, k, _, _, energy = torch.ops.kiti.collide.default(
        rows, speeds, seed, directions, v_max, rules.encoded, backend
    )
    before, after = energy.detach().sum(0)
    partners = k.mean(dtype=energy.dtype) if k.numel() else energy.new_zeros(())
    return x_new.view(x.shape), collisions(partners, before, after)


_library = torch.library.Library("kiti", "FRAGMENT")


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make `function` the operator kiti::<its name without the underscore>, which returns only new tensors."""
    name = function.__name__.removeprefix("_")
    schema = torch.library.infer_schema(function, mutates_args=())
    _library.define(name + schema, tags=torch.Tag.pt2_compliant_tag)
    _library.impl(name, function, "CompositeExplicitAutograd")
    return function


@_operator
def _max_speed(v: Tensor, heads: int, strided: bool, backend: str) -> Tensor:
    return module_of(backend).max_speed(v.contiguous(), heads, strided)


@torch.library.register_fake("kiti::max_speed", lib=_library)
def _(v: Tensor, heads: int, strided: bool, backend: str) -> Tensor:
    return v.new_empty(v.shape[0], dtype=accumulation_dtype(v.dtype))


@_operator
def _collide(
    x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, v_max: Tensor | None, rules: str, backend: str
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x', k, max(V_r), kept and energy as in `fused.Forward`."""
    parsed = Rules.decode(rules)
    done = module_of(backend).forward(x.contiguous(), v.contiguous(), parsed, int(seed), directions, v_max)
    return (done.x_new, done.k, done.v_max.clone() if v_max is not None else done.v_max, done.kept, done.energy)


@torch.library.register_fake("kiti::collide", lib=_library)
def _(
    x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, v_max: Tensor | None, rules: str, backend: str
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    parsed = Rules.decode(rules)
    systems, n, dtype = x.shape[0], x.shape[1] // parsed.collision_heads, accumulation_dtype(x.dtype)
    return (
        x.new_empty(x.shape),
        x.new_empty(systems, n, dtype=torch.int32),
        x.new_empty(systems, dtype=dtype),
        x.new_empty(systems, module_of(backend).kept_width(n, parsed.reduction), dtype=torch.int32),
        x.new_empty(systems, 2, dtype=dtype),
    )


@_operator
def _collide_backward(
    grad: Tensor, x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, k: Tensor, v_max: Tensor,
    kept: Tensor, rules: str, backend: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    parsed = Rules.decode(rules)
    return module_of(backend).backward(
        grad.contiguous(), x.contiguous(), v.contiguous(), parsed, int(seed), directions, k, v_max, kept
    )


@torch.library.register_fake("kiti::collide_backward", lib=_library)
def _(
    grad: Tensor, x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, k: Tensor, v_max: Tensor,
    kept: Tensor, rules: str, backend: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return x.new_empty(x.shape), x.new_empty(x.shape)


class _Collide(torch.autograd.Function):
    """kiti::collide when a gradient may be needed."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        x, v, seed, directions, _, ctx.rules, ctx.backend = inputs
        with torch._C._AutoDispatchBelowAutograd():
            x_new, k, v_max, kept, energy = torch.ops.kiti.collide.default(*inputs)
        # If nothing collided, the gradient is that of x + dt v, and x and v need not be saved. Not checked for a
        # traced k, which has no values, or on a GPU, which would have to synchronise.
        ctx.still = type(k) is Tensor and k.device.type == "cpu" and not k.any()
        if not ctx.still:
            ctx.save_for_backward(x, v, seed, directions, k, v_max, kept)
        ctx.mark_non_differentiable(k, v_max, kept, energy)
        ctx.set_materialize_grads(False)
        return x_new, k, v_max, kept, energy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        nothing = [None] * 5  # seed, directions, v_max, rules, backend
        if grad is None:
            return None, None, *nothing
        if ctx.still:
            dt = Rules.decode(ctx.rules).dt
            return grad, grad if dt == 1 else dt * grad, *nothing
        x, v, seed, directions, k, v_max, kept = ctx.saved_tensors
        arguments = (x, v, seed, directions, k, v_max, kept, ctx.rules, ctx.backend)
        return *torch.ops.kiti.collide_backward.default(grad, *arguments), *nothing


_library.impl("collide", _Collide.apply, "Autograd")
