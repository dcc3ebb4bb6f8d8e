"""The keys of `data=airfoil_euler`."""

from math import log, pi
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from kiti.data.mesh_frames_keys import MeshFramesKeys
from kiti.units.keys import Finite

Interval = Annotated[list[Finite], Field(min_length=2, max_length=2)]


class AirfoilEulerKeys(MeshFramesKeys):
    builds = "kiti.data.airfoil_euler.AirfoilEulerData"
    name = "airfoil_euler"
    spacing: PositiveFloat
    mach: Interval
    degrees: Interval
    flows_per_airfoil: PositiveInt
    surface_size: Annotated[float, Field(ge=0.002, le=0.2)]
    growth: PositiveFloat
    radius: Annotated[float, Field(gt=1)]
    data_seed: NonNegativeInt

    @model_validator(mode="after")
    def _intervals_hold_flows(self) -> "AirfoilEulerKeys":
        for name, (least, most) in {"mach": self.mach, "degrees": self.degrees}.items():
            if not least <= most:
                raise ValueError(f"{name}={[least, most]}: the minimum comes first")
        if not self.mach[0] > 0:
            raise ValueError(f"mach={self.mach}: the Mach number must be positive")
        return self

    def points(self) -> int:
        """The surface's, and ∫ dA / size² with size = edge + growth · distance; within 5 % of a mesh."""
        round_it, edge = 2.04, 0.8 * self.surface_size  # chords; its mean
        far = edge + self.growth * self.radius
        strip = round_it * self.radius / (edge * far)
        ring = 2 * pi / self.growth**2 * (log(far / edge) - self.growth * self.radius / far)
        return round(0.96 * (strip + ring) + round_it / edge)
