"""The keys of `model=oformer`."""

from pydantic import PositiveInt, model_validator

from kiti.units.keys import ModelKeys


class OFormerKeys(ModelKeys):
    builds = "kiti.models.oformer.OFormer"
    name = "oformer"
    t_in: PositiveInt
    width: PositiveInt
    n_layers: PositiveInt
    points: PositiveInt
    propagator_seam: bool = False
    kind = "flows on irregular points"

    @model_validator(mode="after")
    def _width_makes_angles(self) -> "OFormerKeys":
        if self.width % 4:
            raise ValueError(f"width={self.width} is not a multiple of 4: two axes, a sine and a cosine each")
        return self
