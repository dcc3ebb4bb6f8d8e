"""Learning rate schedules."""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosine(LambdaLR):
    """Linear warmup to the optimizer's learning rate, then half a cosine down.

    With t the number of finished epochs, w = warmup_epochs and T = epochs:

        t < w:   warmup_lr + (lr - warmup_lr) t / w
        t >= w:  min_lr + (lr - min_lr) (1 + cos(pi s)) / 2,   s = (t - w) / (T - w), or t / T with under_warmup

    Each parameter group is scaled in proportion to its own learning rate.

    Args:
        total_steps: number of training steps; `step` is called after each of them.
        epochs: number of training epochs.
        warmup_lr, min_lr: for a group with the optimizer's own learning rate.
        under_warmup: the cosine starts at the beginning of the training, as in timm, not after the warmup.
        each: whether t is updated each "epoch", as in timm, or each "step".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int,
        *,
        epochs: int,
        warmup_epochs: int,
        warmup_lr: float,
        min_lr: float,
        under_warmup: bool,
        each: str,
    ) -> None:
        lr = optimizer.defaults["lr"]

        def factor(step: int) -> float:
            t: float = step * epochs // total_steps if each == "epoch" else step * epochs / total_steps
            if t < warmup_epochs:
                return (warmup_lr + (lr - warmup_lr) * t / warmup_epochs) / lr
            start = 0 if under_warmup else warmup_epochs
            s = min(1.0, (t - start) / (epochs - start))
            return (min_lr + (lr - min_lr) * (1 + math.cos(math.pi * s)) / 2) / lr

        super().__init__(optimizer, factor)


def warmup_linear(optimizer: Optimizer, total_steps: int, *, warmup_share: float) -> LambdaLR:
    """Up from 0 during this share of the steps, then linearly down to 0: transformers' schedule, stepped each step."""
    from transformers import get_linear_schedule_with_warmup  # takes a second, and few tasks need it

    made: Any = get_linear_schedule_with_warmup(optimizer, round(warmup_share * total_steps), total_steps)
    return made  # type: ignore[no-any-return]


def warmup_cosine_to(optimizer: Optimizer, total_steps: int, *, warmup_share: float, min_share: float) -> LambdaLR:
    """Linearly up during `warmup_share` of the steps, then half a cosine down to `min_share` of the rate, each step."""
    from transformers import get_cosine_with_min_lr_schedule_with_warmup

    made: Any = get_cosine_with_min_lr_schedule_with_warmup(
        optimizer, round(warmup_share * total_steps), total_steps, min_lr_rate=min_share
    )
    return made  # type: ignore[no-any-return]
