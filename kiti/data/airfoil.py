"""DeepMind's airfoil flows, published with MeshGraphNets, in the frames that OFormer uses (KITINet F.4)."""

from pathlib import Path
from typing import Any

from torch import Tensor

from kiti.data.generated import GeneratedData
from kiti.data.mesh_frames import MeshFrames
from kiti.data.meshgraphnets import EVERY, airfoil_trajectories, read_meta


class AirfoilData(MeshFrames, GeneratedData):
    """Flows in SI units, 0.192 s between frames; see `kiti.data.meshgraphnets.airfoil_trajectories`.

    The part of the files that is used, one twenty-fourth, is stored once in the verified cache.

    Args:
        path: folder with `meta.json`, `train.tfrecord` and `test.tfrecord`, as scripts/fetch_airfoil.py creates it.
        data_dir: root of the cache.
        n_train, n_test: number of trajectories, taken from the start of each file.
        frames_in, frames_out, batch_size, eval_batch_size, seed: as for MeshFrames.
    """

    name = "airfoil"

    def __init__(
        self,
        path: Path | str,
        data_dir: Path | str,
        n_train: int = 1000,
        n_test: int = 100,
        frames_in: int = 4,
        frames_out: int = 21,
        batch_size: int = 16,
        eval_batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__(n_train, n_test, frames_in, frames_out, batch_size, eval_batch_size, seed)
        self.path = Path(path)
        self.data_dir = Path(data_dir)

    def recipe(self, split: str) -> dict[str, Any]:
        return {
            "set": "MeshGraphNets airfoil",
            "split": split,
            "trajectories": self.n_train if split == "train" else self.n_test,
            "frames": self.frames_in + self.frames_out,
            "every": EVERY,
        }

    def generate(self, recipe: dict[str, Any], split: str) -> dict[str, Tensor]:
        file, meta = self.path / f"{split}.tfrecord", read_meta(self.path / "meta.json")
        found = airfoil_trajectories(file, meta, recipe["trajectories"], recipe["frames"])
        return {
            "fields": found["fields"],
            "positions": found["positions"],
            "kind": found["node_type"].char(),
            "counts": found["counts"],
        }
