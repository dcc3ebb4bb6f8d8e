"""The settings of a collision, checked once and handed to every implementation."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LAYOUTS = ("contiguous", "strided")
REDUCTIONS = ("sum", "mean", "max_one")
MAX_OVER = ("system", "batch")


@dataclass(frozen=True)
class Rules:
    """How features become particles and which of them collide; see `kiti.collide` for every field."""

    collision_heads: int
    coll_coef: float
    dt: float = 1.0
    layout: str = "contiguous"
    position_update: bool = True
    reduction: str = "sum"
    max_over: str = "system"

    @property
    def threshold(self) -> float:
        """A pair is accepted where V_r U_r / max(V_r) exceeds this, 1 - coll_coef."""
        return 1.0 - self.coll_coef

    def __post_init__(self) -> None:
        check_coll_coef(self.coll_coef)
        heads = self.collision_heads
        if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1:
            raise ValueError(f"collision_heads={heads!r}: a positive int is needed, the dimension of a particle")
        if not isinstance(self.dt, int | float) or not math.isfinite(self.dt):
            raise ValueError(f"dt={self.dt!r}: a finite number is needed; the paper uses 1.0")
        check_choice("layout", self.layout, LAYOUTS)
        check_choice("reduction", self.reduction, REDUCTIONS)
        check_choice("max_over", self.max_over, MAX_OVER)


def check_coll_coef(coll_coef: int | float) -> None:
    """Raise ValueError unless `coll_coef` lies in [0, 1], which NaN does not."""
    if not 0.0 <= coll_coef <= 1.0:
        raise ValueError(
            f"coll_coef={coll_coef!r}: a number in [0, 1] is needed; 0 accepts no pair, "
            "1 accepts every pair that moves relative to each other"
        )


def check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError naming the choices unless `value` is one of them."""
    if value not in choices:
        raise ValueError(f"{argument}={value!r}: one of {', '.join(map(repr, choices))} is needed")


def check_alike(names: tuple[str, str], first: Tensor, second: Tensor) -> None:
    """Raise ValueError unless both tensors are floating and share shape, dtype and device."""
    for name, tensor in zip(names, (first, second), strict=True):
        if not tensor.is_floating_point():
            raise ValueError(f"{name} has dtype {tensor.dtype}: a real floating-point tensor is needed")
    for aspect in ("shape", "dtype", "device"):
        a, b = getattr(first, aspect), getattr(second, aspect)
        if a != b:
            a, b = (tuple(a), tuple(b)) if aspect == "shape" else (a, b)
            raise ValueError(f"{names[0]} and {names[1]} differ in {aspect}: {a} and {b}; {names[1]} must have {a} too")


def check_directions(directions: Tensor, shape: tuple[int, ...], device: torch.device) -> None:
    """Raise ValueError unless `directions` is floating, of this shape and on this device."""
    if tuple(directions.shape) != shape:
        raise ValueError(
            f"directions has shape {tuple(directions.shape)}: {shape} is needed, one unit vector per ordered pair"
        )
    if not directions.is_floating_point():
        raise ValueError(f"directions has dtype {directions.dtype}: a real floating-point tensor is needed")
    if directions.device != device:
        raise ValueError(f"directions is on {directions.device}: it must be on {device}, as the features are")


def check_features(x: Tensor, v: Tensor, directions: Tensor | None, heads: int) -> None:
    """Raise ValueError unless x and v are alike, `heads` divides D and the directions fit."""
    check_alike(("x", "v"), x, v)
    if x.dim() == 0:
        raise ValueError("x has shape (): at least one dimension is needed, (..., D)")
    d = x.shape[-1]
    if d % heads:
        below = max(n for n in range(1, min(heads, d) + 1) if d % n == 0)
        above = min((n for n in range(heads, d + 1) if d % n == 0), default=None)
        near = f"{below} and {above} do" if above else f"the nearest that does is {below}"
        raise ValueError(f"collision_heads={heads} does not divide D={d}; {near}")
    if directions is not None:
        n = d // heads
        check_directions(directions, (*x.shape[:-1], n, n, heads), x.device)
