"""The fused collision as torch operators, `kiti::max_speed` and `kiti::collide`, with their gradient.

torch.compile sees them as single operations, autocast leaves them alone, and checkpointing repeats them exactly:
all randomness comes from the seed, a tensor. They run one of the `backends.py`. An operator cannot take a dataclass,
so rules are passed as `Rules.encoded`.
"""

from typing import Any, NoReturn

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.function import _SingleLevelFunction

from kiti.collision.backends import backend as module_of
from kiti.collision.batching import Axes, over_samples
from kiti.collision.library import library, operator
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
) -> tuple[Float[Tensor, "*systems D"], Int[Tensor, "*systems N"], Collisions]:
    """x', k, and the statistics, by a `backend`; `given` are the directions or None to draw them from `seed`."""
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
    return x_new.view(x.shape), k.view(*x.shape[:-1], n), collisions(partners, before, after)


@operator
def _max_speed(v: Tensor, heads: int, strided: bool, backend: str) -> Tensor:
    return module_of(backend).max_speed(v.contiguous(), heads, strided)


@torch.library.register_fake("kiti::max_speed", lib=library)
def _(v: Tensor, heads: int, strided: bool, backend: str) -> Tensor:
    return v.new_empty(v.shape[0], dtype=accumulation_dtype(v.dtype))


@operator
def _collide(
    x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, v_max: Tensor | None, rules: str, backend: str
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x', k, max(V_r), kept and energy as in `fused.Forward`."""
    parsed = Rules.decode(rules)
    done = module_of(backend).forward(x.contiguous(), v.contiguous(), parsed, int(seed), directions, v_max)
    return (done.x_new, done.k, done.v_max.clone() if v_max is not None else done.v_max, done.kept, done.energy)


@torch.library.register_fake("kiti::collide", lib=library)
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


@operator
def _collide_backward(
    grad: Tensor, x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, k: Tensor, v_max: Tensor,
    kept: Tensor, rules: str, backend: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    parsed = Rules.decode(rules)
    return module_of(backend).backward(
        grad.contiguous(), x.contiguous(), v.contiguous(), parsed, int(seed), directions, k, v_max, kept
    )


@torch.library.register_fake("kiti::collide_backward", lib=library)
def _(
    grad: Tensor, x: Tensor, v: Tensor, seed: Tensor, directions: Tensor | None, k: Tensor, v_max: Tensor,
    kept: Tensor, rules: str, backend: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return x.new_empty(x.shape), x.new_empty(x.shape)


def _first_order() -> NoReturn:
    raise RuntimeError(
        "kiti.collide has only first derivatives, in backward mode: for second derivatives or forward mode "
        "(hessian, jvp, jacfwd) pass implementation='literal'"
    )


class _Backward(_SingleLevelFunction):
    """kiti::collide_backward where a derivative of it could be asked for."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        return _below(torch.ops.kiti.collide_backward.default, inputs)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> NoReturn:
        _first_order()

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        _first_order()


class _Collide(_SingleLevelFunction):
    """kiti::collide when a gradient may be needed."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        x, v, seed, directions, _, ctx.rules, ctx.backend = inputs
        x_new, k, v_max, kept, energy = _below(torch.ops.kiti.collide.default, inputs)
        ctx.still = _still(k)
        if not ctx.still:
            ctx.save_for_backward(x, v, seed, directions, k, v_max, kept)
        ctx.mark_non_differentiable(k, v_max, kept, energy)
        ctx.set_materialize_grads(False)
        return x_new, k, v_max, kept, energy

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        nothing = [None] * 5  # seed, directions, v_max, rules, backend
        if grad is None:
            return None, None, *nothing
        if ctx.still:
            dt = Rules.decode(ctx.rules).dt
            return grad, grad if dt == 1 else dt * grad, *nothing
        x, v, seed, directions, k, v_max, kept = ctx.saved_tensors
        arguments = (grad, x, v, seed, directions, k, v_max, kept, ctx.rules, ctx.backend)
        twice = torch.is_grad_enabled()  # as create_graph=True and torch.func set it
        call = torch.ops.kiti.collide_backward.default
        grads = call(*arguments) if twice else _below(call, arguments)
        return *grads, *nothing

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        _first_order()


def _still(k: Tensor) -> bool:
    """Whether nothing collided: then the gradient is that of x + dt v, and x and v need not be saved.

    Not checked for a traced k, which has no values, or on a GPU, which would have to synchronise.
    """
    plain = type(k) is Tensor and k.device.type == "cpu" and not torch._C._len_torch_dispatch_stack()
    return plain and not torch._C._are_functorch_transforms_active() and not k.any()


def _below(call: Any, inputs: tuple[Any, ...]) -> Any:
    """The operator without its own gradient; with that of an outer transform, if any."""
    with torch._C._AutoDispatchBelowAutograd():
        if not torch._C._are_functorch_transforms_active():
            return call(*inputs)
        with torch.enable_grad(), torch.autograd.forward_ad._set_fwd_grad_enabled(True):
            return call(*inputs)


def _differentiable(function: Any) -> Any:
    """The kernel of an operator's gradient.

    torch.autograd.Function would take a call inside a transform of torch.func for one from outside. Here, as in torch's
    own kernels, the dispatcher has already chosen the transform.
    """

    def kernel(*inputs: Any) -> Any:
        if not torch._C._are_functorch_transforms_active():
            return function.apply(*inputs)
        with enable_single_level_autograd_function():
            return function.apply(*inputs)

    return kernel


library.impl("collide", _differentiable(_Collide), "Autograd")
library.impl("collide_backward", _differentiable(_Backward), "Autograd")


@torch.library.register_vmap("kiti::collide", lib=library)
def _(info: Any, in_dims: Any, *inputs: Any) -> tuple[tuple[Tensor, ...], Axes]:
    return over_samples(torch.ops.kiti.collide.default, 2, info.batch_size, in_dims, inputs)


@torch.library.register_vmap("kiti::collide_backward", lib=library)
def _(info: Any, in_dims: Any, *inputs: Any) -> tuple[tuple[Tensor, ...], Axes]:
    return over_samples(torch.ops.kiti.collide_backward.default, 3, info.batch_size, in_dims, inputs)


@torch.library.register_vmap("kiti::max_speed", lib=library)
def _(info: Any, in_dims: Any, v: Tensor, heads: int, strided: bool, backend: str) -> tuple[Tensor, int]:
    v = v.movedim(in_dims[0], 0)
    v_max = torch.ops.kiti.max_speed.default(v.flatten(0, 1), heads, strided, backend)
    return v_max.unflatten(0, (info.batch_size, v.shape[1])), 0
