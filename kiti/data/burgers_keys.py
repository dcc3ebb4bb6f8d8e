"""The keys of `data=burgers`."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from kiti.data.operator_pairs_keys import Draw, OperatorPairsKeys, check_resolutions
from kiti.units.keys import Place


class BurgersKeys(OperatorPairsKeys):
    builds = "kiti.data.burgers.BurgersData"
    name = "burgers"
    data_dir: Place[str]
    grid: PositiveInt
    viscosity: PositiveFloat
    time: PositiveFloat
    steps: PositiveInt
    data_seed: NonNegativeInt
    draw: Draw = "fixed"

    @model_validator(mode="after")
    def _resolutions_divide_the_grid(self) -> "BurgersKeys":
        check_resolutions(self, self.grid)
        return self
