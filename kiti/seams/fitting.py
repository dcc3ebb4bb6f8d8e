"""Whether a residual fits the layout of a model's features."""

from collections.abc import Mapping

from kiti.residual import Colliding, Residual


class SeamError(ValueError):
    """A residual, or a name, that does not fit the model."""


def attach(residual: Residual, dims: int, features: Mapping[int, int | None]) -> Residual:
    """Return `residual` if it can join tensors of `dims` axes; `features` maps their feature axes to D.

    D is None if only the input determines it, such as the points of an operator's grid; the collision itself then
    checks it. A residual without a `system_axis` gets the first of the feature axes.

    Raises:
        SeamError: `system_axis` is not a feature axis, or collision_heads does not divide D there.
    """
    residual.fits = (dims, dict(features))
    if not isinstance(residual, Colliding):
        return residual
    if residual.system_axis is None:
        residual.system_axis = next(iter(features))
    axis = residual.system_axis
    counted = axis + dims if axis < 0 else axis
    if counted not in features:
        known = ", ".join(f"{one} or {one - dims}" for one in sorted(features))
        raise SeamError(f"residual.system_axis={axis} is not a feature axis; choose from {known}")
    check_heads(residual, features[counted])
    return residual


def check_heads(residual: Residual, size: int | None, where: str = "residual.") -> None:
    """Raise SeamError if collision_heads does not divide D = `size`; None is not known yet."""
    if not isinstance(residual, Colliding) or not residual.calibrated or size is None:
        return
    heads = residual.rules.collision_heads
    if size % heads:
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        near = sorted(sorted(divisors, key=lambda d: abs(d - heads))[:2])
        raise SeamError(
            f"{where}collision_heads={heads} does not divide D={size} (system_axis={residual.system_axis}); "
            f"near it: {' or '.join(map(str, near))}"
        )
