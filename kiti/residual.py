"""How a block joins its shortcut x and its branch v.

A model calls its seam as `residual(x, v)` where it used to add, with D, the features that may collide, on the last
axis. What happens there during training is the choice of this file; at inference every kind is exactly x + dt v,
so a trained model is the vanilla model.
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
    """x' = x + dt v at inference; subclasses say in `join` what x' is in training.

    No subclass has a parameter or a persistent buffer, so the `state_dict` of a model does not know its residual.

    Shapes: x, v and x' are equal, (..., D). `collisions` holds the statistics of the last training call, if the
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
    """Shared by the kinds that collide: by which rules, and where D lies.

    Args:
        rules: of the collision, checked already; dt is theirs.
        system_axis: the axis of x and v that holds D, every other index being a system of its own.

    `picked` is the implementation that the last call ran.
    """

    def __init__(self, rules: Rules, system_axis: int = -1) -> None:
        super().__init__(rules.dt)
        self.rules = rules
        self.system_axis = system_axis
        self.picked: str | None = None

    def collide(
        self, x: Tensor, v: Tensor, rules: Rules | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """x' of Algorithm 1 along `system_axis`, by other `rules` if given; its statistics are in `self.collisions`."""
        rules = rules or self.rules
        wider = torch.promote_types(x.dtype, v.dtype)  # as x + v does where autocast left them different
        x, v = x.to(wider), v.to(wider)
        self.picked = pick(rules.implementation, x)
        moved, self.collisions = collide_with_statistics(
            x.movedim(self.system_axis, -1), v.movedim(self.system_axis, -1), rules, generator=generator
        )
        moved = moved.movedim(-1, self.system_axis)
        if moved.stride() == x.stride():
            return moved
        return torch.empty_like(x).copy_(moved)  # laid out as x + v would be, whatever comes next

    @torch.no_grad()
    def change(self, x: Tensor, v: Tensor) -> Tensor:
        """What collisions add to x + dt v, as a constant."""
        return self.collide(x, v) - self.drift(x, v)

    def extra_repr(self) -> str:
        return f"{self.rules}, system_axis={self.system_axis}"


class KITIResidual(Colliding):
    """KITINet's residual connection, Algorithm 1.

    Args:
        collision_heads, coll_coef, dt, settings: see `kiti.collide`.
        system_axis: see `Colliding`.
        detach_collision: the gradient sees x + dt v, and the collision as a constant added to it (A5).

    Raises:
        ValueError: a setting of a wrong type or out of its range.
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
    """Control: x + dt v + s z, z standard normal, s² the mean square over a system of what collisions would have added.

    It shows whether a collision helps by its direction, or by its size alone. Arguments as for `KITIResidual`.
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
    """One module of the a-edition (App. D): the branch is an acceleration a, and the velocity lives on.

    With w = v + dt a, collides (x, w) into (x*, v'), returns x* + dt v' and hands v' to the next module. The first
    module, and one whose features have another shape than the one before, starts from v ~ N(0, (v0_scale std a)²).
    Made by `AccelerationChain`.
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
        self._handed_on[:] = [(collided - x) / self.dt]  # x + dt v' holds v' where the position stays
        return moved

    def _incoming(self, acceleration: Tensor) -> Tensor:
        before = self._handed_on.pop() if self._handed_on else None
        if not self.first and before is not None and before.shape == acceleration.shape:
            return before
        if not self.training:
            return torch.zeros_like(acceleration)
        return self.v0_scale * acceleration.detach().std() * torch.randn_like(acceleration)


class AccelerationChain:
    """Makes the modules of one model's a-edition, in the order in which they run: `chain()` gives the next.

    Args:
        v0_scale: standard deviation of the first velocity, in units of the first acceleration's.
        drift_in_eval: at inference too, carry the velocity on, from v = 0; otherwise x + dt a, the vanilla network.
        The rest as for `KITIResidual`.
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
        self.handed_on: list[Tensor] = []  # the velocity between two modules: none or one
        self._made = 0

    def __call__(self) -> Acceleration:
        self._made += 1
        return Acceleration(self, first=self._made == 1)
