"""The keys of `model=chain`."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from kiti.units.keys import ModelKeys, NotRecorded

Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh", "xtanh", "x2tanh", "softplus"]


class ChainKeys(ModelKeys):
    builds = "kiti.models.chain.Chain"
    name = "chain"
    d_in: PositiveInt
    width: PositiveInt
    depth: NonNegativeInt
    activation: Activation
    init_std: PositiveFloat
    shortcut: bool
    seams: NonNegativeInt
    seed: NotRecorded[NonNegativeInt]
    replicas: NotRecorded[PositiveInt]
    kind = "points of a function"

    @model_validator(mode="after")
    def _there_is_a_layer_a_seam(self) -> "ChainKeys":
        if self.seams > self.depth:
            raise ValueError(f"seams={self.seams} is more than depth={self.depth}, the layers that keep their width")
        return self
