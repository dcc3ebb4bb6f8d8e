"""timm's RandAugment at full magnitude with Pillow 13, which no longer posterizes to 0 bits."""

from collections.abc import Callable
from typing import Any

from PIL import Image
from timm.data import auto_augment


def posterize(image: Image.Image, bits_to_keep: int, **settings: Any) -> Image.Image:
    """As timm's; with 0 bits every channel is 0, as Pillow gave until 12."""
    if bits_to_keep < 1:
        return Image.new(image.mode, image.size)
    return auto_augment.posterize(image, bits_to_keep, **settings)


def allow_no_bits(transform: Callable[[Image.Image], Any]) -> None:
    """Make the RandAugment inside `transform`, if any, use `posterize`."""
    for step in getattr(transform, "transforms", ()):
        for operation in getattr(step, "ops", ()):
            if operation.aug_fn is auto_augment.posterize:
                operation.aug_fn = posterize
