"""Images in one folder per class, in the layout of torchvision.datasets.ImageFolder."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from kiti.data import DataError
from kiti.data.image_source import ImageSource, decode


class ImageFolder(ImageSource):
    """`root/<class>/…/<image>.JPEG`; classes are numbered in the sorted order of folders, images sorted within each.

    Raises:
        DataError: `root` is missing, contains no folders, or contains a folder without images.
    """

    def __init__(self, root: Path) -> None:
        layout = f"expected {root}/<class>/<image>.JPEG, one folder per class"
        if not root.is_dir():
            raise DataError(f"{root} is missing; {layout}")
        classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        if not classes:
            raise DataError(f"{root} contains no class folders; {layout}")
        try:
            found = make_dataset(str(root), {name: i for i, name in enumerate(classes)}, IMG_EXTENSIONS)
        except FileNotFoundError as empty:  # torchvision names the classes without images
            raise DataError(f"{root}: {empty}") from empty
        self.root = root
        self.classes = len(classes)
        # One array of bytes: with a million Python strings, every worker process would soon have its own copy.
        self.names = np.array([str(Path(path).relative_to(root)).encode() for path, _ in found])
        self.labels = np.array([label for _, label in found], np.int64)

    def read(self, i: int) -> Image.Image:
        path = self.root / self.names[i].decode()
        return decode(path.read_bytes(), str(path))

    def files(self) -> Iterator[Path]:
        return (self.root / name.decode() for name in self.names)
