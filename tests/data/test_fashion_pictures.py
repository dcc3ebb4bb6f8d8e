"""FashionMNIST through ImageNet's transforms: which pictures, in which set."""

from collections.abc import Iterator
from pathlib import Path

import fake_images
import numpy as np
import pytest
import torch

from kiti.configuration.compose import compose
from kiti.data import DataError
from kiti.data.fashion_pictures import FashionPictures
from kiti.training import building

RUN = ["experiment=fashion_resnet50", "scale=smoke"]


def data(place: Path, *overrides: str) -> FashionPictures:
    made = building.data(compose([*RUN, f"data_dir={place}", *overrides]))
    assert isinstance(made, FashionPictures)
    return made


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, np.ndarray]]]:
    place = tmp_path_factory.mktemp("fashion")
    with pytest.MonkeyPatch.context() as patched:
        yield place, fake_images.fake_fashion_mnist(place, patched)


def test_the_pictures_are_framed_and_grey(pictures: tuple[Path, dict[str, np.ndarray]]) -> None:
    place, stored = pictures
    train, test = data(place).sources
    assert (len(train), len(test)) == (16, 10)
    for source, part in ((train, "train"), (test, "t10k")):
        picture = np.asarray(source.read(3))
        assert picture.shape == (32, 32, 3)
        assert (picture[2:-2, 2:-2] == stored[f"{part}-images-idx3-ubyte"][3][:, :, None]).all()
        assert (source.labels == stored[f"{part}-labels-idx1-ubyte"][: len(source)]).all()


def test_held_out_pictures_are_training_pictures_that_are_not_trained_on(
    pictures: tuple[Path, dict[str, np.ndarray]],
) -> None:
    place, stored = pictures
    held = data(place, "data.held_out=true")
    train, test = held.sources
    assert (np.asarray(test.read(0))[2:-2, 2:-2, 0] == stored["train-images-idx3-ubyte"][16]).all()
    assert len(train) == 16
    assert held.fingerprint["content"] != data(place).fingerprint["content"]


def test_batches(pictures: tuple[Path, dict[str, np.ndarray]]) -> None:
    made = data(pictures[0])
    images, labels = next(iter(made.test_dataloader()))
    assert images.shape[1:] == (3, 32, 32)
    assert images.dtype == torch.float32
    assert labels.tolist() == [0, 1, 2, 3]
    assert len(list(made.train_dataloader())) == 2
    assert made.stand_in
    assert "ImageNet-1k" in made.stand_in


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("data.n_train=41", "data.n_train=41: FashionMNIST has 40 pictures"),
        ("data.n_test=21", "data.n_test=21: FashionMNIST has 20 pictures"),
    ],
)
def test_more_pictures_than_there_are(
    override: str, complaint: str, pictures: tuple[Path, dict[str, np.ndarray]]
) -> None:
    with pytest.raises(DataError, match=complaint):
        data(pictures[0], override).setup()
