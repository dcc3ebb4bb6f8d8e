"""The keys of `data=navier_stokes`."""

from pydantic import PositiveFloat

from kiti.data.torus_frames_keys import TorusFramesKeys


class NavierStokesKeys(TorusFramesKeys):
    builds = "kiti.data.navier_stokes.NavierStokesData"
    name = "navier_stokes"
    viscosity: PositiveFloat
    tolerance: PositiveFloat
