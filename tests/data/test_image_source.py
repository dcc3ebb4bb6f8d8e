"""Images on disk: both layouts give the same images in any format, and errors are reported in one line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_sets import N_TEST, N_TRAIN, png, write_folder, write_shards

from kiti.data import DataError
from kiti.data.image_folder import ImageFolder
from kiti.data.image_parquet import ParquetShards, find_shards
from kiti.data.image_source import listing_sha256


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("folder"))


def test_both_layouts_hold_the_same_images(folder: Path, tmp_path: Path) -> None:
    root = write_shards(tmp_path / "shards", folder)
    for name, of_folder, n in (("train", "train", N_TRAIN), ("validation", "val", N_TEST)):
        files, rows = ImageFolder(folder / of_folder), ParquetShards(find_shards(root, name), tmp_path / "arrow")
        assert len(files) == len(rows) == n
        assert files.classes == rows.classes == 3
        assert files.labels.tolist() == rows.labels.tolist() == sorted(list(range(3)) * (n // 3))
        for i in range(n):
            image = files.read(i)
            assert image.mode == "RGB"
            assert np.array_equal(image, rows.read(i))


def test_a_listing_depends_on_names_and_sizes_but_not_on_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").write_bytes(b"1")
    one, other = tmp_path / "a", tmp_path / "b"
    before = listing_sha256(tmp_path, [one, other])
    assert listing_sha256(tmp_path, [other, one]) == before
    other.write_bytes(b"123")
    assert listing_sha256(tmp_path, [one, other]) != before
    other.write_bytes(b"1")
    assert listing_sha256(tmp_path, [one, other.rename(tmp_path / "c")]) != before


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "n01").mkdir()
    whole = png()
    for name, content in {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no image"}.items():
        (tmp_path / "n01" / f"{name}.JPEG").write_bytes(content)
    source = ImageFolder(tmp_path)
    for i, name in enumerate(("cut", "empty", "text")):
        with pytest.raises(DataError, match=rf"n01/{name}\.JPEG is not a readable image") as error:
            source.read(i)
        assert "\n" not in str(error.value)


def test_the_error_for_an_unknown_layout_describes_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"val is missing; expected .*val/<class>/<image>\.JPEG"):
        ImageFolder(tmp_path / "val")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "image.JPEG").write_bytes(png())
    with pytest.raises(DataError, match="flat contains no class folders; expected"):
        ImageFolder(tmp_path / "flat")
    (tmp_path / "train" / "n01").mkdir(parents=True)
    with pytest.raises(DataError, match="no valid file for the classes n01"):
        ImageFolder(tmp_path / "train")


def test_invalid_shards_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains no train-\*\.parquet; expected"):
        find_shards(tmp_path, "train")
    broken = tmp_path / "train-00000-of-00001.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet is not a readable Parquet file"):
        ParquetShards([broken], tmp_path / "arrow")
    pq.write_table(pa.table({"img": [b""], "label": [0]}), broken)
    with pytest.raises(DataError, match="has no column image; it has img, label"):
        ParquetShards([broken], tmp_path / "arrow")
    unlabelled = [{"image": {"bytes": png(), "path": "x"}, "label": -1}]
    pq.write_table(pa.Table.from_pylist(unlabelled), broken)
    with pytest.raises(DataError, match="rows without a label"):
        ParquetShards([broken], tmp_path / "arrow")
