"""Quadratic neurons of dendritic integration (Dit), the comparison of KITINet's Table 3.

    Q(z)_o = Σ_cd A_o,cd z_c z_d        at every position; z is the channels there, A_o a C x C matrix for each output o

A is the C_out x C² matrix that the authors apply to the outer product z zᵀ. That product has C² entries per position,
512² in the last stage of a ResNet; it is not formed here: A_o z is computed for some outputs at a time.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

_ENTRIES = 1 << 24
"""Entries of A_o z in memory at once, unless a single output has more."""


class QuadraticNeurons(nn.Module):
    """Q(LN(h)), with LN over the positions of each channel. A starts at zero, and so does the output.

    The authors' code transposes Q in space, moving the value at (y, x) to (x, y); this code does not.

    Args:
        d_in, d_out: channels of h and of the output.
        size: Y and X of h; LN has a scale and a shift for each position.
        stride: which positions of LN(h) are used, as in a 1x1 convolution.
    """

    def __init__(self, d_in: int, d_out: int, size: tuple[int, int], stride: int = 1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.weight = nn.Parameter(torch.zeros(d_out, d_in * d_in))
        self.stride = stride

    def forward(self, h: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B O Yout Xout"]:
        z = self.norm(h)[:, :, :: self.stride, :: self.stride].transpose(0, 1)  # (C, B, Yout, Xout)
        forms = quadratic_forms(z.flatten(1), self.weight)
        return forms.unflatten(1, z.shape[1:]).transpose(0, 1)

    def extra_repr(self) -> str:
        d_out, squared = self.weight.shape
        return f"{d_out} forms of {squared} entries, stride={self.stride}"


def quadratic_forms(z: Float[Tensor, "C P"], weight: Float[Tensor, "O CC"]) -> Float[Tensor, "O P"]:
    """zᵀ A_o z for every column z and every row of `weight`, which is A_o in row-major order. Follows autocast."""
    kind = z.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        z, weight = (tensor.to(torch.get_autocast_dtype(kind)) for tensor in (z, weight))
    return _QuadraticForms.apply(z, weight)


class _QuadraticForms(torch.autograd.Function):
    """Three products of C_out C² P multiply-adds, one forward and two backward, as many as with the outer product."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(z, weight)
        forms = z.new_empty(len(weight), z.shape[1])
        for some in _slices(z, weight):
            along = weight[some].reshape(-1, len(z)) @ z  # A_o z: (outputs C, P)
            forms[some] = along.unflatten(0, (-1, len(z))).mul_(z).sum(dim=1)
        return forms

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        z, weight = ctx.saved_tensors
        channels = len(z)
        grad_z, grad_weight = torch.zeros_like(z), torch.empty_like(weight)
        for some in _slices(z, weight):
            weighted = (grad[some].unsqueeze(1) * z).flatten(0, 1)  # g_o z: (outputs C, P)
            grad_weight[some] = (weighted @ z.T).view(-1, channels * channels)
            forms = weight[some].view(-1, channels, channels)
            grad_z.addmm_((forms + forms.mT).reshape(-1, channels).T, weighted)
        return grad_z, grad_weight


def _slices(z: Tensor, weight: Tensor) -> list[slice]:
    """Slices of the outputs, each as large as `_ENTRIES` allows."""
    outputs = max(1, _ENTRIES // max(1, z.numel()))
    return [slice(first, first + outputs) for first in range(0, len(weight), outputs)]
