"""The groups `logger` and `callbacks`: what a run says while it runs. None of it is part of the hash."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from kiti.configuration.schema.nodes import Strict, Target


class CSVLog(Target):
    target: Literal["kiti.training.loggers.csv"] = Field(alias="_target_")


class TensorBoardLog(Target):
    target: Literal["kiti.training.loggers.tensorboard"] = Field(alias="_target_")


class WandbLog(Target):
    target: Literal["kiti.training.loggers.wandb"] = Field(alias="_target_")
    project: str
    entity: str | None


Log = Annotated[CSVLog | TensorBoardLog | WandbLog, Field(discriminator="target")]


class Progress(Target):
    target: Literal["kiti.training.callbacks.progress.Progress"] = Field(alias="_target_")


class CollisionMonitor(Target):
    target: Literal["kiti.training.callbacks.collision_monitor.CollisionMonitor"] = Field(alias="_target_")
    warn_above: PositiveFloat


class CondensationMonitor(Target):
    target: Literal["kiti.training.callbacks.condensation_monitor.CondensationMonitor"] = Field(alias="_target_")
    layers: list[str]


class SimilarityMonitor(Target):
    target: Literal["kiti.training.callbacks.similarity_monitor.SimilarityMonitor"] = Field(alias="_target_")
    layers: list[str]
    snapshots: list[PositiveInt]
    each_epoch: bool


class DistanceMonitor(Target):
    target: Literal["kiti.training.callbacks.distance_monitor.DistanceMonitor"] = Field(alias="_target_")
    snapshots: list[PositiveInt]


class Checkpointing(Target):
    target: Literal["kiti.training.callbacks.checkpointing.Checkpointing"] = Field(alias="_target_")
    every_seconds: NonNegativeFloat


class Callbacks(Strict):
    progress: Progress
    collisions: CollisionMonitor
    condensation: CondensationMonitor
    similarity: SimilarityMonitor
    distances: DistanceMonitor
    checkpointing: Checkpointing
