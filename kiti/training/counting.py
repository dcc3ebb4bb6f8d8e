"""Counts operations by torch's counter: a multiply-add is two, FFTs by the usual count, collisions are left out."""

from collections.abc import Callable
from math import log2, prod
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def _fft_flops(shape: Any, dim: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """5 n log2 n for a complex transform of length n, half of that for a real one: the usual count."""
    length = prod(max(shape[d], out_shape[d]) for d in dim)  # of the real side: the spectrum has n/2 + 1 entries
    transforms = prod(shape) // prod(shape[d] for d in dim)
    return int(2.5 * transforms * length * log2(length)) if length > 1 else 0


def _complex_fft_flops(shape: Any, dim: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * _fft_flops(shape, dim, out_shape=out_shape)


def _matrix_flops(added: Any, a: Any, b: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * prod(a) * b[-1]


def _convolution_backward_flops(
    grad_shape: Any, x_shape: Any, w_shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any
) -> int:
    """As many as forward for each gradient: torch counts that of the weights as if there were no groups."""
    transposed, wanted = args[4], args[7]
    return sum(wanted[:2]) * conv_flop_count(x_shape, w_shape, grad_shape, transposed=transposed)


_COUNTED = {
    torch.ops.aten._fft_r2c: _fft_flops,
    torch.ops.aten._fft_c2r: _fft_flops,
    torch.ops.aten._fft_c2c: _complex_fft_flops,  # in the gradient of the first
    torch.ops.aten.convolution_backward: _convolution_backward_flops,
    torch.ops.aten.addmm_: _matrix_flops,  # of Dit
}
"""What torch's counter does not know, or gets wrong."""


def counter() -> FlopCounterMode:
    """torch's counter, which counts FFTs too."""
    return FlopCounterMode(display=False, custom_mapping=_COUNTED)


@torch.no_grad()
def flops(model: nn.Module, call: Callable[[], Any]) -> int:
    """Operations of one inference call of the model, which `call` makes."""
    training = model.training
    model.eval()
    with counter() as counted:
        call()
    model.train(training)
    return counted.get_total_flops()
