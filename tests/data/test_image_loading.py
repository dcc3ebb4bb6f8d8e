"""Images from worker processes: a batch depends only on (seed, epoch, position), however it is read."""

import random
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from image_sets import N_TRAIN, write_folder
from timm.data import create_transform
from timm.data.distributed_sampler import RepeatAugSampler
from torch import Tensor

from kiti.data import DataError
from kiti.data.image_folder import ImageFolder
from kiti.data.image_loading import ImageEvaluationLoader, ImageLoader, Samples, drawing_from
from kiti.data.image_source import ImageSource
from kiti.data.loading import epoch_order

BATCH, STEPS = 4, N_TRAIN // 4


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Samples whose augmentation draws from all three generators: Python's, numpy's and torch's."""
    root = write_folder(tmp_path_factory.mktemp("images"))
    augment = create_transform(16, is_training=True, auto_augment="rand-m9-mstd0.5-inc1", re_prob=0.5, re_mode="pixel")
    return Samples(ImageFolder(root / "train"), augment, seed=3)


def epoch_of(loader: ImageLoader, epoch: int) -> list[tuple[Tensor, ...]]:
    loader.set_epoch(epoch)
    return list(loader)


def same(one: list[tuple[Tensor, ...]], other: list[tuple[Tensor, ...]]) -> bool:
    pairs = [(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)]
    return all(torch.equal(a, b) for a, b in pairs)


def test_an_epoch_shows_each_image_at_most_once_and_drops_the_partial_batch(samples: Samples) -> None:
    loader = ImageLoader(samples, BATCH, seed=1)
    shown = [i for batch in loader.plan(0, 0) for i, _epoch, _position in batch]
    assert shown == epoch_order(N_TRAIN, 1, 0)[: STEPS * BATCH].tolist()
    batches = epoch_of(loader, 0)
    assert len(batches) == len(loader) == STEPS
    for images, labels in batches:
        assert images.shape == (BATCH, 3, 16, 16)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64


def test_batches_do_not_depend_on_workers_or_earlier_draws(samples: Samples) -> None:
    # Not Python's generator: beartype uses it to choose which list item to check.
    of_numpy, of_torch = np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    alone = epoch_of(ImageLoader(samples, BATCH, seed=1), 2)
    assert of_numpy == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(of_torch, torch.get_rng_state())
    random.seed(9)
    np.random.seed(9)  # noqa: NPY002
    torch.manual_seed(9)
    assert same(epoch_of(ImageLoader(samples, BATCH, seed=1, workers=2), 2), alone)
    assert not same(epoch_of(ImageLoader(samples, BATCH, seed=1), 1), alone)


@pytest.mark.parametrize("workers", [0, 1])
def test_resume_inside_an_epoch(samples: Samples, workers: int) -> None:
    first = ImageLoader(samples, BATCH, seed=1, repeats=3, workers=workers)
    whole = epoch_of(first, 1)
    for _ in islice(first, 2):
        pass
    state = first.state_dict()
    resumed = ImageLoader(samples, BATCH, seed=1, repeats=3, workers=workers)
    resumed.load_state_dict(state)
    assert same(list(resumed), whole[2:])
    assert same(epoch_of(resumed, 2), epoch_of(first, 2))
    with pytest.raises(ValueError, match="repeats was 3 when saved and is 1 now"):
        ImageLoader(samples, BATCH, seed=1).load_state_dict(state)


@pytest.mark.parametrize("repeats", [1, 3])
def test_ranks_split_each_single_process_batch(samples: Samples, repeats: int) -> None:
    alone = list(ImageLoader(samples, BATCH, seed=1, repeats=repeats).plan(1, 0))
    ranks = [
        list(ImageLoader(samples, BATCH, seed=1, repeats=repeats, rank=r, world_size=2).plan(1, 0)) for r in (0, 1)
    ]
    assert [sorted(a + b) for a, b in zip(*ranks, strict=True)] == [sorted(batch) for batch in alone]
    assert {len(batch) for rank in ranks for batch in rank} == {BATCH // 2}


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_repeats_are_distributed_as_in_timm(samples: Samples, world_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    n, batch = 1100, 256
    monkeypatch.setattr("kiti.data.loading.epoch_order", lambda size, seed, epoch: torch.arange(size))
    monkeypatch.setattr(Samples, "__len__", lambda _: n)
    for rank in range(world_size):
        loader = ImageLoader(samples, batch, seed=0, repeats=3, rank=rank, world_size=world_size)
        ours = [i for part in loader.plan(0, 0) for i, _epoch, _position in part]
        timms = list(RepeatAugSampler(range(n), world_size, rank, shuffle=False, num_repeats=3))
        assert ours == timms[: len(timms) // (batch // world_size) * (batch // world_size)]


def test_repeats_of_an_image_are_augmented_differently(samples: Samples) -> None:
    loader = ImageLoader(samples, 6, seed=1, repeats=3)
    [items, *_] = loader.plan(0, 0)
    assert list(Counter(i for i, _epoch, _position in items).values()) == [3, 3]
    images, _labels = next(iter(loader))
    assert not any(torch.equal(images[a], images[b]) for a in range(3) for b in range(a))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_reads_each_image_once_over_all_ranks(samples: Samples, world_size: int) -> None:
    crop = create_transform(16)
    plain = Samples(samples.source, crop, seed=0)
    expected = torch.stack([crop(samples.source.read(i)) for i in range(N_TRAIN)])
    loaders = [ImageEvaluationLoader(plain, 6, rank=rank, world_size=world_size) for rank in range(world_size)]
    found = torch.cat([images for parts in zip(*loaders, strict=True) for images, _labels in parts])
    assert torch.equal(found, expected)
    some = torch.tensor([4, 2, 17])
    [(images, labels)] = ImageEvaluationLoader(plain, 6, which=some)
    assert torch.equal(images, expected[some])
    assert labels.tolist() == samples.source.labels[some].tolist()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_reported_in_one_line_from_a_worker_too(tmp_path: Path, workers: int) -> None:
    (tmp_path / "n01").mkdir()
    (tmp_path / "n01" / "text.JPEG").write_bytes(b"no image")
    samples = Samples(ImageFolder(tmp_path), create_transform(16), seed=0)
    with pytest.raises(DataError, match=r"^/.*n01/text\.JPEG is not a readable image: [^\n]*$"):
        next(iter(ImageLoader(samples, 1, seed=0, workers=workers)))


def test_too_few_images_are_reported() -> None:
    three = ImageSource()
    three.labels = np.zeros(3, np.int64)
    with pytest.raises(DataError, match="batch_size 4 exceeds the number of images, 3"):
        ImageLoader(Samples(three, create_transform(16), 0), 4, seed=0)


def test_generators_are_restored_after_an_error() -> None:
    before = random.getstate(), torch.get_rng_state()

    def failing() -> None:
        with drawing_from(1, 2):
            random.random()
            torch.rand(1)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_batch_tells_its_images(samples: Samples, repeats: int) -> None:
    loader = ImageLoader(samples, BATCH, seed=1, repeats=repeats)
    for number, batch in enumerate(loader.plan(1, 0)):
        assert loader.samples_of_batch(1, number) == [image for image, _epoch, _position in batch]
