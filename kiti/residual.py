"""How a block combines its shortcut x and its branch v.

A model calls `residual(x, v)` in place of the addition, with D, the features that may collide, on the last axis.
The classes here differ in training; at inference each is exactly x + dt v, so a trained model is the vanilla model.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kiti.collision.dispatch import collide_with_statistics, pick
from kiti.collision.rules import Rules, names_settings
from kiti.collision.statistics import Collisions

ResidualFactory = Callable[[], "Residual"]


class Residual(nn.Module):
    """x' = x + dt v at inference; subclasses override `join` to define x' in training.

    No subclass has a parameter or a persistent buffer, so a model's `state_dict` does not depend on its residual.

    Shapes: x, v and x' are all (..., D). `collisions` holds the statistics of the last training call, if the
    kind collides.
    """

    def __init__(self, dt: float = Rules.dt) -> None:
        super().__init__()
        self.dt = dt
        self.collisions: Collisions | None = None

    def forward(self, x: Float[Tensor, "*systems D"], v: Float[Tensor, "*systems D"]) -> Float[Tensor, "*systems D"]:
        return self.join(x, v) if self.training else self.drift(x, v)

    def drift(self, x: Tensor, v: Tensor) -> Tensor:
        """The motion without collisions, x + dt v."""
        return torch.add(x, v, alpha=self.dt)

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        return self.drift(x, v)


class Add(Residual):
    """x + dt v in training too: the vanilla residual connection."""


class Dropout(Residual):
    """Control: x + dt dropout(v, p), the comparison that KITINet's section 4.3 promises."""

    def __init__(self, p: float, dt: float = Rules.dt) -> None:
        super().__init__(dt)
        self.p = p

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        return self.drift(x, nn.functional.dropout(v, self.p))


class Colliding(Residual):
    """Base class of the residuals that collide: holds the rules and the axis of D.

    Args:
        rules: the collision's rules, already checked; they include dt.
        system_axis: the axis of x and v that holds D; each index of the other axes is a separate system.

    `picked` is the implementation that the last call used.
    """

    def __init__(self, rules: Rules, system_axis: int = -1) -> None:
        super().__init__(rules.dt)
        self.rules = rules
        self.system_axis = system_axis
        self.picked: str | None = None

    def collide(
        self, x: Tensor, v: Tensor, rules: Rules | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """x' of Algorithm 1 along `system_axis`, by other `rules` if given; stores its statistics in `collisions`."""
        rules = rules or self.rules
        wider = torch.promote_types(x.dtype, v.dtype)  # as x + v does if autocast left different dtypes
        x, v = x.to(wider), v.to(wider)
        self.picked = pick(rules.implementation, x)
        moved, self.collisions = collide_with_statistics(
            x.movedim(self.system_axis, -1), v.movedim(self.system_axis, -1), rules, generator=generator
        )
        moved = moved.movedim(-1, self.system_axis)
        if moved.stride() == x.stride():
            return moved
        return torch.empty_like(x).copy_(moved)  # the memory layout of x + v

    @torch.no_grad()
    def change(self, x: Tensor, v: Tensor) -> Tensor:
        """What collisions add to x + dt v, without gradient."""
        return self.collide(x, v) - self.drift(x, v)

    def extra_repr(self) -> str:
        return f"{self.rules}, system_axis={self.system_axis}"


class KITIResidual(Colliding):
    """KITINet's residual connection, Algorithm 1.

    Args:
        collision_heads, coll_coef, dt, settings: see `kiti.collide`.
        system_axis: see `Colliding`.
        detach_collision: the gradient treats the collision as a constant added to x + dt v (A5).

    Raises:
        ValueError: a setting has the wrong type or is out of range.
    """

    @names_settings
    def __init__(
        self,
        collision_heads: int,
        coll_coef: float,
        dt: float = Rules.dt,
        *,
        system_axis: int = -1,
        detach_collision: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(Rules(collision_heads, coll_coef, dt, **settings), system_axis)
        self.detach_collision = detach_collision

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        if not self.detach_collision:
            return self.collide(x, v)
        return self.drift(x, v) + self.change(x, v)


class MatchedNoise(Colliding):
    """Control: x + dt v + s z with z standard normal and s² the mean square, per system, of what collisions would add.

    It shows whether collisions help by their direction or only by their size. Arguments as for `KITIResidual`.
    """

    @names_settings
    def __init__(
        self,
        collision_heads: int,
        coll_coef: float,
        dt: float = Rules.dt,
        *,
        system_axis: int = -1,
        **settings: Any,
    ) -> None:
        super().__init__(Rules(collision_heads, coll_coef, dt, **settings), system_axis)

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        change = self.change(x, v).float()
        scale = change.square().mean(dim=self.system_axis, keepdim=True).sqrt()
        return self.drift(x, v) + (scale * torch.randn_like(change)).to(x.dtype)


class Acceleration(Colliding):
    """One module of the a-edition (App. D): the branch is an acceleration a, and modules pass the velocity on.

    With w = v + dt a, it collides (x, w) into (x*, v'), returns x* + dt v' and passes v' to the next module. The first
    module, and any whose features differ in shape from the previous one's, starts from v ~ N(0, (v0_scale std a)²).
    Created by `AccelerationChain`.
    """

    def __init__(self, chain: "AccelerationChain", first: bool) -> None:
        super().__init__(chain.rules, chain.system_axis)
        self.still = replace(chain.rules, position_update=False)
        self.v0_scale = chain.v0_scale
        self.drift_in_eval = chain.drift_in_eval
        self.first = first
        self._handed_on = chain.handed_on

    def forward(self, x: Float[Tensor, "*systems D"], v: Float[Tensor, "*systems D"]) -> Float[Tensor, "*systems D"]:
        if not self.training and not self.drift_in_eval:
            return self.drift(x, v)
        velocity = self._incoming(v) + self.dt * v
        if not self.training:
            self._handed_on[:] = [velocity]
            return self.drift(x, velocity)
        seed = int(torch.randint(2**62, ()))
        moved, collided = (
            self.collide(x, velocity, rules, torch.Generator().manual_seed(seed)) for rules in (self.rules, self.still)
        )
        self._handed_on[:] = [(collided - x) / self.dt]  # with `still`, collided is x + dt v'
        return moved

    def _incoming(self, acceleration: Tensor) -> Tensor:
        before = self._handed_on.pop() if self._handed_on else None
        if not self.first and before is not None and before.shape == acceleration.shape:
            return before
        if not self.training:
            return torch.zeros_like(acceleration)
        return self.v0_scale * acceleration.detach().std() * torch.randn_like(acceleration)


class AccelerationChain:
    """Creates the modules of one model's a-edition in execution order: `chain()` returns the next one.

    Args:
        v0_scale: standard deviation of the first velocity, in units of the first acceleration's.
        drift_in_eval: pass the velocity on at inference too, from v = 0; otherwise x + dt a, the vanilla network.
        The others are as for `KITIResidual`.
    """

    @names_settings
    def __init__(
        self,
        collision_heads: int,
        coll_coef: float,
        dt: float = Rules.dt,
        *,
        system_axis: int = -1,
        v0_scale: float = 1.0,
        drift_in_eval: bool = False,
        **settings: Any,
    ) -> None:
        self.rules = Rules(collision_heads, coll_coef, dt, **settings)
        self.system_axis = system_axis
        self.v0_scale = v0_scale
        self.drift_in_eval = drift_in_eval
        self.handed_on: list[Tensor] = []  # the velocity passed to the next module, if any
        self._made = 0

    def __call__(self) -> Acceleration:
        self._made += 1
        return Acceleration(self, first=self._made == 1)
