"""The trajectories DeepMind published with MeshGraphNets, and the frames of its `airfoil` set that OFormer learns.

A set is a `meta.json` and `<split>.tfrecord` files. A record is one trajectory: an Example whose features are single
buffers, raw little-endian arrays whose shapes and types are in `meta.json`.
"""

import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, starmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kiti.data import DataError
from kiti.data.tfrecord import Place, Record, parse_example, records

Arrays = dict[str, np.ndarray]

log = logging.getLogger(__name__)

AIRFOIL_URL = "https://storage.googleapis.com/dm-meshgraphnets/airfoil"
AIRFOIL_FILES = ("meta.json", "train.tfrecord", "test.tfrecord")
AIRFOIL_FIELDS = ("cells", "mesh_pos", "node_type", "velocity", "density", "pressure")

DT = 0.008  # s, between raw frames
EVERY = 24  # OFormer's files contain every 6th raw frame, its loader uses every 4th of those
FRAMES = 25
INPUT_FRAMES = 4

NODE_TYPES = {0: 0, 2: 1, 4: 2}
"""Node types, MeshGraphNets' number to OFormer's: interior, on the airfoil, on the far boundary."""


@dataclass(frozen=True)
class Feature:
    """How an array is stored: `shape` begins with 1 if `static`, else with the number of frames; at most one -1."""

    static: bool
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Meta:
    """Contents of `meta.json`: `dt` in seconds, `frames` per trajectory, and the features by name."""

    dt: float
    frames: int
    features: dict[str, Feature]


def read_meta(path: Path | str) -> Meta:
    """Read a set's `meta.json`. Features whose length varies in time ("dynamic_varlen") are left out.

    Raises FileNotFoundError if it is missing, ValueError if the format is wrong.
    """
    path = _existing(path)
    try:
        content = json.loads(path.read_text())
        frames = int(content["trajectory_length"])
        stored = {name: content["features"][name] for name in content["field_names"]}
        features = {
            name: _feature(name, entry, frames) for name, entry in stored.items() if entry["type"] != "dynamic_varlen"
        }
        return Meta(float(content["dt"]), frames, features)
    except KeyError as missing:
        raise DataError(f"{path} is not a meta.json of MeshGraphNets: it has no {missing}") from missing
    except (ValueError, TypeError) as malformed:
        raise DataError(f"{path} is not a meta.json of MeshGraphNets: {malformed}") from malformed


def _feature(name: str, entry: dict[str, Any], frames: int) -> Feature:
    if entry["type"] not in ("static", "dynamic"):
        raise DataError(f"{name} has the type {entry['type']!r}")
    static, shape = entry["type"] == "static", tuple(entry["shape"])
    if shape[:1] != (1 if static else frames,) or shape.count(-1) > 1 or any(n < 1 and n != -1 for n in shape):
        raise DataError(f"{name} is {entry['type']} and has the shape {list(shape)}, in trajectories of {frames}")
    dtype = np.dtype(entry["dtype"])
    if dtype.kind not in "iuf":
        raise DataError(f"{name} is of {dtype}")
    return Feature(static, shape, dtype.newbyteorder("<"))


def trajectories(path: Path | str, meta: Meta, names: Sequence[str] = AIRFOIL_FIELDS) -> Iterator[tuple[Place, Arrays]]:
    """The trajectories of a `.tfrecord`, in order, one in memory at a time, each with the place of its record.

    Arrays are read-only views into the record. Static ones come without the leading 1 of their shape in `meta`. The
    arrays of `airfoil` are cells (C, 3) int32, mesh_pos (P, 2) float32, node_type (P, 1) int32, and in float32 velocity
    (T, P, 2), density (T, P, 1) and pressure (T, P, 1).

    Raises FileNotFoundError if the file is missing; TFRecordError if it is damaged, a record lacks one of `names`, or
    its size does not fit the shape; ValueError if one of `names` is not in `meta`.
    """
    unknown = [name for name in names if name not in meta.features]
    if unknown:
        raise DataError(f"{path}: its meta.json has no shape of {', '.join(unknown)}")
    # Bind no variable to a record here: it would keep the last one in memory while the next one is read.
    return map(partial(_arrays, meta=meta, names=names), records(_existing(path)))


def _arrays(record: Record, meta: Meta, names: Sequence[str]) -> tuple[Place, Arrays]:
    example = parse_example(record)
    return record.place, {name: _array(record.place, name, example.get(name), meta.features[name]) for name in names}


def _array(place: Place, name: str, values: Any, feature: Feature) -> np.ndarray:
    if values is None:
        raise place.error(f"it has no feature {name}")
    if not isinstance(values, list) or len(values) != 1:
        raise place.error(f"{name} is not one buffer of bytes")
    [buffer] = values
    unit = feature.dtype.itemsize * math.prod(length for length in feature.shape if length != -1)
    if len(buffer) % unit or (-1 not in feature.shape and len(buffer) != unit):
        shape = list(feature.shape)
        raise place.error(f"{name} has {len(buffer)} bytes, which do not fit {feature.dtype.name} of shape {shape}")
    array = np.frombuffer(buffer, feature.dtype).reshape(feature.shape)
    return array[0] if feature.static else array


def airfoil_trajectories(
    path: Path | str, meta: Meta, limit: int | None = None, frames: int = FRAMES
) -> dict[str, Tensor]:
    """The first `limit` trajectories of an `airfoil` file (None: all), as used by OFormer and so by KITINet F.4.

    Every 24th raw frame is kept, starting at the 0th: raw frames are 0.008 s apart, so kept frame i is at
    t = 0.192 i s. The first INPUT_FRAMES, at t = 0, 0.192, 0.384 and 0.576 s, are given; the rest is to be predicted.

    The papers' "up to 4.8 s" and 25 frames are inconsistent: 25 frames last 25 x 0.192 = 4.8 s, but the last of them
    is raw frame 576, at 4.608 s. A frame at 4.8 s is raw frame 600, the 601st, and would be the 26th kept frame. A
    trajectory of 600 raw frames gives 25; if `meta` says 601, `frames=26` reaches 4.8 s, with 22 to be predicted.

    Returns, for n trajectories with at most P points and C triangles each:
        fields: float32 (n, frames, P, 4), velocity x, velocity y, density, pressure, in the units of the file
        positions: float32 (n, P, 2)
        node_type: int64 (n, P), see NODE_TYPES
        counts: int64 (n,), number of points; all of the above is zero beyond it
        triangles: int32 (n, C, 3), corners as numbers of points; padded with -1

    At any time, only the result and one stored trajectory are in memory.

    Raises the errors of `trajectories`, and ValueError if there are fewer than `limit` trajectories, or none; if they
    have too few raw frames; if arrays of a trajectory disagree on its points; if a node has an unknown type.
    """
    needed = EVERY * (frames - 1) + 1
    if meta.frames < needed:
        raise DataError(f"{path}: {frames} frames, every {EVERY}th, need {needed} raw ones; it has {meta.frames}")
    if not math.isclose(meta.dt, DT, rel_tol=1e-3):
        log.warning("%s: raw frames are %g s apart, not %g; kept ones are %g", path, meta.dt, DT, EVERY * meta.dt)
    kept = list(starmap(partial(_kept, needed=needed), islice(trajectories(path, meta, AIRFOIL_FIELDS), limit)))
    if len(kept) < (1 if limit is None else limit):
        raise DataError(f"{path} has {len(kept)} trajectories, expected {limit or 'at least 1'}")
    counts = torch.tensor([len(arrays["positions"]) for arrays in kept])
    axes = {"fields": 1, "positions": 0, "node_type": 0, "triangles": 0}
    padded = {name: _padded(kept, name, axis, -1 if name == "triangles" else 0) for name, axis in axes.items()}
    return {**padded, "counts": counts}


def _kept(place: Place, arrays: Arrays, needed: int) -> Arrays:
    """Copies of the kept parts of a trajectory, so that the record can be freed."""
    cells, positions, node_type = arrays["cells"], arrays["mesh_pos"], arrays["node_type"]
    points = len(positions)
    fields = [arrays[name] for name in ("velocity", "density", "pressure")]
    shapes = [positions.shape[1:], node_type.shape, cells.shape[1:], *(field.shape[1:] for field in fields)]
    expected = [(2,), (points, 1), (3,), (points, 2), (points, 1), (points, 1)]
    if shapes != expected:
        found = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise place.error(f"its arrays do not describe one triangle mesh: {found}")
    if cells.size and not 0 <= cells.min() <= cells.max() < points:
        raise place.error(f"its triangles use points {cells.min()} … {cells.max()}, but it has {points}")
    types, index = np.unique(node_type[:, 0], return_inverse=True)
    unknown = [str(number) for number in types.tolist() if number not in NODE_TYPES]
    if unknown:
        raise place.error(f"it has nodes of type {', '.join(unknown)}; known types: {', '.join(map(str, NODE_TYPES))}")
    mapped = np.array([NODE_TYPES[number] for number in types.tolist()], np.int64)
    return {
        "fields": np.concatenate([field[:needed:EVERY] for field in fields], axis=2, dtype=np.float32),
        "positions": positions.astype(np.float32),
        "node_type": mapped[index],
        "triangles": cells.astype(np.int32),
    }


def _padded(kept: list[Arrays], name: str, axis: int, filling: int) -> Tensor:
    """The arrays `name` of all trajectories as one tensor, padded along `axis`; removes them from `kept`.

    So the data is in memory only once: pages of `whole` are allocated as they are written, while the parts are freed.
    """
    first = kept[0][name]
    shape = list(first.shape)
    shape[axis] = max(arrays[name].shape[axis] for arrays in kept)
    whole = np.zeros((len(kept), *shape), first.dtype)
    for row, arrays in zip(whole, kept, strict=True):
        part = arrays.pop(name)
        there = (slice(None),) * axis + (slice(part.shape[axis]),)
        beyond = (slice(None),) * axis + (slice(part.shape[axis], None),)
        row[there] = part
        row[beyond] = filling
    return torch.from_numpy(whole)


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: the airfoil set is {', '.join(AIRFOIL_FILES)} of {AIRFOIL_URL}/, "
            f"which scripts/fetch_airfoil.py downloads"
        )
    return path
