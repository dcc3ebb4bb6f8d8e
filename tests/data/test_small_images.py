"""CIFAR and FashionMNIST: contents match the verified files; missing files are reported in one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_images import N_TEST, N_TRAIN, fake_cifar, fake_fashion_mnist

from kiti.data import DataError
from kiti.data.cifar import CIFARData
from kiti.data.fashion_mnist import FashionMNISTData, folder
from kiti.data.small_images import moments

ROOT = Path(__file__).parents[2]


def fashion(data_dir: Path, **other: object) -> FashionMNISTData:
    arguments = {"classes": 10, "n_train": N_TRAIN, "n_test": N_TEST, "batch_size": 8, "augment": False, "seed": 0}
    return FashionMNISTData(**(arguments | other), data_dir=str(data_dir))


def cifar(data_dir: Path, classes: int) -> CIFARData:
    return CIFARData(classes, N_TRAIN, N_TEST, 8, augment=False, data_dir=str(data_dir), seed=0)


def test_fashion_mnist_is_padded_and_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = fake_fashion_mnist(tmp_path, monkeypatch)
    (images, labels), (test_images, test_labels) = fashion(tmp_path).read()
    assert images.shape == (N_TRAIN, 3, 32, 32)
    assert test_images.shape == (N_TEST, 3, 32, 32)
    for channel in images.unbind(1):
        assert np.array_equal(channel[:, 2:-2, 2:-2], contents["train-images-idx3-ubyte"])
    assert images.sum(dtype=torch.int64) == 3 * contents["train-images-idx3-ubyte"].sum(dtype=np.int64)
    assert labels.tolist() == contents["train-labels-idx1-ubyte"].tolist()
    assert test_labels.tolist() == contents["t10k-labels-idx1-ubyte"].tolist()


def test_the_hundred_classes_are_pairs_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = fake_fashion_mnist(tmp_path, monkeypatch)
    (images, labels), (test_images, test_labels) = fashion(tmp_path, classes=100).read()
    for pairs, pair_labels, part in ((images, labels, "train"), (test_images, test_labels, "t10k")):
        pictures = contents[f"{part}-images-idx3-ubyte"]
        own = contents[f"{part}-labels-idx1-ubyte"]
        place = {picture.tobytes(): i for i, picture in enumerate(pictures)}
        red, green, blue = pairs[:, :, 2:-2, 2:-2].unbind(1)
        assert np.array_equal(red, pictures)
        others = [place[picture.numpy().tobytes()] for picture in blue]
        assert sorted(others) == list(range(len(pictures)))  # each once
        assert others != sorted(others)
        assert torch.equal(green, torch.maximum(red, blue))
        assert pair_labels.tolist() == [10 * int(a) + int(b) for a, b in zip(own, own[others], strict=True)]
    again, _ = fashion(tmp_path, classes=100, seed=1).read()
    assert torch.equal(again[0], images)
    assert fashion(tmp_path, classes=100).stand_in != fashion(tmp_path).stand_in


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_matches_its_files(classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = fake_cifar(tmp_path, monkeypatch, classes)
    (images, labels), (test_images, _) = cifar(tmp_path, classes).read()
    trained = [array for name, array in contents.items() if name.startswith(("data", "train"))]
    assert np.array_equal(images, np.concatenate(trained))
    assert np.array_equal(test_images, contents["test_batch" if classes == 10 else "test"])
    assert int(labels.max()) < classes


def test_batches_are_normalised_with_training_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cifar(tmp_path, monkeypatch)
    data = cifar(tmp_path, 10)
    (images, _), _ = data.read()
    whole = torch.cat([batch for batch, _ in data.train_eval_dataloader()])
    torch.testing.assert_close(whole.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    mean, std = moments(images)
    torch.testing.assert_close(whole * std + mean, images.float(), atol=1e-3, rtol=0)
    drawn = {float(image.sum()) for batch, _ in data.train_dataloader() for image in batch}
    assert drawn == {float(image.sum()) for image in whole}  # every image once, unchanged: augment=False


def test_augmented_images_are_crops_with_zero_padding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_fashion_mnist(tmp_path, monkeypatch)
    data = fashion(tmp_path, augment=True)
    assert data._moments is None
    plain = torch.cat([batch for batch, _ in fashion(tmp_path).train_eval_dataloader()])
    changed = torch.cat([batch for batch, _ in data.train_dataloader()])
    assert changed.shape == plain.shape
    assert float(changed.min()) == pytest.approx(float(plain.min()))  # padding comes before normalisation


def test_a_subset_is_the_beginning_of_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_fashion_mnist(tmp_path, monkeypatch)
    whole, part = fashion(tmp_path), fashion(tmp_path, n_train=8, n_test=6)
    (images, _), (labels,) = whole._data[0], whole._data[1][1:]
    assert torch.equal(part._data[0][0], images[:8])
    assert torch.equal(part._data[1][1], labels[:6])
    assert part.fingerprint == whole.fingerprint | {"split": {"train": 8, "test": 6}}
    with pytest.raises(ValueError, match=r"data.n_train=41: the set has 40"):
        fashion(tmp_path, n_train=41).setup()


def test_missing_or_damaged_files_are_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is missing; scripts/fetch_fashion_mnist.py"):
        fashion(tmp_path).setup()
    fake_fashion_mnist(tmp_path, monkeypatch)
    damaged = folder(tmp_path) / "t10k-labels-idx1-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x07")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte is damaged"):
        fashion(tmp_path).setup()


def test_unreachable_cifar_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.CIFAR10.url", f"file://{tmp_path}/nowhere.tar.gz")
    with pytest.raises(DataError, match=r"CIFAR-10 is not complete in .*; put cifar-10-python.tar.gz there, or use"):
        cifar(tmp_path, 10).setup()


@pytest.mark.slow
def test_a_run_without_data_says_so_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kiti.train", "experiment=fashion_ko", "scale=smoke"]
    places = [f"runs_dir={tmp_path}/runs", f"data_dir={tmp_path}/data"]
    done = subprocess.run([*command, *places], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "fetch_fashion_mnist.py downloads it" in done.stderr
