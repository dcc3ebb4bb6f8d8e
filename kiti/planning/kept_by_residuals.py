"""What collisions keep for their gradient: on meta tensors a residual is x + dt v, which keeps nothing."""

from typing import Any

import torch
from torch import Tensor, nn

from kiti.residual import Acceleration, Add, Colliding, Dropout, KITIResidual, MatchedNoise, Residual


class _Keep(torch.autograd.Function):
    """The identity on `moved`, with these tensors kept until its gradient is computed, and gradients for them."""

    @staticmethod
    def forward(ctx: Any, moved: Tensor, *kept: Tensor) -> Tensor:
        ctx.save_for_backward(*kept)
        return moved.view_as(moved)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return grad, *(torch.empty_like(one) if one.is_floating_point() else None for one in ctx.saved_tensors)


def stand_in(model: nn.Module) -> None:
    """Let every residual but the addition be x + dt v that keeps what its kind keeps on a GPU. Not undone."""
    for module in model.modules():
        if isinstance(module, Residual) and not isinstance(module, Add):
            module.forward = module.drift  # type: ignore[method-assign]
            module.register_forward_hook(_keep)


def _keep(module: Residual, inputs: tuple[Tensor, Tensor], moved: Tensor) -> Tensor:
    x, v = inputs
    if not (module.training and torch.is_grad_enabled()):
        return moved
    if isinstance(module, Dropout):
        moved = _Keep.apply(moved, torch.empty_like(v))  # the mask
    if isinstance(module, Colliding) and _gradient_passes(module):
        # Features, number of partners of each particle: `kiti::collide`. The a-edition collides twice.
        for _ in range(2 if isinstance(module, Acceleration) else 1):
            rows = [tensor.movedim(module.axis, -1).flatten(0, -2) for tensor in (x, v)]
            particles = rows[0].shape[-1] // module.rules.collision_heads
            moved = _Keep.apply(moved, *rows, rows[0].new_empty(len(rows[0]), particles, dtype=torch.int32))
    return moved


def _gradient_passes(module: Colliding) -> bool:
    if isinstance(module, KITIResidual | MatchedNoise):
        return not module.detach_collision
    return isinstance(module, Acceleration)
