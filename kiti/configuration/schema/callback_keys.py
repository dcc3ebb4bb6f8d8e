"""The groups `logger` and `callbacks`: what a run logs. None of it is part of the hash."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from kiti.units.keys import Place, Strict, UnitKeys


class LoggerKeys(UnitKeys):
    """The group `logger`."""


class CSVLogKeys(LoggerKeys):
    builds = "kiti.training.loggers.csv"
    name = "csv"


class TensorBoardLogKeys(LoggerKeys):
    builds = "kiti.training.loggers.tensorboard"
    name = "tensorboard"


class WandbLogKeys(LoggerKeys):
    builds = "kiti.training.loggers.wandb"
    name = "wandb"
    project: str
    entity: str | None


class ProgressKeys(UnitKeys):
    builds = "kiti.training.callbacks.progress.Progress"
    name = "progress"


class CollisionMonitorKeys(UnitKeys):
    builds = "kiti.training.callbacks.collision_monitor.CollisionMonitor"
    name = "collision_monitor"
    warn_above: PositiveFloat


class CondensationMonitorKeys(UnitKeys):
    builds = "kiti.training.callbacks.condensation_monitor.CondensationMonitor"
    name = "condensation_monitor"
    layers: list[str]


class SimilarityMonitorKeys(UnitKeys):
    builds = "kiti.training.callbacks.similarity_monitor.SimilarityMonitor"
    name = "similarity_monitor"
    layers: list[str]
    snapshots: list[PositiveInt]
    each_epoch: bool


class DistanceMonitorKeys(UnitKeys):
    builds = "kiti.training.callbacks.distance_monitor.DistanceMonitor"
    name = "distance_monitor"
    snapshots: list[PositiveInt]


class ThroughputKeys(UnitKeys):
    builds = "kiti.training.callbacks.throughput.Throughput"
    name = "throughput"


class CheckpointingKeys(UnitKeys):
    builds = "kiti.training.callbacks.checkpointing.Checkpointing"
    name = "checkpointing"
    every_seconds: NonNegativeFloat
    keep: Literal[1, 2] = 2


class BenchmarksDuringTrainingKeys(UnitKeys):
    builds = "kiti.evaluation.during_training.BenchmarksDuringTraining"
    name = "benchmarks_during_training"
    tasks: list[str]
    every_steps: PositiveInt | None
    limit: PositiveInt | None
    batch_size: PositiveInt
    data_dir: Place[str]
    commits: dict[str, str]
    tokenizer: Place[str | None]
    tokenizer_commit: str | None


class Callbacks(Strict):
    progress: ProgressKeys
    collisions: CollisionMonitorKeys
    condensation: CondensationMonitorKeys
    similarity: SimilarityMonitorKeys
    distances: DistanceMonitorKeys
    throughput: ThroughputKeys
    checkpointing: CheckpointingKeys
    benchmarks: BenchmarksDuringTrainingKeys
