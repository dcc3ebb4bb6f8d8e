"""Sums that each rank keeps for itself, in a checkpoint that rank 0 alone writes. No trainer means one rank."""

from jaxtyping import Shaped
from pytorch_lightning import Trainer
from torch import Tensor


def gathered(trainer: Trainer | None, own: Shaped[Tensor, "*sum"]) -> Shaped[Tensor, "W *sum"]:
    """The sums of all ranks, on the CPU. Collective: every rank calls it, for the same sums in the same order."""
    own = own.detach().clone()
    if trainer is None or trainer.world_size == 1:
        return own.cpu().unsqueeze(0)
    return trainer.strategy.all_gather(own.to(trainer.strategy.root_device)).cpu()


def part_of(trainer: Trainer | None, saved: Shaped[Tensor, "V *sum"]) -> Shaped[Tensor, "*sum"]:
    """What this rank continues with. If there were another number of ranks then, rank 0 continues with the total."""
    ranks, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
    if len(saved) == ranks:
        return saved[rank].clone()
    total = saved.sum(0)
    return total if rank == 0 else total.new_zeros(total.shape)
