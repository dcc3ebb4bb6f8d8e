"""A language model of which each rank holds a part: torch's FSDP2, block by block."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

_AS_STORED = MixedPrecisionPolicy(cast_forward_inputs=False)


def shard(model: nn.Module, mesh: DeviceMesh, compute: torch.dtype | None = None) -> None:
    """Shard the parameters, and so their gradients and the optimizer's state, over the ranks of `mesh`, in place.

    Each block is a group of parameters, which is gathered while it runs. The rest is one more group: torch refuses a
    tensor that two groups share, and the embedding may be the head's matrix too. Every rank must hold the same weights.
    A model that is sharded already stays as it is.

    Args:
        model: one of transformers, which names the classes of its blocks.
        mesh: of one dimension.
        compute: the type of autocast in which the matrices of the blocks are used. They are gathered in it, which needs
            half the traffic and changes no bit; gradients are summed over ranks in float32. Norms, embeddings and the
            head are gathered as they are stored, as autocast uses them or casts them itself. None: no autocast.

    Raises:
        ValueError: the model does not name its blocks, or has none.
    """
    if isinstance(model, FSDPModule):
        return
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    blocks = [module for module in model.modules() if type(module).__name__ in kinds]
    if not blocks:
        raise ValueError(f"trainer.strategy=fsdp2: {type(model).__name__} does not name its blocks; use ddp")
    matrices = _AS_STORED
    if compute is not None:
        matrices = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for norm in [norm for block in blocks for norm in _norms(block)]:
            fully_shard(norm, mesh=mesh, mp_policy=_AS_STORED, reshard_after_forward=False)
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=matrices)
    fully_shard(model, mesh=mesh, mp_policy=_AS_STORED)


def _norms(block: nn.Module) -> Iterator[nn.Module]:
    for module in block.modules():
        own = list(module.parameters(recurse=False))
        if own and all(parameter.ndim == 1 for parameter in own):
            yield module
