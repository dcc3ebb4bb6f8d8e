"""FashionMNIST at 32 x 32: a stand-in for CIFAR-10 and, in pairs, for CIFAR-100. Debian packages it."""

import hashlib
from pathlib import Path

import torch
from torch.nn import functional
from torchvision.datasets import FashionMNIST

from kiti.data import DataError
from kiti.data.small_images import Images, Labels, SmallImages

SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Of the unpacked files."""

PAIRS_SEED = 0  # determines which pictures are paired


def folder(data_dir: str | Path) -> Path:
    """The folder of the files, as torchvision expects it."""
    return Path(data_dir) / FashionMNIST.__name__ / "raw"


class FashionMNISTData(SmallImages):
    """60,000 training and 10,000 test pictures of clothes, 28 x 28, in 10 or 100 classes.

    Pictures are padded with zeros, two pixels on each side. With `classes=10` they are grey: all three channels are
    equal. With `classes=100` each is combined with another one of the same set: one is the red channel, the other the
    blue channel, green is the brighter of the two, and the label is 10 (red's label) + (blue's label). The pairing is
    fixed and independent of the seed; each picture is red once and blue once.
    """

    @property
    def stand_in(self) -> str:  # type: ignore[override]
        if self.classes == 10:
            return "FashionMNIST, grey pictures of clothes, in place of CIFAR-10"
        return "FashionMNIST, a red picture of clothes over a blue one in 100 pairs of classes, in place of CIFAR-100"

    def read(self) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
        place = folder(self.data_dir)
        for name, expected in SHA256.items():
            path = place / name
            if not path.is_file():
                raise DataError(f"{path} is missing; scripts/fetch_fashion_mnist.py downloads it")
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise DataError(f"{path} is damaged; delete it and run scripts/fetch_fashion_mnist.py again")
        train, test = (self._part(train) for train in (True, False))
        return train, test

    def _part(self, train: bool) -> tuple[Images, Labels]:
        there = FashionMNIST(self.data_dir, train=train, download=False)
        framed = functional.pad(there.data, [2, 2, 2, 2])
        labels = there.targets.to(torch.int64)
        if self.classes == 10:
            return framed[:, None].expand(-1, 3, -1, -1), labels
        other = torch.randperm(len(framed), generator=torch.Generator().manual_seed(PAIRS_SEED))
        red, blue = framed, framed[other]
        return torch.stack([red, torch.maximum(red, blue), blue], dim=1), 10 * labels + labels[other]
