"""RandAugment's strongest posterizing works with every Pillow."""

import random

import pytest
from PIL import Image
from timm.data import create_transform

from kiti.data.posterize import allow_no_bits, posterize


def picture() -> Image.Image:
    return Image.effect_noise((8, 8), 80).convert("RGB")


@pytest.mark.parametrize("bits", range(1, 9))
def test_some_bits_are_timms(bits: int) -> None:
    step = 256 >> bits
    before = picture()
    expected = before.point(lambda value: value // step * step)
    assert posterize(before, bits).tobytes() == expected.tobytes()


def test_no_bits_leave_a_black_picture() -> None:
    assert posterize(picture(), 0).getextrema() == ((0, 0),) * 3


def test_rand_augment_at_full_magnitude() -> None:
    transform = create_transform(8, is_training=True, auto_augment="rand-m10-n20-inc1")
    allow_no_bits(transform)
    random.seed(0)
    for _ in range(50):
        assert transform(picture()).shape == (3, 8, 8)
