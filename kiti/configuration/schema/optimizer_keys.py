"""The groups `optimizer`, `scheduler`, `averaging` and `trainer`."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from kiti.units.keys import Factory, Fraction, NotHashed, UnitKeys

Betas = Annotated[list[Fraction], Field(min_length=2, max_length=2)]


class OptimizerKeys(UnitKeys):
    """The group `optimizer`."""


class SchedulerKeys(UnitKeys):
    """The group `scheduler`."""


class AveragingKeys(UnitKeys):
    """The group `averaging`."""


class AdamKeys(Factory, OptimizerKeys):
    builds = "torch.optim.Adam"
    name = "adam"
    lr: PositiveFloat
    betas: Betas = Field(default=[0.9, 0.999])
    weight_decay: NonNegativeFloat
    fused: bool = False


class AdamWKeys(AdamKeys):
    builds = "torch.optim.AdamW"
    name = "adamw"


class LambKeys(Factory, OptimizerKeys):
    builds = "timm.optim.Lamb"
    name = "lamb"
    lr: PositiveFloat
    betas: Betas
    eps: PositiveFloat
    weight_decay: NonNegativeFloat
    max_grad_norm: PositiveFloat | None


class SGDKeys(Factory, OptimizerKeys):
    builds = "torch.optim.SGD"
    name = "sgd"
    lr: PositiveFloat
    momentum: NonNegativeFloat
    weight_decay: NonNegativeFloat
    nesterov: bool = False


class StepLRKeys(Factory, SchedulerKeys):
    builds = "torch.optim.lr_scheduler.StepLR"
    name = "step"
    step_size: PositiveInt
    gamma: PositiveFloat


class MultiStepLRKeys(Factory, SchedulerKeys):
    builds = "torch.optim.lr_scheduler.MultiStepLR"
    name = "multistep"
    milestones: Annotated[list[PositiveInt], Field(min_length=1)]
    gamma: PositiveFloat


class CosineAnnealingLRKeys(Factory, SchedulerKeys):
    builds = "torch.optim.lr_scheduler.CosineAnnealingLR"
    name = "cosine"
    T_max: PositiveInt
    eta_min: NonNegativeFloat


class OneCycleLRKeys(Factory, SchedulerKeys):
    builds = "torch.optim.lr_scheduler.OneCycleLR"
    name = "one_cycle"
    max_lr: PositiveFloat
    pct_start: Fraction
    div_factor: PositiveFloat
    final_div_factor: PositiveFloat


class WarmupCosineKeys(Factory, SchedulerKeys):
    builds = "kiti.tasks.schedules.WarmupCosine"
    name = "warmup_cosine"
    epochs: PositiveInt
    warmup_epochs: NonNegativeInt
    warmup_lr: NonNegativeFloat
    min_lr: NonNegativeFloat
    under_warmup: bool
    each: Literal["epoch", "step"]

    @model_validator(mode="after")
    def _warmup_ends(self) -> "WarmupCosineKeys":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs={self.warmup_epochs} leaves none of {self.epochs} epochs for the cosine")
        return self


class WarmupLinearKeys(Factory, SchedulerKeys):
    builds = "kiti.tasks.schedules.warmup_linear"
    name = "warmup_linear"
    warmup_share: Fraction


class WarmupCosineToKeys(Factory, SchedulerKeys):
    builds = "kiti.tasks.schedules.warmup_cosine_to"
    name = "warmup_cosine_to"
    warmup_share: Fraction
    min_share: Fraction


class ExponentialAverageKeys(AveragingKeys):
    builds = "kiti.training.averaging.ExponentialAverage"
    name = "ema"
    decay: Annotated[float, Field(ge=0, lt=1)]


class TrainerKeys(UnitKeys):
    builds = "pytorch_lightning.Trainer"
    name = "lightning"
    max_epochs: PositiveInt
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
    gradient_clip_val: PositiveFloat | None = None
    accumulate_grad_batches: PositiveInt = 1
    val_check_interval: PositiveInt | None = None
    deterministic: bool = False
    sync_batchnorm: bool = False
    accelerator: NotHashed[Literal["auto", "cpu", "gpu"]]
    strategy: NotHashed[Literal["ddp", "fsdp2"]] = "ddp"

    @model_validator(mode="after")
    def _float16_needs_a_gpu(self) -> "TrainerKeys":
        # `auto` may find a GPU or none: kiti.training.building.trainer decides.
        if self.accelerator == "cpu" and self.precision == "16-mixed":
            raise ValueError("precision=16-mixed needs a GPU, not accelerator=cpu; choose 32-true or bf16-mixed")
        return self

    @model_validator(mode="after")
    def _sharded_parameters_are_float32(self) -> "TrainerKeys":
        if self.strategy == "fsdp2" and self.precision not in {"32-true", "bf16-mixed"}:
            raise ValueError(f"strategy=fsdp2 trains with precision=32-true or bf16-mixed, not {self.precision}")
        return self
