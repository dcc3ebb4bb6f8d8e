"""Crops and flips on the device match torchvision, pixel by pixel and in distribution, for any batches."""

import itertools

import pytest
import torch
from scipy.stats import chisquare
from torchvision.transforms import RandomCrop, RandomHorizontalFlip
from torchvision.transforms.functional import crop, hflip, pad

from kiti.data.augmentation import CropAndFlip
from kiti.data.loading import ResumableLoader

IMAGES = torch.randint(256, (12, 3, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
AUGMENTATION = CropAndFlip(2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crops_and_flips_match_torchvision(dtype: torch.dtype) -> None:
    image = IMAGES[:1].to(dtype)
    outcomes = list(itertools.product(range(5), range(5), range(2)))
    found = AUGMENTATION(image.expand(len(outcomes), -1, -1, -1), torch.tensor(outcomes))
    for (top, left, flipped), one in zip(outcomes, found, strict=True):
        expected = crop(pad(image[0], 2), top, left, 8, 6)
        assert torch.equal(one, hflip(expected) if flipped else expected)


def test_draws_are_uniform_over_torchvisions_outcomes() -> None:
    """50 outcomes; torchvision's own draws must pass at the same level."""
    picture = torch.arange(1, 49, dtype=torch.uint8).view(1, 8, 6)  # all pixels differ, so each outcome is recognisable
    outcomes = torch.tensor(list(itertools.product(range(5), range(5), range(2))))
    shown = {tuple(o.flatten().tolist()): i for i, o in enumerate(AUGMENTATION(picture.expand(50, 1, 8, 6), outcomes))}
    assert len(shown) == 50
    n = 5000
    ours = AUGMENTATION(picture.expand(n, 1, 8, 6), AUGMENTATION.draw(n, torch.Generator().manual_seed(1)))
    torch.manual_seed(1)
    crops, flips = RandomCrop((8, 6), padding=2), RandomHorizontalFlip()
    theirs = [flips(crops(picture)) for _ in range(n)]
    for samples in (ours, theirs):
        counts = torch.bincount(torch.tensor([shown[tuple(s.flatten().tolist())] for s in samples]), minlength=50)
        assert chisquare(counts.numpy()).pvalue > 1e-3


def loaded(batch_size: int, rank: int = 0, world_size: int = 1, epoch: int = 3) -> dict[int, torch.Tensor]:
    """Each sample as it appears in an epoch, by its index."""
    tensors = (IMAGES, torch.arange(len(IMAGES)))
    loader = ResumableLoader(tensors, batch_size, seed=7, rank=rank, world_size=world_size, augmentation=AUGMENTATION)
    loader.set_epoch(epoch)
    return {int(n): image for images, numbers in loader for image, n in zip(images, numbers, strict=True)}


def test_augmentation_depends_only_on_seed_epoch_and_sample() -> None:
    full_epoch = loaded(12)
    shards = [loaded(4, rank, world_size=2) for rank in range(2)]
    assert not set(shards[0]) & set(shards[1])
    for others in (loaded(5), shards[0] | shards[1]):
        assert others.keys() == full_epoch.keys()
        assert all(torch.equal(others[n], full_epoch[n]) for n in full_epoch)
    later = loaded(12, epoch=4)
    assert sum(not torch.equal(later[n], full_epoch[n]) for n in full_epoch) > 6
    assert sum(not torch.equal(IMAGES[n], full_epoch[n]) for n in full_epoch) > 6


def test_a_resumed_epoch_continues_identically() -> None:
    def loader() -> ResumableLoader:
        return ResumableLoader(
            (IMAGES,), 5, seed=7, augmentation=AUGMENTATION, prepare=lambda batch: (batch[0].float(),)
        )

    first = loader()
    batches = iter(first)
    next(batches)
    state = first.state_dict()
    rest = [images for (images,) in batches]
    again = loader()
    again.load_state_dict(state)
    for (images,), expected in zip(again, rest, strict=True):
        assert torch.equal(images, expected)
        assert images.dtype == torch.float32
