"""What the nodes of a configuration have in common."""

from math import isfinite
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag


def finite(value: float) -> float:
    if not isfinite(value):
        raise ValueError("must be finite")
    return value


Fraction = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, AfterValidator(finite)]


class Strict(BaseModel):
    """No key that nothing reads, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class Target(Strict):
    """A node that hydra.utils.instantiate builds. Subclasses narrow `target` to the one dotted name they describe."""

    target: str = Field(alias="_target_")


class Factory(Target):
    """A node whose target is called later, by whoever holds the remaining arguments."""

    partial: Literal[True] = Field(alias="_partial_")


class Absent(Strict):
    """The option `none` of a group: an empty node."""


TAGS = ("<target>", "<none>")  # what pydantic puts into the path of an error in an optional group
given_or_none = Discriminator(lambda node: TAGS[1] if isinstance(node, Absent) or node == {} else TAGS[0])
Nothing = Annotated[Absent, Tag(TAGS[1])]
