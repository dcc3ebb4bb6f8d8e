"""Small generated image sets in the files that torchvision reads, with the checksums it expects."""

import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100

from kiti.data import fashion_mnist

N_TRAIN, N_TEST = 40, 20


def fake_fashion_mnist(data_dir: Path, patched: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The four files of FashionMNIST in `data_dir`; their contents by name."""
    random = np.random.default_rng(0)
    place = fashion_mnist.folder(data_dir)
    place.mkdir(parents=True)
    contents, checksums = {}, {}
    for part, size in (("train", N_TRAIN), ("t10k", N_TEST)):
        images = random.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        labels = (np.arange(size) % 10).astype(np.uint8)
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            content = struct.pack(f">{array.ndim + 1}i", 0x800 + array.ndim, *array.shape) + array.tobytes()
            (place / name).write_bytes(content)
            contents[name], checksums[name] = array, hashlib.sha256(content).hexdigest()
    patched.setattr(fashion_mnist, "SHA256", checksums)
    return contents


def fake_cifar(data_dir: Path, patched: pytest.MonkeyPatch, classes: int = 10) -> dict[str, np.ndarray]:
    """The unpacked files of CIFAR in `data_dir`; the images (n, 3, 32, 32) by file."""
    random = np.random.default_rng(1)
    kind = {10: CIFAR10, 100: CIFAR100}[classes]
    place = data_dir / "cifar" / kind.base_folder
    place.mkdir(parents=True)
    images: dict[str, np.ndarray] = {}

    def listed(files: list[list[str]], size: int) -> list[list[str]]:
        found = []
        for name, _md5 in files:
            images[name] = random.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8)
            labels = (np.arange(size) % classes).tolist()
            entry = {"data": images[name].reshape(size, -1), "labels" if classes == 10 else "fine_labels": labels}
            found.append([name, written(place / name, entry)])
        return found

    train = listed(kind.train_list, N_TRAIN // len(kind.train_list))
    patched.setattr(kind, "test_list", listed(kind.test_list, N_TEST))
    patched.setattr(kind, "train_list", train)
    meta = {kind.meta["key"]: [str(label) for label in range(classes)]}
    patched.setattr(kind, "meta", kind.meta | {"md5": written(place / kind.meta["filename"], meta)})
    return images


def written(path: Path, entry: object) -> str:
    """Write it; returns its md5."""
    content = pickle.dumps(entry)
    path.write_bytes(content)
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
