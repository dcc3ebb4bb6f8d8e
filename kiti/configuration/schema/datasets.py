"""The group `data`."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import (
    Field,
    FilePath,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from kiti.configuration.schema.nodes import Finite, Fraction, Target

Kind = Literal["pairs of functions", "frames on a grid", "flows on irregular points", "points of a function", "images"]
"""What a sample is: data, model and task must mean the same."""


Interval = Annotated[list[Finite], Field(min_length=2, max_length=2)]


class Samples(Target):
    batch_size: PositiveInt
    seed: NonNegativeInt
    kind: ClassVar[Kind]


class InMemoryData(Samples):
    n_train: PositiveInt
    n_test: PositiveInt


class OperatorPairs(InMemoryData):
    resolution: PositiveInt
    test_resolution: PositiveInt | None = None
    kind: ClassVar[Kind] = "pairs of functions"


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
    kind: ClassVar[Kind] = "frames on a grid"

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


class MeshFrames(InMemoryData):
    data_dir: str
    frames_in: PositiveInt
    frames_out: PositiveInt
    kind: ClassVar[Kind] = "flows on irregular points"


class AirfoilData(MeshFrames):
    target: Literal["kiti.data.airfoil.AirfoilData"] = Field(alias="_target_")
    path: str

    @model_validator(mode="after")
    def _set_is_there(self) -> "AirfoilData":
        if not (Path(self.path) / "meta.json").is_file():
            raise ValueError(
                f"path={self.path} holds no airfoil set; scripts/fetch_airfoil.py fetches it, "
                "and experiment=airfoil_euler is a stand-in that is computed here"
            )
        return self


class AirfoilEulerData(MeshFrames):
    target: Literal["kiti.data.airfoil_euler.AirfoilEulerData"] = Field(alias="_target_")
    spacing: PositiveFloat
    mach: Interval
    degrees: Interval
    flows_per_airfoil: PositiveInt
    surface_size: Annotated[float, Field(ge=0.002, le=0.2)]
    growth: PositiveFloat
    radius: Annotated[float, Field(gt=1)]
    data_seed: NonNegativeInt

    @model_validator(mode="after")
    def _intervals_hold_flows(self) -> "AirfoilEulerData":
        for name, (least, most) in {"mach": self.mach, "degrees": self.degrees}.items():
            if not least <= most:
                raise ValueError(f"{name}={[least, most]}: the least comes first")
        if not self.mach[0] > 0:
            raise ValueError(f"mach={self.mach}: a flow must move")
        return self


class SineSumData(InMemoryData):
    target: Literal["kiti.data.sine_sum.SineSumData"] = Field(alias="_target_")
    d: PositiveInt
    replicas: PositiveInt
    kind: ClassVar[Kind] = "points of a function"

    @model_validator(mode="after")
    def _replicas_see_all_points(self) -> "SineSumData":
        if self.replicas > 1 and self.batch_size < self.n_train:
            raise ValueError(
                f"replicas={self.replicas} are cut into batches alike, so that none would be what its seed makes it; "
                f"batch_size={self.n_train} takes all points"
            )
        return self


class SmallImages(InMemoryData):
    classes: PositiveInt
    augment: bool
    data_dir: str
    kind: ClassVar[Kind] = "images"


class CIFARData(SmallImages):
    target: Literal["kiti.data.cifar.CIFARData"] = Field(alias="_target_")
    classes: Literal[10, 100]


class FashionMNISTData(SmallImages):
    target: Literal["kiti.data.fashion_mnist.FashionMNISTData"] = Field(alias="_target_")
    classes: Literal[10, 100]


class ImageNetData(Samples):
    target: Literal["kiti.data.imagenet.ImageNetData"] = Field(alias="_target_")
    path: str
    format: Literal["folder", "parquet"]
    data_dir: str
    classes: PositiveInt
    resolution: PositiveInt
    test_resolution: PositiveInt
    scale: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    hflip: Fraction
    auto_augment: Annotated[str, Field(pattern="^rand(-|$)")] | None
    color_jitter: PositiveFloat | None
    re_prob: Fraction
    re_mode: Literal["const", "rand", "pixel"]
    crop_pct: Annotated[float, Field(gt=0, le=1)]
    interpolation: Literal["bilinear", "bicubic"]
    repeats: PositiveInt
    workers: NonNegativeInt
    eval_batch_size: PositiveInt
    kind: ClassVar[Kind] = "images"

    @model_validator(mode="after")
    def _jitter_is_read(self) -> "ImageNetData":
        if self.color_jitter and self.auto_augment:
            raise ValueError(f"color_jitter={self.color_jitter}: timm leaves it out where there is auto_augment")
        return self


Data = Annotated[
    BurgersData
    | BurgersMat
    | NavierStokesData
    | HeatData
    | AirfoilData
    | AirfoilEulerData
    | SineSumData
    | CIFARData
    | FashionMNISTData
    | ImageNetData,
    Field(discriminator="target"),
]
