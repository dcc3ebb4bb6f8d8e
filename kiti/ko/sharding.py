"""Whole matrices from sharded ones, as FSDP2 and tensor parallelism have them, and back; norms over all shards."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer


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


def total_norm(tensors: Iterable[Tensor]) -> Shaped[Tensor, ""]:
    """The norm of all tensors together, over all shards; every rank of their meshes must call this."""
    norms = [gathered(get_total_norm(alike)) for alike in _by_mesh(tensors)]
    if len(norms) == 1:
        return norms[0]
    return get_total_norm([norm.to(norms[0].device) for norm in norms])


def clip(optimizer: Optimizer, max_norm: float, norm: Shaped[Tensor, ""] | None = None) -> None:
    """Scale the optimizer's gradients to a norm of at most `max_norm`, as torch's clip_grad_norm_ does.

    That does not take plain tensors together with DTensors, or DTensors on several meshes. `norm` is their
    `total_norm`, if it is known.
    """
    parameters = with_gradients(optimizer)
    norm = total_norm([p.grad for p in parameters]) if norm is None else norm
    scale = getattr(optimizer, "grad_scale", None)  # a fused optimizer unscales inside its step
    if scale is not None:
        norm = norm / scale
    for alike in _by_mesh(parameters):
        clip_grads_with_norm_(alike, max_norm, norm)


def with_gradients(optimizer: Optimizer) -> list[Any]:
    """The optimizer's parameters that have a gradient."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _by_mesh(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    kinds: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault(getattr(tensor, "device_mesh", None), []).append(tensor)
    return list(kinds.values()) or [[]]
