"""Trajectories are read as stored, frames are chosen as in the papers, and errors name what does not fit."""

import json
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tfrecord
import torch
from meshgraphnets_cases import META, RAW, trajectory, write

from kiti.data.meshgraphnets import AIRFOIL_FIELDS, INPUT_FRAMES, Meta, airfoil_trajectories, read_meta, trajectories
from kiti.data.tfrecord import TFRecordError, records


@pytest.fixture
def meta(tmp_path: Path) -> Meta:
    return meta_of(tmp_path)


def meta_of(folder: Path, **changes: Any) -> Meta:
    (folder / "meta.json").write_text(json.dumps({**META, **changes}))
    return read_meta(folder / "meta.json")


def test_trajectories_match_what_was_stored(tmp_path: Path, meta: Meta) -> None:
    stored = [trajectory(7, 4, 0), trajectory(5, 9, 1)]
    path = write(tmp_path / "train.tfrecord", stored)
    found = list(trajectories(path, meta))
    assert [place.number for place, _ in found] == [0, 1]
    for arrays, (_, read) in zip(stored, found, strict=True):
        assert tuple(read) == AIRFOIL_FIELDS
        for name, array in read.items():
            np.testing.assert_array_equal(array, arrays[name])
            assert array.dtype == arrays[name].dtype
    [(_, only)] = list(trajectories(write(tmp_path / "one", stored[:1]), meta, ["density"]))
    assert list(only) == ["density"]


def test_every_24th_frame_from_the_first(tmp_path: Path, meta: Meta) -> None:
    path = write(tmp_path / "train.tfrecord", [trajectory(7, 4, 0), trajectory(5, 9, 1), trajectory(6, 2, 2)])
    found = airfoil_trajectories(path, meta, limit=2)
    assert {name: (tuple(value.shape), value.dtype) for name, value in found.items()} == {
        "fields": ((2, 25, 7, 4), torch.float32),
        "positions": ((2, 7, 2), torch.float32),
        "node_type": ((2, 7), torch.int64),
        "counts": ((2,), torch.int64),
        "triangles": ((2, 9, 3), torch.int32),
    }
    assert found["counts"].tolist() == [7, 5]
    for n, (points, triangles) in enumerate([(7, 4), (5, 9)]):
        stored = trajectory(points, triangles, n)
        raw = np.concatenate([stored["velocity"], stored["density"], stored["pressure"]], axis=2)
        np.testing.assert_array_equal(found["fields"][n, :, :points], raw[[24 * i for i in range(25)]])
        np.testing.assert_array_equal(found["positions"][n, :points], stored["mesh_pos"])
        np.testing.assert_array_equal(found["node_type"][n, :points], stored["node_type"][:, 0] // 2)
        np.testing.assert_array_equal(found["triangles"][n, :triangles], stored["cells"])
        assert not found["fields"][n, :, points:].any()
        assert not found["positions"][n, points:].any()
        assert not found["node_type"][n, points:].any()
        assert (found["triangles"][n, triangles:] == -1).all()
    assert len(airfoil_trajectories(path, meta)["counts"]) == 3


def test_times_of_the_frames(tmp_path: Path, meta: Meta) -> None:
    """The paper's 0.576 s is the last frame given; its 4.8 s is raw frame 600, the 26th kept."""
    path = write(tmp_path / "train.tfrecord", [trajectory(3, 1)])
    frames = airfoil_trajectories(path, meta, frames=26)["fields"][0, :, 0, 0]
    times = (0.008 * ((frames - 0.1) / 1000).round()).tolist()
    assert times[:INPUT_FRAMES] == pytest.approx([0, 0.192, 0.384, 0.576])
    assert times[24] == pytest.approx(4.608)
    assert times[25] == pytest.approx(4.8)


@pytest.mark.parametrize(("raw", "enough"), [(576, False), (577, True), (600, True)])
def test_trajectories_of_different_lengths(raw: int, enough: bool, tmp_path: Path) -> None:
    features = {
        name: {**entry, "shape": [raw if n == RAW else n for n in entry["shape"]]}
        for name, entry in META["features"].items()
    }
    meta = meta_of(tmp_path, trajectory_length=raw, features=features)
    path = write(tmp_path / "train.tfrecord", [trajectory(3, 1, raw=raw)])
    if enough:
        assert airfoil_trajectories(path, meta)["fields"].shape == (1, 25, 3, 4)
    else:
        with pytest.raises(ValueError, match="25 frames, every 24th, need 577 raw ones; it has 576"):
            airfoil_trajectories(path, meta)


def test_other_times_are_reported(tmp_path: Path, meta: Meta, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "train.tfrecord", [trajectory(3, 1)])
    with caplog.at_level(logging.WARNING):
        airfoil_trajectories(path, meta)
        assert caplog.messages == []
        airfoil_trajectories(path, meta_of(tmp_path, dt=0.01))
    assert caplog.messages == [f"{path}: raw frames are 0.01 s apart, not 0.008; kept ones are 0.24"]


def test_one_trajectory_at_a_time(tmp_path: Path, meta: Meta) -> None:
    path = write(tmp_path / "train.tfrecord", [trajectory(300, 10, n) for n in range(6)])
    record = path.stat().st_size / 6
    airfoil_trajectories(path, meta, limit=1)  # warm-up: compilation and imports
    tracemalloc.start()
    found = airfoil_trajectories(path, meta)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    result = sum(tensor.nbytes for tensor in found.values())
    assert peak < 2 * result + 1.2 * record < 6 * record


def without(name: str) -> dict[str, np.ndarray]:
    return {other: array for other, array in trajectory(4, 2).items() if other != name}


def changed(**arrays: np.ndarray) -> dict[str, np.ndarray]:
    return {**trajectory(4, 2), **arrays}


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (without("density"), "it has no feature density"),
        (changed(velocity=np.zeros(RAW * 2 * 4 + 1, "<f4")), r"velocity has 19236 bytes, which do not fit float32"),
        (changed(mesh_pos=np.zeros((5, 2), "<f4")), r"not describe one triangle mesh: .* mesh_pos \[5, 2\]"),
        (changed(pressure=np.zeros((RAW, 5, 1), "<f4")), r"not describe one triangle mesh: .* pressure \[601, 5, 1\]"),
        (changed(node_type=np.zeros((3, 1), "<i4")), r"not describe one triangle mesh: .* node_type \[3, 1\]"),
        (changed(cells=np.array([[0, 1, 4]], "<i4")), "its triangles use points 0 … 4, but it has 4"),
        (changed(cells=np.array([[0, 1, -1]], "<i4")), "its triangles use points -1 … 1, but it has 4"),
        (changed(node_type=np.array([[0], [6], [2], [5]], "<i4")), "it has nodes of type 5, 6; known types: 0, 2, 4"),
    ],
)
def test_a_record_that_does_not_fit_is_named(arrays, reason: str, tmp_path: Path, meta: Meta) -> None:
    path = write(tmp_path / "train.tfrecord", [trajectory(4, 2), arrays])
    offset = list(records(path))[1].place.offset
    assert len(airfoil_trajectories(path, meta, limit=1)["counts"]) == 1
    with pytest.raises(TFRecordError, match=reason) as raised:
        airfoil_trajectories(path, meta)
    assert str(raised.value).startswith(f"{path}: record 1 at byte {offset}: ")
    assert "\n" not in str(raised.value)


def test_a_feature_is_one_buffer_of_bytes(tmp_path: Path, meta: Meta) -> None:
    for value in (([1.0, 2.0], "float"), ([b"a", b"b"], "byte")):
        writer = tfrecord.TFRecordWriter(str(tmp_path / "train.tfrecord"))
        writer.write({"cells": value})
        writer.close()
        with pytest.raises(TFRecordError, match="record 0 at byte 0: cells is not one buffer of bytes"):
            list(trajectories(tmp_path / "train.tfrecord", meta, ["cells"]))


def test_too_few_trajectories(tmp_path: Path, meta: Meta) -> None:
    path = write(tmp_path / "train.tfrecord", [trajectory(4, 2)])
    with pytest.raises(ValueError, match="has 1 trajectories, expected 2"):
        airfoil_trajectories(path, meta, limit=2)
    with pytest.raises(ValueError, match="has 0 trajectories, expected at least 1"):
        airfoil_trajectories(write(tmp_path / "none", []), meta)


def test_a_missing_file_error_says_where_to_get_the_set(tmp_path: Path, meta: Meta) -> None:
    for read in (read_meta, lambda path: trajectories(path, meta), lambda path: airfoil_trajectories(path, meta)):
        with pytest.raises(
            FileNotFoundError, match=r"test.tfrecord of https://.*/dm-meshgraphnets/airfoil/, "
        ) as raised:
            read(tmp_path / "gone")
        assert str(raised.value).startswith(f"{tmp_path / 'gone'} is missing: ")
        assert "fetch_airfoil.py" in str(raised.value)


def feature(**changes: Any) -> dict[str, Any]:
    return {"features": {**META["features"], "cells": {**META["features"]["cells"], **changes}}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features": {}}, "it has no 'cells'"),
        ({"dt": None}, "NoneType"),
        ({"trajectory_length": "many"}, "many"),
        (feature(type="moving"), "cells has the type 'moving'"),
        (feature(shape=[-1, 3]), r"cells is static and has the shape \[-1, 3\], in trajectories of 601"),
        (feature(type="dynamic"), r"cells is dynamic and has the shape \[1, -1, 3\], in trajectories of 601"),
        (feature(shape=[1, -1, -1]), r"\[1, -1, -1\]"),
        (feature(shape=[1, -2, 3]), r"\[1, -2, 3\]"),
        (feature(dtype="object"), "cells is of object"),
        (feature(dtype="number"), "number"),
    ],
)
def test_a_meta_file_of_another_format(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        meta_of(tmp_path, **changes)
    assert str(raised.value).startswith(f"{tmp_path / 'meta.json'} is not a meta.json of MeshGraphNets: ")
    assert "\n" not in str(raised.value)


def test_a_meta_file_that_is_not_json(tmp_path: Path) -> None:
    for text in ("{", "[]", "7", '"text"'):
        (tmp_path / "meta.json").write_text(text)
        with pytest.raises(ValueError, match=r"is not a meta.json of MeshGraphNets"):
            read_meta(tmp_path / "meta.json")


def test_variable_length_features_are_left_out(tmp_path: Path) -> None:
    varying = feature(type="dynamic_varlen", shape=[-1, 3])
    meta = meta_of(tmp_path, **varying)
    assert "cells" not in meta.features
    with pytest.raises(ValueError, match=r"train.tfrecord: its meta.json has no shape of cells"):
        trajectories(tmp_path / "train.tfrecord", meta)
