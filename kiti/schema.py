"""Every key of every configuration: its type, its range, and the value at which it changes nothing.

Hydra composes, this file says what a composition may hold. It is plain pydantic, so that a typing error, a wrong
type or a value out of range is one line within a second, before torch is even imported. One class stands for one
`_target_`; a test holds its fields to the target's signature, so the two cannot drift apart.

A field's default here is the value that leaves a result as it was before the field existed. It is left out of
the configuration's hash; so a later key does not orphan the records of earlier runs, and a default, once shipped,
is never changed.
"""

from math import isfinite
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    FilePath,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)


def _finite(value: float) -> float:
    if not isfinite(value):
        raise ValueError("must be finite")
    return value


Fraction = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, AfterValidator(_finite)]


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
_given_or_none = Discriminator(lambda node: TAGS[1] if isinstance(node, Absent) or node == {} else TAGS[0])
_None = Annotated[Absent, Tag(TAGS[1])]


# -- data ---------------------------------------------------------------------------------------------------------


class OperatorPairs(Target):
    n_train: PositiveInt
    n_test: PositiveInt
    resolution: PositiveInt
    batch_size: PositiveInt
    test_resolution: PositiveInt | None = None
    seed: NonNegativeInt


def _check_resolutions(data: OperatorPairs, grid: int) -> None:
    for name in ("resolution", "test_resolution"):
        points = getattr(data, name)
        if points is not None and grid % points:
            raise ValueError(f"{name}={points} does not divide grid={grid}")


class BurgersData(OperatorPairs):
    target: Literal["kiti.data.burgers.BurgersData"] = Field(alias="_target_")
    data_dir: str
    grid: PositiveInt
    viscosity: PositiveFloat
    time: PositiveFloat
    steps: PositiveInt
    data_seed: NonNegativeInt

    @model_validator(mode="after")
    def _resolutions_divide_the_grid(self) -> "BurgersData":
        _check_resolutions(self, self.grid)
        return self


class BurgersMat(OperatorPairs):
    target: Literal["kiti.data.burgers_mat.BurgersMat"] = Field(alias="_target_")
    path: Annotated[FilePath, Field(strict=False)]


class TorusFrames(OperatorPairs):
    data_dir: str
    grid: PositiveInt
    frames_in: PositiveInt
    frames_out: PositiveInt
    data_seed: NonNegativeInt

    @model_validator(mode="after")
    def _resolutions_divide_the_grid(self) -> "TorusFrames":
        _check_resolutions(self, self.grid)
        return self


class NavierStokesData(TorusFrames):
    target: Literal["kiti.data.navier_stokes.NavierStokesData"] = Field(alias="_target_")
    viscosity: PositiveFloat
    tolerance: PositiveFloat


class HeatData(TorusFrames):
    target: Literal["kiti.data.heat.HeatData"] = Field(alias="_target_")
    diffusivity: NonNegativeFloat
    source: Literal["boundary", "uniform"]


Data = Annotated[BurgersData | BurgersMat | NavierStokesData | HeatData, Field(discriminator="target")]


# -- model --------------------------------------------------------------------------------------------------------


class FNO(Target):
    width: PositiveInt
    modes: PositiveInt
    n_layers: PositiveInt
    hidden: PositiveInt
    dims: ClassVar[int]

    def seam_size(self, system_axis: int, data: OperatorPairs) -> int | None:
        """D at the seam, whose tensors are (batch, width, points); None for an axis that holds no features."""
        points = data.resolution**self.dims
        return {-1: points, 2: points, 1: self.width, -2: self.width}.get(system_axis)


class FNO1d(FNO):
    target: Literal["kiti.models.fno.FNO1d"] = Field(alias="_target_")
    dims = 1


class FNO2d(FNO):
    target: Literal["kiti.models.fno2d.FNO2d"] = Field(alias="_target_")
    t_in: PositiveInt
    dims = 2


Model = Annotated[FNO1d | FNO2d, Field(discriminator="target")]


# -- what happens to activations ----------------------------------------------------------------------------------


class Add(Factory):
    target: Literal["kiti.residual.Add"] = Field(alias="_target_")
    dt: Finite


class Dropout(Factory):
    target: Literal["kiti.residual.Dropout"] = Field(alias="_target_")
    dt: Finite
    p: Annotated[float, Field(ge=0, lt=1)]


class Colliding(Strict):
    """What the three residual kinds that collide have in common."""

    collision_heads: PositiveInt
    coll_coef: Fraction
    dt: Finite
    layout: Literal["contiguous", "strided"]
    system_axis: int
    position_update: bool
    reduction: Literal["sum", "mean", "max_one"]
    max_over: Literal["system", "batch"] = "system"
    implementation: Literal["auto", "literal", "numba", "triton"] = "auto"


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


# -- what happens to gradients ------------------------------------------------------------------------------------


class KO(Factory):
    target: Literal["kiti.ko.KO"] = Field(alias="_target_")
    mode: Literal["soft", "hard"]
    params: Annotated[list[str], Field(min_length=1)]
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


# -- learning -----------------------------------------------------------------------------------------------------


class OperatorLearning(Target):
    target: Literal["kiti.tasks.operator_learning.OperatorLearning"] = Field(alias="_target_")


class OperatorRollout(Target):
    target: Literal["kiti.tasks.operator_learning.OperatorRollout"] = Field(alias="_target_")


Task = Annotated[OperatorLearning | OperatorRollout, Field(discriminator="target")]


class Adam(Factory):
    target: Literal["torch.optim.Adam"] = Field(alias="_target_")
    lr: PositiveFloat
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    weight_decay: NonNegativeFloat


class SGD(Factory):
    target: Literal["torch.optim.SGD"] = Field(alias="_target_")
    lr: PositiveFloat
    momentum: NonNegativeFloat
    weight_decay: NonNegativeFloat
    nesterov: bool = False


Optimizer = Annotated[Adam | SGD, Field(discriminator="target")]


class StepLR(Factory):
    target: Literal["torch.optim.lr_scheduler.StepLR"] = Field(alias="_target_")
    step_size: PositiveInt
    gamma: PositiveFloat


class Trainer(Target):
    target: Literal["pytorch_lightning.Trainer"] = Field(alias="_target_")
    max_epochs: PositiveInt
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
    gradient_clip_val: PositiveFloat | None = None
    accumulate_grad_batches: PositiveInt = 1
    deterministic: bool = False
    accelerator: Literal["auto", "cpu", "gpu"]


# -- what a run says while it runs; none of it is part of the hash --------------------------------------------------


class CSVLog(Target):
    target: Literal["kiti.logs.csv"] = Field(alias="_target_")


class TensorBoardLog(Target):
    target: Literal["kiti.logs.tensorboard"] = Field(alias="_target_")


class WandbLog(Target):
    target: Literal["kiti.logs.wandb"] = Field(alias="_target_")
    project: str
    entity: str | None


Log = Annotated[CSVLog | TensorBoardLog | WandbLog, Field(discriminator="target")]


class Progress(Target):
    target: Literal["kiti.progress.Progress"] = Field(alias="_target_")


class CollisionMonitor(Target):
    target: Literal["kiti.diagnostics.CollisionMonitor"] = Field(alias="_target_")
    warn_above: PositiveFloat


class CondensationMonitor(Target):
    target: Literal["kiti.condensation_monitor.CondensationMonitor"] = Field(alias="_target_")
    layers: list[str]


class Checkpointing(Target):
    target: Literal["kiti.checkpointing.Checkpointing"] = Field(alias="_target_")
    every_seconds: NonNegativeFloat


class Callbacks(Strict):
    progress: Progress
    collisions: CollisionMonitor
    condensation: CondensationMonitor
    checkpointing: Checkpointing


class Calibration(Strict):
    """The grid that kiti-calibrate measures, and on which activations."""

    collision_heads: Annotated[list[PositiveInt], Field(min_length=1)]
    coll_coef: Annotated[list[Fraction], Field(min_length=1)]
    epochs: NonNegativeInt
    batches: PositiveInt


class Gas(Strict):
    """What the colliding residuals of an experiment take by interpolation; what they took is in their own keys."""

    collision_heads: PositiveInt
    coll_coef: Fraction


class Config(Strict):
    """One run."""

    experiment: str
    scale: Literal["paper", "laptop", "smoke"]
    seed: NonNegativeInt
    resume: Literal["auto", "never"]
    gas: Gas
    neurons: list[str]
    runs_dir: str
    data_dir: str
    data: Data
    model: Model
    task: Task
    residual: Residual
    collision: Annotated[Annotated[KO, Tag(TAGS[0])] | _None, _given_or_none]
    optimizer: Optimizer
    scheduler: Annotated[Annotated[StepLR, Tag(TAGS[0])] | _None, _given_or_none]
    trainer: Trainer
    logger: Annotated[Annotated[Log, Tag(TAGS[0])] | _None, _given_or_none]
    callbacks: Callbacks
    calibration: Calibration | None = None

    @model_validator(mode="after")
    def _frames_go_where_frames_are_told(self) -> "Config":
        """Pairs of functions, frames: data, model and task must mean the same."""
        frames = (
            isinstance(self.data, TorusFrames), isinstance(self.model, FNO2d), isinstance(self.task, OperatorRollout)
        )  # fmt: skip
        if len(set(frames)) > 1:
            raise ValueError(
                f"{self.data.target}, {self.model.target} and {self.task.target} do not go together: "
                "frames need all three of NavierStokesData or HeatData, FNO2d and OperatorRollout; other pairs none"
            )
        if not (isinstance(self.data, TorusFrames) and isinstance(self.model, FNO2d)):
            return self
        if self.model.t_in != self.data.frames_in:
            raise ValueError(f"model.t_in={self.model.t_in} is not data.frames_in={self.data.frames_in}")
        return self

    @model_validator(mode="after")
    def _heads_divide_the_system(self) -> "Config":
        if not isinstance(self.residual, Colliding):
            return self
        axis, heads = self.residual.system_axis, self.residual.collision_heads
        size = self.model.seam_size(axis, self.data)
        if size is None:
            raise ValueError(f"residual.system_axis={axis} names no feature axis of {self.model.target}")
        if size % heads:
            divisors = [d for d in range(1, size + 1) if size % d == 0]
            near = sorted(sorted(divisors, key=lambda d: abs(d - heads))[:2])
            raise ValueError(
                f"residual.collision_heads={heads} does not divide D={size} (system_axis={axis}); "
                f"near it: {' or '.join(map(str, near))}"
            )
        return self

    def identity(self) -> dict:
        """What determines the result, seed aside: the part of the configuration that is hashed.

        Places, loggers, progress and the kind of machine are left out, and so is every key at its neutral default.
        """
        learning = {"data", "model", "task", "residual", "collision", "optimizer", "scheduler", "trainer"}
        elsewhere = {
            "data": {"data_dir", "seed", "path"},
            "collision": {"seed"},
            "trainer": {"accelerator"},
            "residual": {"implementation"},
        }
        return self.model_dump(mode="json", by_alias=True, include=learning, exclude=elsewhere, exclude_defaults=True)
