"""Airfoil flows that we compute ourselves: a stand-in if the MeshGraphNets set is not available."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kiti.data.generated import STREAM, GeneratedData
from kiti.data.generation_progress import progress_report
from kiti.data.mesh_frames import MeshFrames
from kiti.pde.airfoil_flow import AirfoilFlows, airfoil_flows
from kiti.pde.euler import SOLVER_VERSION

# Ranges of the airfoils: camber in percent of the chord, its position in tenths, thickness in percent.
_CAMBER, _PLACE, _THICKNESS = (0, 4), (3, 5), (8, 16)


class AirfoilEulerData(MeshFrames, GeneratedData):
    """Impulsively started, inviscid compressible flows around NACA airfoils on irregular triangles.

    Units: chord, free-stream density and speed of sound. The first frame is at time `spacing`, when waves have begun
    to leave the airfoil; at time 0 there is only the free stream. Every `flows_per_airfoil` flows share an airfoil
    and its mesh; the test set draws its own airfoils.

    Args:
        data_dir: root of the cache.
        spacing: time between frames, in chords / free-stream speed of sound.
        mach, degrees: range (min, max) of Mach number and angle of attack, drawn uniformly.
        flows_per_airfoil: number of flows that share an airfoil.
        surface_size, growth, radius: mesh parameters, see `kiti.pde.airfoil_mesh.airfoil_mesh`.
        data_seed: key of airfoils, meshes and flows; not the run's seed, so that all runs see the same flows.
        n_train, n_test, frames_in, frames_out, batch_size, eval_batch_size, seed: as for MeshFrames.
        progress: called as progress(flows done, total flows) while flows are computed; default: a line on stderr.
    """

    name = "airfoil_euler"
    stand_in = "own inviscid flows round NACA airfoils (Euler equations, no units) for MeshGraphNets' airfoil set"

    def __init__(
        self,
        data_dir: Path | str,
        n_train: int = 1000,
        n_test: int = 100,
        frames_in: int = 4,
        frames_out: int = 21,
        spacing: float = 0.25,
        mach: Sequence[float] = (0.3, 0.85),
        degrees: Sequence[float] = (-4.0, 8.0),
        flows_per_airfoil: int = 8,
        surface_size: float = 0.018,
        growth: float = 0.075,
        radius: float = 12.0,
        data_seed: int = 0,
        batch_size: int = 16,
        eval_batch_size: int = 16,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__(n_train, n_test, frames_in, frames_out, batch_size, eval_batch_size, seed)
        self.data_dir = Path(data_dir)
        self.spacing = spacing
        self.mach = mach
        self.degrees = degrees
        self.flows_per_airfoil = flows_per_airfoil
        self.surface_size = surface_size
        self.growth = growth
        self.radius = radius
        self.data_seed = data_seed
        self.progress = progress

    def recipe(self, split: str) -> dict[str, Any]:
        return {
            "equation": "Euler in two dimensions, gamma = 1.4",
            "solver_version": SOLVER_VERSION,
            "airfoils": {"camber": list(_CAMBER), "place": list(_PLACE), "thickness": list(_THICKNESS)},
            "mach": [float(mach) for mach in self.mach],
            "degrees": [float(angle) for angle in self.degrees],
            "flows_per_airfoil": self.flows_per_airfoil,
            "mesh": {"surface_size": self.surface_size, "growth": self.growth, "radius": self.radius},
            "frames": self.frames_in + self.frames_out,
            "spacing": self.spacing,
            "samples": self.n_train if split == "train" else self.n_test,
            "stream": [self.data_seed, STREAM[split]],
        }

    def generate(self, recipe: dict[str, Any], split: str) -> dict[str, Tensor]:
        if self.progress is not None:
            return _flows(recipe, self.progress)
        with progress_report(f"{self.name}, {recipe['samples']} {split} flows") as report:
            return _flows(recipe, report)


def _flows(recipe: dict[str, Any], report: Callable[[int, int], None]) -> dict[str, Tensor]:
    together, samples = recipe["flows_per_airfoil"], recipe["samples"]
    per_airfoil = []
    for number in range(-(-samples // together)):
        per_airfoil.append(_of_one_airfoil(recipe, number))
        report(min(samples, (number + 1) * together), samples)
    flows = [(of, flow) for of in per_airfoil for flow in range(together)][:samples]
    return {
        "fields": pad_sequence([of.frames[flow].transpose(0, 1).float() for of, flow in flows], batch_first=True)
        .transpose(1, 2)
        .contiguous(),
        "positions": pad_sequence([of.vertices.float() for of, _flow in flows], batch_first=True),
        "kind": pad_sequence([of.node_type.char() for of, _flow in flows], batch_first=True),
        "counts": torch.tensor([len(of.vertices) for of, _flow in flows]),
    }


def _of_one_airfoil(recipe: dict[str, Any], number: int) -> AirfoilFlows:
    """All flows of one airfoil, even if fewer are needed, so that the draws do not depend on the number of samples."""
    draw = np.random.default_rng([*recipe["stream"], number])
    camber, place, thickness = (int(draw.integers(low, high + 1)) for low, high in recipe["airfoils"].values())
    code = f"{camber}{place if camber else 0}{thickness:02d}"
    machs, degrees = (
        draw.uniform(least, most, recipe["flows_per_airfoil"]).tolist()
        for least, most in (recipe["mach"], recipe["degrees"])
    )
    times = [(frame + 1) * recipe["spacing"] for frame in range(recipe["frames"])]
    return airfoil_flows(code, machs, degrees, times, seed=int(draw.integers(2**31)), **recipe["mesh"])
