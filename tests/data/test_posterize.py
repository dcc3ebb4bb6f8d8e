"""RandAugment at the strongest magnitude, where it posterizes to 0 bits."""

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform
from timm.data.auto_augment import AugmentOp, RandAugment

from kiti.data.posterize import mend_posterize, posterize


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize("bits", range(9))
def test_the_upper_bits_are_kept(bits: int) -> None:
    kept = np.asarray(posterize(picture(), bits))
    assert np.array_equal(kept, np.asarray(picture()) & (0xFF00 >> bits & 0xFF))


def test_every_operation_works_at_magnitude_ten() -> None:
    transform = mend_posterize(create_transform(32, is_training=True, auto_augment="rand-m10-inc1"))
    [randomly] = [part for part in transform.transforms if isinstance(part, RandAugment)]
    assert "PosterizeIncreasing" in {op.name for op in randomly.ops}
    for op in randomly.ops:
        assert isinstance(op, AugmentOp)
        op.prob = 1.0
        op(picture())
