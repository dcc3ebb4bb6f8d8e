"""Evaluating a model in the middle of its training without a trace."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Within, `model` is in eval mode, without gradients, autocast or torch.compile; afterwards all is as it was.

    That is the mode of every module, and the state of the random generators of Python, NumPy and torch, on the CPU and
    on every GPU in use.
    """
    modes = [(module, module.training) for module in model.modules()]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # of the libraries that draw from it
    cpu = torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    device = next((tensor.device.type for tensor in model.parameters()), "cpu")
    try:
        model.eval()
        # Compiled again for the shapes of items, a model may train on with other kernels.
        with torch.no_grad(), torch.autocast(device, enabled=False), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for module, training in modes:
            module.training = training
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)
