"""The keys of `data=airfoil`."""

from pathlib import Path

from kiti.data import DataError
from kiti.data.mesh_frames_keys import MeshFramesKeys
from kiti.units.keys import Place


class AirfoilKeys(MeshFramesKeys):
    builds = "kiti.data.airfoil.AirfoilData"
    name = "airfoil"
    path: Place[str]

    def require(self) -> None:
        if not (Path(self.path) / "meta.json").is_file():
            raise DataError(
                f"data.path={self.path} contains no airfoil set; scripts/fetch_airfoil.py downloads it, "
                "and experiment=airfoil_euler is a stand-in that is computed locally"
            )

    def points(self) -> int:
        return 5233
