"""Images in Parquet shards, as Hugging Face publishes them."""

from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from kiti.data import DataError
from kiti.data.image_source import ImageSource, decode

COLUMNS = {"image", "label"}


class ParquetShards(ImageSource):
    """Rows with an `image` {bytes, path} and a `label`, in the order of the shards.

    A shuffled epoch reads single rows, but Parquet decodes a whole row group (some hundred images) at a time. So
    `datasets` copies the shards once to memory-mapped Arrow files of the same size under `cache_dir`.

    Raises:
        DataError: a shard lacks a column or cannot be read; a row has no label.
    """

    def __init__(self, shards: Sequence[Path], cache_dir: Path) -> None:
        self.shards = list(shards)
        for shard in self.shards:
            _check(shard)
        names = [str(shard) for shard in self.shards]
        rows = datasets.Dataset.from_parquet(names, cache_dir=str(cache_dir), columns=sorted(COLUMNS))
        assert isinstance(rows, datasets.Dataset)
        self.rows = rows.with_format("arrow")  # as stored: neither decoded nor cast
        self.labels = rows.data.column("label").to_numpy().astype(np.int64)
        if not len(self) or self.labels.min() < 0:
            raise DataError(f"{self.shards[0].parent}: rows without a label, as in an unlabelled test set")
        self.classes = int(self.labels.max()) + 1

    def read(self, i: int) -> Image.Image:
        image = self.rows[i].column("image")[0].as_py()
        return decode(image["bytes"] or b"", f"row {i} of {self.shards[0].parent} ({image['path']})")

    def files(self) -> list[Path]:
        return self.shards


def find_shards(root: Path, split: str) -> list[Path]:
    """`root/**/<split>-*.parquet`, sorted; DataError if there is none."""
    shards = sorted(root.rglob(f"{split}-*.parquet"))
    if not shards:
        raise DataError(f"{root} contains no {split}-*.parquet; expected shards like {split}-00000-of-….parquet")
    return shards


def _check(shard: Path) -> None:
    try:
        columns = set(pq.read_schema(shard).names)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise DataError(f"{shard} is not a readable Parquet file: {error}") from error
    if missing := COLUMNS - columns:
        raise DataError(f"{shard} has no column {' or '.join(sorted(missing))}; it has {', '.join(sorted(columns))}")
