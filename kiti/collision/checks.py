"""What tensors a collision accepts."""

import torch
from torch import Tensor


def check_dense(name: str, tensor: Tensor) -> None:
    """Raise an error that says what to pass instead unless this is a dense tensor of one process."""
    if type(tensor) is Tensor and tensor.layout is torch.strided and not tensor.is_nested:
        return
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} is a {type(tensor).__name__}: a tensor is needed")
    if type(tensor).__name__ == "DTensor":
        raise TypeError(
            f"{name} is a DTensor: pass {name}.to_local(), whole in its last axis, and on ranks that hold the same "
            "systems a generator with the same seed"
        )
    if tensor.is_nested:
        raise TypeError(
            f"{name} is a nested tensor: pass {name}.values(), and nest the result by "
            f"torch.nested.nested_tensor_from_jagged(result, {name}.offsets())"
        )
    if tensor.layout is not torch.strided:
        raise TypeError(f"{name} has layout {tensor.layout}: pass {name}.to_dense()")


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
    """Raise TypeError unless x and v are dense, ValueError unless they are alike, `heads` divides D, directions fit."""
    check_dense("x", x)
    check_dense("v", v)
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
