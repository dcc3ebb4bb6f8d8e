"""The groups `task`, `optimizer`, `scheduler` and `trainer`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from kiti.configuration.schema.datasets import Kind
from kiti.configuration.schema.nodes import Factory, Fraction, Target


class Learning(Target):
    """What every task has."""

    lr_multipliers: Annotated[dict[str, PositiveFloat], Field(min_length=1)] | None = None


class OperatorLearning(Learning):
    target: Literal["kiti.tasks.operator_learning.OperatorLearning"] = Field(alias="_target_")
    kind: ClassVar[Kind] = "pairs of functions"


class OperatorRollout(Learning):
    target: Literal["kiti.tasks.operator_learning.OperatorRollout"] = Field(alias="_target_")
    kind: ClassVar[Kind] = "frames on a grid"


class FlowRollout(Learning):
    target: Literal["kiti.tasks.flow.FlowRollout"] = Field(alias="_target_")
    curriculum_frames: NonNegativeInt
    curriculum_share: Fraction
    kind: ClassVar[Kind] = "flows on irregular points"


class Regression(Learning):
    target: Literal["kiti.tasks.regression.Regression"] = Field(alias="_target_")
    kind: ClassVar[Kind] = "points of a function"


class Classification(Learning):
    target: Literal["kiti.tasks.classification.Classification"] = Field(alias="_target_")
    label_smoothing: Fraction = 0.0
    kind: ClassVar[Kind] = "images"


class MixedClassification(Learning):
    target: Literal["kiti.tasks.mixed_classification.MixedClassification"] = Field(alias="_target_")
    mixup: NonNegativeFloat
    cutmix: NonNegativeFloat
    classes: PositiveInt
    loss: Literal["cross_entropy", "binary_cross_entropy"]
    target_threshold: Fraction | None
    label_smoothing: Fraction
    decay_vectors: bool
    kind: ClassVar[Kind] = "images"


Task = Annotated[
    OperatorLearning | OperatorRollout | FlowRollout | Regression | Classification | MixedClassification,
    Field(discriminator="target"),
]


class Adam(Factory):
    target: Literal["torch.optim.Adam"] = Field(alias="_target_")
    lr: PositiveFloat
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = Field(default=[0.9, 0.999])
    weight_decay: NonNegativeFloat


class AdamW(Factory):
    target: Literal["torch.optim.AdamW"] = Field(alias="_target_")
    lr: PositiveFloat
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = Field(default=[0.9, 0.999])
    weight_decay: NonNegativeFloat


class Lamb(Factory):
    target: Literal["timm.optim.Lamb"] = Field(alias="_target_")
    lr: PositiveFloat
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    eps: PositiveFloat
    weight_decay: NonNegativeFloat
    max_grad_norm: PositiveFloat | None


class SGD(Factory):
    target: Literal["torch.optim.SGD"] = Field(alias="_target_")
    lr: PositiveFloat
    momentum: NonNegativeFloat
    weight_decay: NonNegativeFloat
    nesterov: bool = False


Optimizer = Annotated[Adam | AdamW | Lamb | SGD, Field(discriminator="target")]


class StepLR(Factory):
    target: Literal["torch.optim.lr_scheduler.StepLR"] = Field(alias="_target_")
    step_size: PositiveInt
    gamma: PositiveFloat


class MultiStepLR(Factory):
    target: Literal["torch.optim.lr_scheduler.MultiStepLR"] = Field(alias="_target_")
    milestones: Annotated[list[PositiveInt], Field(min_length=1)]
    gamma: PositiveFloat


class CosineAnnealingLR(Factory):
    target: Literal["torch.optim.lr_scheduler.CosineAnnealingLR"] = Field(alias="_target_")
    T_max: PositiveInt
    eta_min: NonNegativeFloat


class OneCycleLR(Factory):
    target: Literal["torch.optim.lr_scheduler.OneCycleLR"] = Field(alias="_target_")
    max_lr: PositiveFloat
    pct_start: Fraction
    div_factor: PositiveFloat
    final_div_factor: PositiveFloat


class WarmupCosine(Factory):
    target: Literal["kiti.tasks.schedules.WarmupCosine"] = Field(alias="_target_")
    epochs: PositiveInt
    warmup_epochs: NonNegativeInt
    warmup_lr: NonNegativeFloat
    min_lr: NonNegativeFloat
    under_warmup: bool
    each: Literal["epoch", "step"]

    @model_validator(mode="after")
    def _warmup_ends(self) -> "WarmupCosine":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs={self.warmup_epochs} leaves no epoch of {self.epochs} for the cosine")
        return self


Scheduler = Annotated[
    StepLR | MultiStepLR | CosineAnnealingLR | OneCycleLR | WarmupCosine, Field(discriminator="target")
]


class ExponentialAverage(Target):
    target: Literal["kiti.training.averaging.ExponentialAverage"] = Field(alias="_target_")
    decay: Annotated[float, Field(ge=0, lt=1)]


class Trainer(Target):
    target: Literal["pytorch_lightning.Trainer"] = Field(alias="_target_")
    max_epochs: PositiveInt
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
    gradient_clip_val: PositiveFloat | None = None
    accumulate_grad_batches: PositiveInt = 1
    deterministic: bool = False
    accelerator: Literal["auto", "cpu", "gpu"]
