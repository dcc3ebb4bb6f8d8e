"""Where autocast may not lower the precision."""

import contextlib

import torch
from torch import Tensor


def without_autocast(like: Tensor) -> contextlib.AbstractContextManager[None]:
    """A context in which tensors on the device of `like` keep their dtypes. Autocast does not know meta."""
    if like.device.type == "meta":
        return contextlib.nullcontext()
    return torch.autocast(like.device.type, enabled=False)
