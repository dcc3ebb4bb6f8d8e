"""The keys common to frames on the torus."""

from pydantic import NonNegativeInt, PositiveInt, model_validator

from kiti.data.operator_pairs_keys import Draw, OperatorPairsKeys, check_resolutions
from kiti.units.keys import Place
from kiti.units.sample_shapes import Entry, Sample


class TorusFramesKeys(OperatorPairsKeys):
    data_dir: Place[str]
    grid: PositiveInt
    frames_in: PositiveInt
    frames_out: PositiveInt
    data_seed: NonNegativeInt
    draw: Draw = "fixed"
    kind = "frames on a grid"

    @model_validator(mode="after")
    def _resolutions_divide_the_grid(self) -> "TorusFramesKeys":
        check_resolutions(self, self.grid)
        return self

    def sample(self, training: bool) -> Sample:
        grid = (self.points(training),) * 2
        return Entry((self.frames_in, *grid)), Entry((self.frames_out, *grid))
