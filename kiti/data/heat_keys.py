"""The keys of `data=heat`."""

from typing import Literal

from pydantic import NonNegativeFloat

from kiti.data.torus_frames_keys import TorusFramesKeys


class HeatKeys(TorusFramesKeys):
    builds = "kiti.data.heat.HeatData"
    name = "heat"
    diffusivity: NonNegativeFloat
    source: Literal["boundary", "uniform"]
