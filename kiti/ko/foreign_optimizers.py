"""What wrappers, torch's GradScaler and torch.distributed.checkpoint do with an optimizer."""

from typing import Any

from torch.nn import Module
from torch.optim import Optimizer


def unwrapped(optimizer: Any) -> Optimizer:
    """The optimizer that steps, within accelerate's or timm's wrapper."""
    if isinstance(optimizer, Module) or not hasattr(optimizer, "param_groups"):
        raise TypeError(f"optimizer is a {type(optimizer).__name__}: a torch optimizer is needed")
    for name in ("optimizer", "_base_optimizer", "base_optimizer"):
        inside = getattr(optimizer, name, None)
        if isinstance(inside, Optimizer):
            return unwrapped(inside)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is a {type(optimizer).__name__}: pass the torch optimizer that it wraps")
    return optimizer


def found_inf(optimizer: Optimizer) -> bool:
    """Whether torch's GradScaler found a gradient that is not finite, so that a fused optimizer will skip its step."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def initialises(optimizer: Optimizer) -> bool:
    """Whether this is the step on zero gradients by which torch.distributed.checkpoint creates an optimizer's state."""
    groups = optimizer.param_groups
    if optimizer.state or any(float(group.get("lr", 1.0)) for group in groups):
        return False
    return not any(bool(p.grad.any()) for group in groups for p in group["params"] if p.grad is not None)
