"""Images on disk, read by number and decoded to RGB, with labels."""

import hashlib
import io
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image

from kiti.data import DataError


class ImageSource:
    """Images by number. A source knows where images are but contains none, so copying it to worker processes is cheap.

    Attributes:
        labels: of each image, counted from 0.
        classes: number of classes.
    """

    labels: Int64[np.ndarray, "n"]
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def read(self, i: int) -> Image.Image:
        """Image `i`, converted to RGB; DataError with its name if it cannot be decoded."""

    @abstractmethod
    def files(self) -> Iterable[Path]:
        """All files that the source reads."""


def decode(data: bytes, name: str) -> Image.Image:
    """The image in `data` as RGB; DataError with `name` if it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's errors for invalid images
        raise DataError(f"{name} is not a readable image: {error}") from error


def listing_sha256(root: Path, files: Iterable[Path]) -> str:
    """sha256 of the sorted names, relative to `root`, and sizes in bytes of `files`.

    The content is not read: hashing ImageNet-1k's 150 GB would take longer than many test runs. Equal listings
    still mean the same set, unless someone forged the files.
    """
    lines = sorted(f"{file.relative_to(root).as_posix()}\t{file.stat().st_size}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
