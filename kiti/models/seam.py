"""Where a model attaches a residual: the model says how its features lie, and what does not fit is refused there."""

from collections.abc import Mapping

from kiti.residual import Colliding, Residual


class SeamError(ValueError):
    """A residual whose systems are none of the model's."""


def attach(residual: Residual, dims: int, features: Mapping[int, int | None]) -> Residual:
    """`residual`, if it may join tensors of `dims` axes of which `features` are the feature axes, each with its D.

    A D of None is one that no model knows before its input, as the points of an operator's grid; a collision itself
    then complains of particles that do not fit.

    Raises:
        SeamError: `system_axis` names no feature axis, or collision_heads does not divide D there.
    """
    if not isinstance(residual, Colliding):
        return residual
    axis, heads = residual.system_axis, residual.rules.collision_heads
    counted = axis + dims if axis < 0 else axis
    if counted not in features:
        known = ", ".join(f"{one} or {one - dims}" for one in features)
        raise SeamError(f"residual.system_axis={axis} names no feature axis; there are {known}")
    size = features[counted]
    if size is not None and size % heads:
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        near = sorted(sorted(divisors, key=lambda d: abs(d - heads))[:2])
        raise SeamError(
            f"residual.collision_heads={heads} does not divide D={size} (system_axis={axis}); "
            f"near it: {' or '.join(map(str, near))}"
        )
    return residual
