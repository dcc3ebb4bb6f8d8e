"""A small image set in ImageNet's two layouts, with the image sizes and formats that ImageNet has."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES, N_TRAIN, N_TEST = ("n01", "n02", "n03"), 18, 9
SPLITS = {"train": N_TRAIN, "val": N_TEST}
STORED = ["L", "CMYK", "P"]  # the first of each set: grey and CMYK JPEGs, and a PNG with a palette named .JPEG


def write_folder(root: Path) -> Path:
    """`root/{train,val}/<class>/<image>.JPEG`, equally many per class; returns `root`."""
    random = np.random.default_rng(0)
    for split, n in SPLITS.items():
        for i in range(n):
            label = i % len(CLASSES)
            y, x = random.integers(30, 60, 2)
            colour = np.zeros((y, x, 3)) + [200 * (label == c) + 50 for c in range(3)]  # each class has a colour
            pixels = (colour + random.integers(-40, 40, (y, x, 3))).clip(0, 255).astype(np.uint8)
            image = Image.fromarray(pixels).convert(STORED[i] if i < len(STORED) else "RGB")
            path = root / split / CLASSES[label] / f"{split}_{i:02d}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, "PNG" if image.mode == "P" else "JPEG")
    return root


def write_shards(root: Path, folder: Path) -> Path:
    """The same images in the same order in Hugging Face's shards, two per set; returns `root`."""
    for split, name in (("train", "train"), ("val", "validation")):
        paths = sorted((folder / split).rglob("*.JPEG"))
        rows = [
            {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": CLASSES.index(path.parent.name)}
            for path in paths
        ]
        half = len(rows) // 2
        for i, part in enumerate((rows[:half], rows[half:])):
            place = root / "data" / f"{name}-{i:05d}-of-00002.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(part), place, row_group_size=4)
    return root


def png(size: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), "red").save(buffer, "PNG")
    return buffer.getvalue()
