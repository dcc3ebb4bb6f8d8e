"""timm's RandAugment with Pillow 13, which refuses to posterize to 0 bits."""

from typing import Any

from PIL import Image, ImageOps
from timm.data.auto_augment import AugmentOp, RandAugment


def posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep the upper `bits` of each channel; 0 gives a black image, as Pillow did until 12, and 8 the image itself.

    RandAugment asks for 0 at magnitude 10, which random magnitudes around 9 and even 7 reach.
    """
    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)


def mend_posterize(transform: Any) -> Any:
    """`transform` of timm.data.create_transform, whose RandAugment, if any, uses `posterize`."""
    for part in transform.transforms:
        for op in part.ops if isinstance(part, RandAugment) else ():
            if isinstance(op, AugmentOp) and op.name.startswith("Posterize"):
                op.aug_fn = posterize
    return transform
