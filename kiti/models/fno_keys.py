"""The keys of `model=fno1d` and `model=fno2d`."""

from pydantic import PositiveInt

from kiti.units.keys import ModelKeys, NotRecorded


class FNOKeys(ModelKeys):
    width: PositiveInt
    modes: PositiveInt
    n_layers: PositiveInt
    hidden: PositiveInt
    resolution: NotRecorded[PositiveInt | None] = None  # belongs to the data, which record it


class FNO1dKeys(FNOKeys):
    builds = "kiti.models.fno.FNO1d"
    name = "fno1d"
    kind = "pairs of functions"


class FNO2dKeys(FNOKeys):
    builds = "kiti.models.fno2d.FNO2d"
    name = "fno2d"
    t_in: PositiveInt
    kind = "frames on a grid"
