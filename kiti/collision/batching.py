"""torch.vmap of a collision: the systems of all samples are those of one call, since they do not interact.

randomness="different" gives every sample its own directions in one call. With one seed for all samples, which is
randomness="same" or a draw outside, each sample is a call of its own: directions depend on a system's place.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Axes = tuple[int | None, ...]


def over_samples(
    call: Callable[..., tuple[Tensor, ...]], seed_at: int, samples: int, axes: Axes, inputs: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], Axes]:
    """The vmap rule of `call`, whose inputs and outputs have systems first, except inputs[seed_at], a scalar."""
    first = [each if axis is None else each.movedim(axis, 0) for each, axis in zip(inputs, axes, strict=True)]
    if axes[seed_at] is None:
        parts = [
            call(*(each if axis is None else each[sample] for each, axis in zip(first, axes, strict=True)))
            for sample in range(samples)
        ]
        outputs = tuple(torch.stack(part) for part in zip(*parts, strict=True))
    else:
        first[seed_at] = first[seed_at][0]  # one seed suffices: each system of the call has its own directions
        merged = [_merged(each, axis, samples) for each, axis in zip(first, axes, strict=True)]
        outputs = tuple(each.unflatten(0, (samples, len(each) // samples)) for each in call(*merged))
    return outputs, (0,) * len(outputs)


def _merged(each: Any, axis: int | None, samples: int) -> Any:
    """The systems of all samples on one axis, a tensor that is common to all samples repeated."""
    if not isinstance(each, Tensor) or not each.dim():
        return each
    return (each.expand(samples, *each.shape) if axis is None else each).flatten(0, 1)
