"""Base classes of declarations: the keys of a configuration node with their ranges, a name and a revision.

A declaration is plain pydantic without torch, so a wrong key or value is reported in one line within a second. Its
fields are the keyword arguments of what it `builds`; a test checks that they match.

A field's default reproduces the results from before the field existed. Defaults are left out of the hash, so a new
key does not orphan the records of earlier runs; a default, once shipped, is never changed.
"""

from enum import Enum
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from kiti.units.sample_shapes import Sample, Sizes

Value = TypeVar("Value")


class Role(Enum):
    """How a field counts in a run's identity; a field without a role affects the result, and is hashed and recorded."""

    NOT_HASHED = "recorded, but does not affect the result"
    NOT_RECORDED = "neither: the seed, what follows from other keys, how fast data are read"
    PLACE = "neither, and its overrides are not recorded: paths on one machine"


NotHashed = Annotated[Value, Role.NOT_HASHED]
NotRecorded = Annotated[Value, Role.NOT_RECORDED]
Place = Annotated[Value, Role.PLACE]


def _finite(value: float) -> float:
    if not isfinite(value):
        raise ValueError("must be finite")
    return value


Fraction = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, AfterValidator(_finite)]


class FilesError(ValueError):
    """Files on this machine that a unit needs and that are missing or do not fit, in one line with a remedy."""


class Strict(BaseModel):
    """A node in which unknown keys and values of the wrong type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class Absent(Strict):
    """The option `none` of a group: an empty node."""


class UnitKeys(Strict):
    """A node that hydra.utils.instantiate builds. A subclass with `builds` declares that target.

    Attributes:
        builds: the dotted name given as `_target_` in YAML.
        name: represents it in hashes and records; it stays the same when the class moves.
        revision: counts the changes that changed results. It is hashed: records of other revisions are not reused.
    """

    builds: ClassVar[str] = ""
    name: ClassVar[str] = ""
    revision: ClassVar[int] = 1
    target: str = Field(alias="_target_")

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        if "builds" not in vars(cls):
            return
        if missing := [key for key in ("name", "kind") if key in _class_keys(cls) and not getattr(cls, key, "")]:
            raise TypeError(f"{cls.__name__} declares no {' and no '.join(missing)}")
        known = DECLARED.setdefault(cls.builds, cls)
        if known.__module__ != cls.__module__:
            raise TypeError(f"{cls.builds} is already declared by {known.__module__}")
        DECLARED[cls.builds] = cls

    @field_validator("target")
    @classmethod
    def _is_what_this_declares(cls, target: str) -> str:
        if target != cls.builds:
            raise ValueError(f"must be {cls.builds}")
        return target

    @classmethod
    def revisions(cls) -> dict[str, int]:
        """The unit's revision counters by name."""
        return {"revision": cls.revision}


def _class_keys(cls: type) -> set[str]:
    return {key for base in cls.__mro__ for key in vars(base).get("__annotations__", {})}


DECLARED: dict[str, type[UnitKeys]] = {}
"""Every imported declaration, by its `builds`; `kiti.units.registry` finds the others."""


class Factory(Strict):
    """Mixed into a unit whose target is called later, with further arguments."""

    partial: Literal[True] = Field(alias="_partial_")


class DataKeys(UnitKeys):
    """The group `data`. `batch_size` is the total over all processes.

    `kind` says what a sample is. A run's data, model and task must have the same kind.
    """

    kind: ClassVar[str]
    batch_size: PositiveInt
    seed: NotRecorded[NonNegativeInt]

    @property
    def batches_per_epoch(self) -> int | None:
        """The most training batches an epoch can have; None if only the data tell."""
        return None

    def require(self) -> None:
        """DataError if the data are out of reach. Called before a run, without torch, and never for a plan."""

    def sample(self, training: bool) -> Sample | None:
        """The shapes of a sample of the training set, or of the test set; None: not declared, so no cost is planned."""
        return None

    def sizes(self) -> Sizes | None:
        """The number of samples; None: not declared."""
        return None


class ModelKeys(UnitKeys):
    """The group `model`; `kind` as in `DataKeys`. With a key `replicas`, one process can train many seeds together.

    `sizes_vary`: whether batches differ in shape; torch.compile then makes graphs that take any. `causal`: whether a
    prediction must not depend on later tokens, so that no collision may mix tokens.
    """

    kind: ClassVar[str]
    sizes_vary: ClassVar[bool] = False
    causal: ClassVar[bool] = False

    def check_files(self, config: Any) -> None:
        """FilesError if files do not fit. Called with the whole configuration before a run, without torch."""


class PrimaryMetric(NamedTuple):
    """The metric `key` of a task's records, and how tables name it."""

    key: str
    label: str
    higher_is_better: bool = False


class TaskKeys(UnitKeys):
    """The group `task`; `kind` as in `DataKeys`. `evaluation` is the revision of the task's metrics.

    `metric` is the one by which runs of the task are compared, for tables that are given none.
    """

    kind: ClassVar[str]
    metric: ClassVar[PrimaryMetric | None] = None
    evaluation: ClassVar[int] = 1
    lr_multipliers: Annotated[dict[str, PositiveFloat], Field(min_length=1)] | None = None

    def outputs(self, model: Any, batch: tuple[Any, ...]) -> Any:
        """What a step computes with `model`, as one tensor: the calls whose cost is planned."""
        return model(batch[0])

    def frames(self, sample: Sample) -> int:
        """How often `outputs` repeats the same for a sample of such a batch, one after another."""
        return 1

    def of_frames(self, sample: Sample, frames: int) -> Sample:
        """The sample with fewer of them, if there are several."""
        return sample

    @classmethod
    def revisions(cls) -> dict[str, int]:
        return {"revision": cls.revision, "evaluation": cls.evaluation}


class ResidualKeys(UnitKeys):
    """The group `residual`."""


class CollisionKeys(Factory, UnitKeys):
    """The group `collision`. `neurons` are name patterns of the weights whose gradients collide."""

    neurons: Annotated[list[str], Field(min_length=1)]
    seed: NotRecorded[NonNegativeInt]
