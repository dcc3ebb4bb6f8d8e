"""The keys of `data=heat`."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat

from kiti.data.torus_frames_keys import TorusFramesKeys


class HeatKeys(TorusFramesKeys):
    builds = "kiti.data.heat.HeatData"
    name = "heat"
    diffusivity: NonNegativeFloat
    source: Literal["boundary", "uniform"]
    source_width: Annotated[float, Field(gt=0, le=0.5)] | None = None
