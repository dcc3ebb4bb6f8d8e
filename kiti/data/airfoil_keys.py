"""The keys of `data=airfoil`."""

from pathlib import Path

from pydantic import model_validator

from kiti.data.mesh_frames_keys import MeshFramesKeys
from kiti.units.keys import Place


class AirfoilKeys(MeshFramesKeys):
    builds = "kiti.data.airfoil.AirfoilData"
    name = "airfoil"
    path: Place[str]

    @model_validator(mode="after")
    def _set_is_there(self) -> "AirfoilKeys":
        if not (Path(self.path) / "meta.json").is_file():
            raise ValueError(
                f"path={self.path} contains no airfoil set; scripts/fetch_airfoil.py downloads it, "
                "and experiment=airfoil_euler is a stand-in that is computed locally"
            )
        return self

    def points(self) -> int:
        return 5233
