"""Attaches a residual to a model, after checking that it fits the layout of the model's features."""

from collections.abc import Mapping

from kiti.residual import Colliding, Residual


class SeamError(ValueError):
    """A residual that does not fit the model's features."""


def attach(residual: Residual, dims: int, features: Mapping[int, int | None]) -> Residual:
    """Return `residual` if it can join tensors of `dims` axes; `features` maps their feature axes to D.

    D is None if only the input determines it, such as the points of an operator's grid; the collision itself then
    checks it.

    Raises:
        SeamError: `system_axis` is not a feature axis, or collision_heads does not divide D there.
    """
    if not isinstance(residual, Colliding):
        return residual
    axis, heads = residual.system_axis, residual.rules.collision_heads
    counted = axis + dims if axis < 0 else axis
    if counted not in features:
        known = ", ".join(f"{one} or {one - dims}" for one in features)
        raise SeamError(f"residual.system_axis={axis} is not a feature axis; choose from {known}")
    size = features[counted]
    if size is not None and size % heads:
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        near = sorted(sorted(divisors, key=lambda d: abs(d - heads))[:2])
        raise SeamError(
            f"residual.collision_heads={heads} does not divide D={size} (system_axis={axis}); "
            f"near it: {' or '.join(map(str, near))}"
        )
    return residual
