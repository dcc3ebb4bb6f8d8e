"""`Config`, one run: every key with its type, its range and whether it belongs to the run's identity.

This validates what Hydra composes. It is plain pydantic, so a typo, a wrong type or a value out of range is reported
in one line within a second, before torch is imported. Nodes that build something are described by `kiti.units.keys`
and the declarations beside each unit.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, create_model, model_validator

from kiti.configuration.explain import ConfigError
from kiti.configuration.schema.callback_keys import Callbacks, LoggerKeys
from kiti.configuration.schema.optimizer_keys import AveragingKeys, OptimizerKeys, SchedulerKeys, TrainerKeys
from kiti.units.keys import (
    Absent,
    CollisionKeys,
    DataKeys,
    Fraction,
    ModelKeys,
    NotHashed,
    NotRecorded,
    Place,
    ResidualKeys,
    Strict,
    TaskKeys,
    UnitKeys,
)
from kiti.units.registry import keys_of

GROUPS: dict[str, type[UnitKeys]] = {
    "data": DataKeys,
    "model": ModelKeys,
    "task": TaskKeys,
    "residual": ResidualKeys,
    "collision": CollisionKeys,
    "optimizer": OptimizerKeys,
    "scheduler": SchedulerKeys,
    "averaging": AveragingKeys,
    "trainer": TrainerKeys,
    "logger": LoggerKeys,
}
"""The base class of each group's declarations."""
OPTIONAL = {"collision", "scheduler", "averaging", "logger"}


class Calibration(Strict):
    """The grid that kiti-calibrate measures, and the activations it uses."""

    collision_heads: Annotated[list[PositiveInt], Field(min_length=1)]
    coll_coef: Annotated[list[Fraction], Field(min_length=1)]
    epochs: NonNegativeInt
    batches: PositiveInt


class CollisionDefaults(Strict):
    """Defaults that an experiment's colliding residuals interpolate; the values used are in their own keys."""

    collision_heads: PositiveInt
    coll_coef: Fraction
    system_axis: int


class Config(Strict):
    """One run."""

    experiment: NotHashed[str]
    scale: NotHashed[Literal["paper", "laptop", "smoke"]]
    seed: NotRecorded[NonNegativeInt]
    replicas: NotRecorded[PositiveInt]
    resume: NotHashed[Literal["auto", "never"]]
    compile: bool = False
    collision_defaults: NotHashed[CollisionDefaults]
    neurons: NotHashed[list[str]]
    runs_dir: Place[str]
    data_dir: Place[str]
    data: DataKeys
    model: ModelKeys
    task: TaskKeys
    residual: ResidualKeys
    collision: CollisionKeys | Absent
    optimizer: OptimizerKeys
    scheduler: SchedulerKeys | Absent
    averaging: AveragingKeys | Absent
    trainer: TrainerKeys
    logger: NotHashed[LoggerKeys | Absent]
    callbacks: NotHashed[Callbacks]
    calibration: NotHashed[Calibration | None] = None

    @model_validator(mode="after")
    def _data_model_and_task_mean_the_same(self) -> "Config":
        parts = {part.target: part.kind for part in (self.data, self.model, self.task)}
        if len(set(parts.values())) > 1:
            kinds = ", ".join(f"{target.rsplit('.', 1)[1]}: {kind}" for target, kind in parts.items())
            raise ValueError(f"data, model and task differ in kind ({kinds}); choose all three of one kind")
        seen, given = getattr(self.model, "t_in", None), getattr(self.data, "frames_in", None)
        if seen != given:
            raise ValueError(f"model.t_in={seen} is not data.frames_in={given}")
        positions = getattr(self.model, "positions", None)
        for key in ("max_length", "context"):
            longest = getattr(self.data, key, None)
            if longest is not None and positions is not None and longest > positions:
                raise ValueError(f"data.{key}={longest} is more than the {positions} positions of the model")
        return self

    @model_validator(mode="after")
    def _no_token_sees_its_future(self) -> "Config":
        if self.model.causal and getattr(self.residual, "max_over", "system") != "system":
            raise ValueError(
                "residual.max_over=batch: in a causal model it would show a token its future; use max_over=system"
            )
        return self

    @model_validator(mode="after")
    def _only_language_models_are_sharded(self) -> "Config":
        if self.trainer.strategy != "fsdp2":
            return self
        if self.model.kind != "language":
            raise ValueError(
                f"trainer.strategy=fsdp2: only language models are sharded, not {self.model.target}; use ddp"
            )
        if self.compile:
            raise ValueError("compile=true: trainer.strategy=fsdp2 trains uncompiled models; use ddp, or compile=false")
        if self.callbacks.benchmarks.tasks:
            raise ValueError(
                "callbacks.benchmarks.tasks: trainer.strategy=fsdp2 leaves no rank the whole model; "
                "give callbacks.benchmarks.tasks=[] and evaluate the finished run with kiti-eval"
            )
        if self.averaging != Absent():
            raise ValueError("trainer.strategy=fsdp2: averages of the weights are not sharded; use averaging=none")
        return self

    @model_validator(mode="after")
    def _replicas_share_a_model(self) -> "Config":
        if self.replicas > 1 and not self.replicable:
            raise ValueError(
                f"replicas={self.replicas}: {self.model.target} trains one seed at a time; sweep with -m seed=0,1,2"
            )
        return self

    @model_validator(mode="after")
    def _an_epoch_fills_one_accumulation(self) -> "Config":
        wanted, batches = self.trainer.accumulate_grad_batches, self.data.batches_per_epoch
        if batches is not None and wanted > batches:
            raise ValueError(too_long_for_an_epoch(wanted, batches))
        return self

    @model_validator(mode="after")
    def _the_last_validation_is_at_the_end(self) -> "Config":
        interval, batches = self.trainer.val_check_interval, self.data.batches_per_epoch
        if interval is not None and batches is not None and batches % interval:
            raise ValueError(
                f"trainer.val_check_interval={interval}: an epoch has {batches} batches, so the last validation would "
                "not be at its end; choose a divisor, or null"
            )
        return self

    @property
    def replicable(self) -> bool:
        """Whether one process can train many seeds side by side, with the results of a run each."""
        return hasattr(self.model, "replicas") and getattr(self.data, "takes_replicas", True)

    def __reduce__(self) -> tuple[Any, ...]:
        return validated, (self.model_dump(by_alias=True),)  # pickle does not find the classes that _config creates

    def units(self) -> dict[str, UnitKeys]:
        """The chosen option of each group that has one."""
        nodes = {group: getattr(self, group) for group in GROUPS}
        return {group: node for group, node in nodes.items() if isinstance(node, UnitKeys)}


def too_long_for_an_epoch(accumulated: int, batches: float) -> str:
    """One line for gradients of more batches than an epoch has: each epoch ends with a step, so it would be fewer."""
    return f"trainer.accumulate_grad_batches={accumulated}: an epoch has {batches} batches; choose at most that many"


def validated(plain: Mapping[str, Any]) -> Config:
    """`plain` as a Config whose groups have the types declared for their `_target_`.

    Raises:
        ConfigError: a group has no option, or one that is undeclared or belongs to another group.
        pydantic.ValidationError: any other error.
    """
    return _config(tuple(_declared(group, plain.get(group)) for group in GROUPS)).model_validate(plain)


@cache
def _config(options: tuple[type[Strict], ...]) -> type[Config]:
    fields: dict[str, Any] = {}
    for group, option in zip(GROUPS, options, strict=True):
        roles = Config.model_fields[group].metadata
        fields[group] = (Annotated[option, *roles] if roles else option, ...)
    return create_model("Config", __base__=Config, **fields)


def _declared(group: str, node: Any) -> type[Strict]:
    if node == {} and group in OPTIONAL:
        return Absent
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise ConfigError(f"{group}: no _target_; choose one with {group}=<option>, options are in conf/{group}/")
    try:
        keys = keys_of(node["_target_"])
    except ValueError as error:
        raise ConfigError(f"{group}._target_: {error}") from error
    if not issubclass(keys, GROUPS[group]):
        of = next((name for name, base in GROUPS.items() if issubclass(keys, base)), "another group")
        raise ConfigError(f"{group}._target_={node['_target_']}: belongs to {of}; choose one with {group}=<option>")
    return keys
