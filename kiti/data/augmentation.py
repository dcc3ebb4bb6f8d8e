"""Random crops and flips of whole batches, on the device where the batches are.

The random numbers of an epoch are drawn at once, on the CPU, one row per sample. So the augmentation of a sample
depends only on (seed, epoch, sample), not on batch size, device, number of ranks or where an epoch was resumed.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int, Shaped
from torch import Generator, Tensor
from torch.nn import functional


@runtime_checkable
class Augmentation(Protocol):
    """Draws random numbers for all samples of an epoch; applies the draws of a batch to its inputs."""

    def draw(self, size: int, generator: Generator) -> Int[Tensor, "n k"]:
        """Random numbers for `size` samples, on the CPU."""

    def __call__(self, inputs: Shaped[Tensor, "B ..."], draws: Int[Tensor, "B k"], /) -> Shaped[Tensor, "B ..."]:
        """The augmented inputs."""


class CropAndFlip:
    """Same distribution as torchvision's `RandomCrop(size, padding)` followed by `RandomHorizontalFlip()`.

    Args:
        padding: zeros on each side, in pixels; the crop has the size of the image.
    """

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def draw(self, size: int, generator: Generator) -> Int[Tensor, "n 3"]:
        """Top and left edge of the crop in the padded image, each 0 … 2 padding; then 1 to flip, else 0."""
        edges = torch.randint(2 * self.padding + 1, (size, 2), generator=generator)
        return torch.cat([edges, torch.randint(2, (size, 1), generator=generator)], dim=1)

    def __call__(self, images: Shaped[Tensor, "B C Y X"], draws: Int[Tensor, "B 3"]) -> Shaped[Tensor, "B C Y X"]:
        height, width = images.shape[-2:]
        top, left, flipped = draws.to(images.device, non_blocking=True)[:, :, None].unbind(1)  # (B, 1) each
        along = torch.arange(width, device=images.device)
        rows = top + torch.arange(height, device=images.device)  # (B, Y)
        columns = left + torch.where(flipped == 1, width - 1 - along, along)  # (B, X)
        padded = functional.pad(images, [self.padding] * 4)
        # One gather for all channels; indexing moves the indexed axes before C.
        picked = padded.movedim(1, -1)[
            torch.arange(len(images), device=images.device)[:, None, None], rows[:, :, None], columns[:, None]
        ]
        return picked.movedim(-1, 1).contiguous()
