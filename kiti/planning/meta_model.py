"""Builds a model on the meta device without initialising it, which takes most of the time of building."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kiti.configuration.compose import Composed, build_model

_FILLING = {"normal_", "uniform_", "fill_", "zero_", "zeros_", "ones_"}


class _Uninitialised(TorchFunctionMode):
    """Leaves out what would only give tensors their values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        of_init = getattr(func, "__module__", None) == "torch.nn.init" and func.__name__.endswith("_")
        if of_init or getattr(func, "__name__", "") in _FILLING:
            filled = args[0] if args else (kwargs or {}).get("tensor")
            if isinstance(filled, Tensor) and filled.is_meta:
                return filled
        return func(*args, **(kwargs or {}))


def meta_model(composed: Composed) -> nn.Module:
    """The configured model. Raises ConfigError if it has no place for the residual."""
    with torch.device("meta"), _Uninitialised():
        model: nn.Module = build_model(composed)
    return model
