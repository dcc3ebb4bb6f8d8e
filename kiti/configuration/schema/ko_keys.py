"""The keys of `kiti.ko.KO`, the group `collision`."""

from typing import Literal

from pydantic import NonNegativeFloat, model_validator

from kiti.units.keys import CollisionKeys


class KOKeys(CollisionKeys):
    builds = "kiti.ko.KO"
    name = "ko"
    mode: Literal["soft", "hard"]
    coll_coef: NonNegativeFloat
    include_self: bool = True
    normalize: bool = False
    approach_only: bool = False
    placebo: Literal["noise", "random_pairs", "scale"] | None = None

    @model_validator(mode="after")
    def _hard_threshold_is_a_fraction(self) -> "KOKeys":
        if self.mode == "hard" and self.coll_coef > 1:
            raise ValueError(f"coll_coef={self.coll_coef} is outside [0, 1], the range for hard collisions")
        return self
