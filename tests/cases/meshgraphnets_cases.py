"""Small trajectories as MeshGraphNets stores them."""

from pathlib import Path
from typing import Any

import numpy as np
import tfrecord

RAW = 601


META = {
    "simulator": "su2",
    "dt": 0.008,
    "trajectory_length": RAW,
    "collision_radius": None,
    "field_names": ["cells", "mesh_pos", "node_type", "velocity", "density", "pressure"],
    "features": {
        "cells": {"type": "static", "shape": [1, -1, 3], "dtype": "int32"},
        "mesh_pos": {"type": "static", "shape": [1, -1, 2], "dtype": "float32"},
        "node_type": {"type": "static", "shape": [1, -1, 1], "dtype": "int32"},
        "velocity": {"type": "dynamic", "shape": [RAW, -1, 2], "dtype": "float32"},
        "density": {"type": "dynamic", "shape": [RAW, -1, 1], "dtype": "float32"},
        "pressure": {"type": "dynamic", "shape": [RAW, -1, 1], "dtype": "float32"},
    },
}


def trajectory(points: int, triangles: int, seed: int = 0, raw: int = RAW) -> dict[str, np.ndarray]:
    """Fields whose values encode raw frame (thousands), point (units) and channel (tenths)."""
    generator = np.random.default_rng(seed)
    time, point = np.arange(raw)[:, None, None], np.arange(points)[None, :, None]
    value = 1000 * time + point + 100_000 * seed
    return {
        "cells": generator.integers(0, points, (triangles, 3)).astype("<i4"),
        "mesh_pos": generator.normal(size=(points, 2)).astype("<f4"),
        "node_type": generator.choice([0, 2, 4], (points, 1)).astype("<i4"),
        "velocity": (value + np.array([0.1, 0.2])).astype("<f4"),
        "density": (value + 0.3).astype("<f4"),
        "pressure": (value + 0.4).astype("<f4"),
    }


def write(path: Path, stored: list[dict[str, Any]]) -> Path:
    writer = tfrecord.TFRecordWriter(str(path))
    for arrays in stored:
        writer.write({name: (array.tobytes(), "byte") for name, array in arrays.items()})
    writer.close()
    return path
