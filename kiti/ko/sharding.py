"""Whole matrices from sharded ones, as FSDP2 and tensor parallelism have them, and back."""

import torch
from jaxtyping import Shaped
from torch import Tensor


def gathered(tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """The whole tensor of a DTensor, on every rank; other tensors as they are."""
    whole = getattr(tensor, "full_tensor", None)
    return tensor if whole is None else whole()  # type: ignore[no-any-return]


def sharded_like(tensor: Shaped[Tensor, "..."], like: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """The inverse of `gathered`: this rank's shard of `tensor`, which all ranks have, as `like` is sharded."""
    if not torch.distributed.is_available() or not hasattr(like, "placements"):
        return tensor
    from torch.distributed.tensor import DTensor, Replicate

    everywhere = [Replicate()] * like.device_mesh.ndim  # type: ignore[attr-defined]
    spread = DTensor.from_local(tensor, like.device_mesh, everywhere, run_check=False)  # type: ignore[attr-defined]
    return spread.redistribute(placements=like.placements)
