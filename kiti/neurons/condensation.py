"""Network parameter condensation: how alike the neurons of a layer are (KITINet, Appendix I).

One paper considers it good, the other bad (A21); here it is neither.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.no_grad()
def weight_correlation(weight: Float[Tensor, "N *filter"]) -> float:
    """ρ in [0, 1]: the mean |cos| over ordered pairs of neurons, weight (N, D); of filters, (N, channels, *kernel).

    Fully connected (17):   ρ = 1/(N(N−1)) Σ_{i≠j} |w_i·w_j| / (|w_i| |w_j|)
    Convolution (18):       the same of w_{i,z} and w_{j,z} in R^(kernel), averaged over input channels z too

    A 1 x 1 kernel would make every |cos| 1, so such a convolution is treated as fully connected (A32). Neurons that are
    zero have no direction and are left out, pair by pair (A33). nan if no pair is left.

    Raises:
        ValueError: a weight of fewer than two dimensions.

    Example:
        >>> import torch, kiti
        >>> round(kiti.weight_correlation(torch.eye(3)), 6), round(kiti.weight_correlation(torch.ones(3, 3)), 6)
        (0.0, 1.0)
    """
    if weight.dim() < 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}: (N, D) or (N, channels, *kernel) is needed")
    rows = weight.double().flatten(2) if weight.dim() > 2 else weight.double().unsqueeze(1)  # (N, channels, f)
    if rows.shape[2] == 1:
        rows = rows.transpose(1, 2)
    norms = rows.norm(dim=2, keepdim=True)
    directions = torch.where(norms > 0, rows / norms, 0).transpose(0, 1)  # (channels, N, f)
    nonzero = (norms > 0).squeeze(2).T.sum(1)  # (channels,)
    pairs = int((nonzero * (nonzero - 1)).sum())
    if pairs == 0:
        return math.nan
    cosines = (directions @ directions.transpose(1, 2)).abs()
    return float((cosines.sum() - nonzero.sum()) / pairs)


def filters(layer: nn.Module) -> Tensor:
    """The input weights of a layer's neurons, (N, D) or (N, channels, *kernel).

    A layer may define its own `filters()`, for example a spectral convolution its modes, with real and imaginary parts
    concatenated. ValueError for a layer without weights.
    """
    own: Any = getattr(layer, "filters", None)
    if own is not None:
        return own()
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"{type(layer).__name__} has no weights, so its neurons cannot be compared")
    return weight


def named_layers(model: nn.Module, names: Iterable[str], key: str) -> Iterator[nn.Module]:
    """The model's layers of these names. ValueError, naming the configuration `key`, for an unknown name."""
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            raise ValueError(f"{key}: the model has no layer {name!r}")
        yield known[name]
