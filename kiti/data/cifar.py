"""CIFAR-10 and CIFAR-100, downloaded and verified by torchvision."""

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from kiti.data import DataError
from kiti.data.small_images import Images, Labels, SmallImages


class CIFARData(SmallImages):
    """50,000 training and 10,000 test photographs of 32 x 32 pixels, in `<data_dir>/cifar`, downloaded if missing.

    Args:
        classes: 10 or 100, selects the set.
    """

    def read(self) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
        train, test = (self._part(train) for train in (True, False))
        return train, test

    def _part(self, train: bool) -> tuple[Images, Labels]:
        kind = {10: CIFAR10, 100: CIFAR100}[self.classes]
        place = Path(self.data_dir) / "cifar"
        try:
            there = kind(place, train=train, download=True)
        except (URLError, OSError, RuntimeError) as error:  # RuntimeError: wrong checksum
            raise DataError(
                f"CIFAR-{self.classes} is not complete in {place} and could not be downloaded ({error}); put "
                f"{kind.filename} there, or use the stand-in data=fashion_mnist"
            ) from error
        images: Tensor = torch.from_numpy(there.data).permute(0, 3, 1, 2)
        return images, torch.tensor(there.targets)
