"""The keys of `data=heat`."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat

from kiti.data.torus_frames_keys import TorusFramesKeys


class HeatKeys(TorusFramesKeys):
    builds = "kiti.data.heat.HeatData"
    name = "heat"
    revision = 2  # in revision 1 the source was a ring of grid points
    diffusivity: NonNegativeFloat
    source: Literal["boundary", "uniform"]
    source_width: Annotated[float, Field(gt=0, le=0.5)] = 1 / 256
