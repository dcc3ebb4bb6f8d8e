"""Every key of every configuration: its type, its range, and the value at which it changes nothing.

Hydra composes, this file says what a composition may hold. It is plain pydantic, so that a typing error, a wrong
type or a value out of range is one line within a second, before torch is even imported. One class stands for one
`_target_`; a test holds its fields to the target's signature, so the two cannot drift apart.

A field's default here is the value that leaves a result as it was before the field existed. It is left out of
the configuration's hash; so a later key does not orphan the records of earlier runs, and a default, once shipped,
is never changed.
"""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, Tag, model_validator

from kiti.configuration.schema.callbacks_and_loggers import Callbacks, Log
from kiti.configuration.schema.collisions import KO, Residual
from kiti.configuration.schema.datasets import Data
from kiti.configuration.schema.learning import ExponentialAverage, Optimizer, Scheduler, Task, Trainer
from kiti.configuration.schema.networks import Model
from kiti.configuration.schema.nodes import TAGS, Absent, Fraction, Nothing, Strict, given_or_none

# Records hashed these classes under the import paths that they had.
_HASHED_AS = {
    "kiti.tasks.schedules.WarmupCosine": "kiti.schedules.WarmupCosine",
    "kiti.training.averaging.ExponentialAverage": "kiti.averaging.ExponentialAverage",
}


class Calibration(Strict):
    """The grid that kiti-calibrate measures, and on which activations."""

    collision_heads: Annotated[list[PositiveInt], Field(min_length=1)]
    coll_coef: Annotated[list[Fraction], Field(min_length=1)]
    epochs: NonNegativeInt
    batches: PositiveInt


class CollisionDefaults(Strict):
    """What the colliding residuals of an experiment take by interpolation; what they took is in their own keys."""

    collision_heads: PositiveInt
    coll_coef: Fraction
    system_axis: int


class Config(Strict):
    """One run."""

    experiment: str
    scale: Literal["paper", "laptop", "smoke"]
    seed: NonNegativeInt
    replicas: PositiveInt
    resume: Literal["auto", "never"]
    collision_defaults: CollisionDefaults
    neurons: list[str]
    runs_dir: str
    data_dir: str
    data: Data
    model: Model
    task: Task
    residual: Residual
    collision: Annotated[Annotated[KO, Tag(TAGS[0])] | Nothing, given_or_none]
    optimizer: Optimizer
    scheduler: Annotated[Annotated[Scheduler, Tag(TAGS[0])] | Nothing, given_or_none]
    averaging: Annotated[Annotated[ExponentialAverage, Tag(TAGS[0])] | Nothing, given_or_none] = Absent()
    trainer: Trainer
    logger: Annotated[Annotated[Log, Tag(TAGS[0])] | Nothing, given_or_none]
    callbacks: Callbacks
    calibration: Calibration | None = None

    @model_validator(mode="after")
    def _data_model_and_task_mean_the_same(self) -> "Config":
        parts = {part.target: part.kind for part in (self.data, self.model, self.task)}
        if len(set(parts.values())) > 1:
            said = ", ".join(f"{target.rsplit('.', 1)[1]}: {kind}" for target, kind in parts.items())
            raise ValueError(f"data, model and task do not go together ({said}); choose all three of one kind")
        seen, given = getattr(self.model, "t_in", None), getattr(self.data, "frames_in", None)
        if seen != given:
            raise ValueError(f"model.t_in={seen} is not data.frames_in={given}")
        return self

    @model_validator(mode="after")
    def _replicas_share_a_model(self) -> "Config":
        if self.replicas > 1 and not self.replicable:
            raise ValueError(
                f"replicas={self.replicas}: {self.model.target} trains one seed at a time; sweep with -m seed=0,1,2"
            )
        return self

    @property
    def replicable(self) -> bool:
        """Whether one process can train many seeds side by side."""
        return hasattr(self.model, "replicas")

    def identity(self) -> dict:
        """What determines the result, seed aside: the part of the configuration that is hashed.

        Places, loggers, progress and the kind of machine are left out, and so is every key at its neutral default.
        """
        learning = {"data", "model", "task", "residual", "collision", "optimizer", "scheduler", "averaging", "trainer"}
        elsewhere = {
            "data": {"data_dir", "seed", "path", "replicas", "workers", "eval_batch_size"},
            "model": {"seed", "replicas", "resolution"},
            "collision": {"seed"},
            "trainer": {"accelerator"},
            "residual": {"implementation"},
        }
        found = self.model_dump(mode="json", by_alias=True, include=learning, exclude=elsewhere, exclude_defaults=True)
        for node in found.values():
            if node.get("_target_") in _HASHED_AS:
                node["_target_"] = _HASHED_AS[node["_target_"]]
        if "neurons" in found["collision"]:
            found["collision"]["params"] = found["collision"].pop("neurons")  # its name until records are migrated
        return found
