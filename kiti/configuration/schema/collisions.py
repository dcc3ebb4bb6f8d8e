"""The groups `residual` and `collision`: what happens to activations, what happens to gradients."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from kiti.collision.rules import Implementation, Layout, MaxOver, Reduction, Rules
from kiti.configuration.schema.nodes import Factory, Finite, Fraction, Strict, Target


class Add(Factory):
    target: Literal["kiti.residual.Add"] = Field(alias="_target_")
    dt: Finite


class Dropout(Factory):
    target: Literal["kiti.residual.Dropout"] = Field(alias="_target_")
    dt: Finite
    p: Annotated[float, Field(ge=0, lt=1)]


class Colliding(Strict):
    """What the three residual kinds that collide have in common: `Rules`, and the axis.

    Only what came later has a default here: one that hashes leave out (see `schema`).
    """

    collision_heads: PositiveInt
    coll_coef: Fraction
    dt: Finite
    layout: Layout
    system_axis: int
    position_update: bool
    reduction: Reduction
    max_over: MaxOver = Rules.max_over  # type: ignore[assignment]
    implementation: Implementation = Rules.implementation  # type: ignore[assignment]


class KITIResidual(Factory, Colliding):
    target: Literal["kiti.residual.KITIResidual"] = Field(alias="_target_")
    detach_collision: bool


class MatchedNoise(Factory, Colliding):
    target: Literal["kiti.residual.MatchedNoise"] = Field(alias="_target_")


class AccelerationChain(Target, Colliding):
    target: Literal["kiti.residual.AccelerationChain"] = Field(alias="_target_")
    v0_scale: NonNegativeFloat
    drift_in_eval: bool


Residual = Annotated[Add | Dropout | KITIResidual | MatchedNoise | AccelerationChain, Field(discriminator="target")]


class KO(Factory):
    target: Literal["kiti.ko.KO"] = Field(alias="_target_")
    mode: Literal["soft", "hard"]
    neurons: Annotated[list[str], Field(min_length=1)]
    coll_coef: NonNegativeFloat
    seed: NonNegativeInt
    include_self: bool = True
    normalize: bool = False
    approach_only: bool = False

    @model_validator(mode="after")
    def _hard_threshold_is_a_fraction(self) -> "KO":
        if self.mode == "hard" and self.coll_coef > 1:
            raise ValueError(f"coll_coef={self.coll_coef} is outside [0, 1], where hard collision's threshold lies")
        return self
