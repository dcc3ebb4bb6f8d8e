"""The keys of the residual kinds in `kiti.residual`."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from kiti.collision.rules import Implementation, Layout, MaxOver, Pairing, Reduction, Rules, Terms
from kiti.units.keys import Factory, Finite, Fraction, NotHashed, ResidualKeys


class AddKeys(Factory, ResidualKeys):
    builds = "kiti.residual.Add"
    name = "add"
    dt: Finite


class DropoutKeys(Factory, ResidualKeys):
    builds = "kiti.residual.Dropout"
    name = "dropout"
    revision = 2  # 2: random numbers from the residual's own stream
    dt: Finite
    p: Annotated[float, Field(ge=0, lt=1)]


class CollidingKeys(ResidualKeys):
    """The keys shared by all residuals that collide: those of `Rules`, and the axis.

    Only keys that were added later have a default here (see `kiti.units.keys`).
    """

    revision = 2  # 2: directions from the residual's own stream; seams of library models by hooks
    collision_heads: PositiveInt
    coll_coef: Fraction
    dt: Finite
    layout: Layout
    system_axis: int
    position_update: bool
    reduction: Reduction
    max_over: MaxOver = Rules.max_over  # type: ignore[assignment]
    implementation: NotHashed[Implementation] = Rules.implementation  # type: ignore[assignment]
    pairing: Pairing = Rules.pairing  # type: ignore[assignment]
    terms: Terms = Rules.terms  # type: ignore[assignment]

    @classmethod
    def revisions(cls) -> dict[str, int]:
        return {"revision": cls.revision, "collide": Rules.revision}


class KITIResidualKeys(Factory, CollidingKeys):
    builds = "kiti.residual.KITIResidual"
    name = "kiti"
    detach_collision: bool


class MatchedNoiseKeys(Factory, CollidingKeys):
    builds = "kiti.residual.MatchedNoise"
    name = "noise"
    sparse: bool = False
    detach_collision: bool = True


class AccelerationChainKeys(CollidingKeys):
    builds = "kiti.residual.AccelerationChain"
    name = "kiti_acceleration"
    v0_scale: NonNegativeFloat
    drift_in_eval: bool
