"""What other code does with an optimizer: wraps it, copies it, skips its steps, initialises its state."""

from typing import Any

from torch.nn import Module
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from kiti.ko.placebos import PLACEBOS
from kiti.ko.sharding import total_norm, with_gradients

# KO's state, in the optimizer's first parameter group, where state_dict, torch.distributed.checkpoint and copies of the
# optimizer find it.
STEP, SEED, HARD, COEF = "ko_step", "ko_seed", "ko_hard", "ko_coll_coef"
PLACEBO = "ko_placebo"  # the number of the placebo from 1 on, only there if there is one
KEYS = (STEP, SEED, HARD, COEF, PLACEBO)
# Where an optimizer keeps its KO; copies leave this out.
ATTRIBUTE = "_kiti_ko"


class Steps(int):
    """The number of collisions, in a parameter group; `live` while a KO counts it, so not in copies and pickles.

    Reading a pickle imports this module, which then checks every optimizer, see below.
    """

    live: bool

    def __new__(cls, count: int, live: bool = False) -> "Steps":
        steps = super().__new__(cls, count)
        steps.live = live
        return steps

    def __reduce__(self) -> tuple[type["Steps"], tuple[int]]:
        return Steps, (int(self),)


def unwrapped(optimizer: Any) -> Optimizer:
    """The optimizer that steps, within a wrapper such as accelerate's or timm's.

    Raises:
        TypeError: it is no optimizer, or a wrapper of unknown kind, which would not run the hooks of its step.
    """
    kind = type(optimizer).__name__
    if isinstance(optimizer, Module) or not hasattr(optimizer, "param_groups"):
        raise TypeError(f"optimizer is a {kind}: a torch optimizer is needed")
    for name in ("optimizer", "_optimizer", "base_optimizer", "_base_optimizer"):
        inside = getattr(optimizer, name, None)
        if isinstance(inside, Optimizer):
            return unwrapped(inside)
    if not isinstance(optimizer, Optimizer) or not getattr(type(optimizer).step, "hooked", False):
        raise TypeError(f"optimizer is a {kind}, whose step runs no hooks: pass the torch optimizer that it wraps")
    return optimizer


def state_in(group: dict[str, Any]) -> dict[str, Any] | None:
    """KO's state in a parameter group, as `KO.load_state_dict` takes it; None if there is none."""
    if STEP not in group:
        return None
    mode = "hard" if int(group[HARD]) else "soft"
    state = {"seed": group[SEED], "step": group[STEP], "mode": mode, "coll_coef": float(group[COEF])}
    return state | ({"placebo": PLACEBOS[int(group[PLACEBO]) - 1]} if PLACEBO in group else {})


def is_skipped(optimizer: Optimizer) -> bool:
    """Whether torch's GradScaler found a gradient that is not finite, so that a fused optimizer will skip its step."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def initialises(optimizer: Optimizer, kwargs: dict[str, Any]) -> bool:
    """Whether this is the step by which torch.distributed.checkpoint creates an optimizer's state.

    It calls step(closure=None) with learning rates and gradients of zero. All ranks agree, also on sharded gradients.
    """
    if "closure" not in kwargs or optimizer.state:
        return False
    if any(float(group["lr"]) for group in optimizer.param_groups if "lr" in group):
        return False
    return not bool(total_norm([p.grad for p in with_gradients(optimizer)]))


def _check_not_lost(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Before the step of any optimizer: a copy has KO's state, but not its hooks, and so has one that loaded it."""
    steps = optimizer.param_groups[0].get(STEP)
    if steps is not None and not getattr(steps, "live", False):
        raise RuntimeError(
            f"this {type(optimizer).__name__} has the state of a KO, copied or loaded, but no KO: its gradients would "
            f"not collide; create a KO for it, or delete param_groups[0][{STEP!r}]"
        )


register_optimizer_step_pre_hook(_check_not_lost)
