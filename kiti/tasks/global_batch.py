"""Losses and errors over the batch of all ranks, whatever each of them holds.

DDP averages the ranks' gradients with equal weights. So the gradient of a sum over the global batch comes out too small
by the number of ranks W, and that of a mean is wrong where ranks hold unequal numbers of items. The functions here
scale a rank's loss such that the averaged gradient is that of one process with the whole batch. Every rank must call
them equally often, because they communicate. Without other ranks they return their argument.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, distributed
from torchmetrics.utilities.distributed import gather_all_tensors


def ranks() -> int:
    """Number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def total(count: int | Tensor, device: torch.device) -> Tensor:
    """The sum of `count` over all ranks, element by element, in float64 on `device`."""
    summed = torch.as_tensor(count, dtype=torch.float64, device=device).detach().clone()
    if ranks() > 1:
        distributed.all_reduce(summed)
    return summed


def sum_loss(loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """`loss`, a sum over this rank's items, times W."""
    return loss * ranks() if ranks() > 1 else loss


def mean_loss(loss: Float[Tensor, "*several"], items: int | Tensor) -> Float[Tensor, "*several"]:
    """`loss`, one or several means over this rank's items, times W and its share of all ranks' items.

    Args:
        loss: ignored on a rank without items, where it is nan.
        items: how many it is the mean of: samples, points, or labelled tokens; an int or an integer scalar.
    """
    if ranks() == 1:
        return loss
    own = torch.as_tensor(items, dtype=torch.float64, device=loss.device)
    share = (own * ranks() / total(own, loss.device)).to(loss.dtype)
    return torch.where(own > 0, loss * share, loss.new_zeros(()))


def all_rows(rows: Shaped[Tensor, "n *row"]) -> Shaped[Tensor, "all *row"]:
    """The rows of all ranks, rank after rank; their numbers may differ."""
    return torch.cat(gather_all_tensors(rows)) if ranks() > 1 else rows
