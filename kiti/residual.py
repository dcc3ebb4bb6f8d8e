"""How a block combines its shortcut x and its branch v.

A model calls `residual(x, v)` in place of the addition, with D, the features that may collide, on the last axis.
The classes here differ in training; at inference each is exactly x + dt v, so a trained model is the vanilla model.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from kiti.collision.directions import draw_seed
from kiti.collision.dispatch import collide_with_partners, pick
from kiti.collision.draws import Draws, normal
from kiti.collision.particles import from_particles
from kiti.collision.rules import Rules, names_settings
from kiti.collision.running import Running
from kiti.collision.statistics import Collisions

ResidualFactory = Callable[[], "Residual"]


class Residual(nn.Module):
    """x' = x + dt v at inference; subclasses override `join` to define x' in training.

    No subclass has a parameter or a persistent buffer, so a model's `state_dict` does not depend on its residual.

    Shapes: x, v and x' are all (..., D). `collisions` holds the statistics of the last training call, if the
    kind collides. `draws` is the module's own source of random numbers, see `kiti.Directions`.
    """

    def __init__(self, dt: float = Rules.dt) -> None:
        super().__init__()
        self.dt = dt
        self.collisions: Collisions | None = None
        self.draws = Draws()
        self.seam: Any = None  # the hooks, if `open_seam` created it
        self.fits: tuple[int, dict[int, int | None]] | None = None  # the layout that `attach` checked

    def forward(self, x: Shaped[Tensor, "..."], v: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        if isinstance(x, torch.fx.Proxy):  # a leaf for torch.fx: what training does depends on values
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x, v), {})  # type: ignore[attr-defined,no-any-return]
        if torch.jit.is_tracing():
            if not self.training:
                return self.drift(x, v)
            raise RuntimeError(
                "torch.jit.trace would record the collisions of one call: call model.eval() before tracing"
            )
        if x.shape != v.shape:
            raise ValueError(f"x and v differ in shape: {tuple(x.shape)} and {tuple(v.shape)}")
        return self.join(x, v) if self.training else self.drift(x, v)

    def __prepare_scriptable__(self) -> "Residual":
        raise RuntimeError(
            "torch.jit.script cannot compile a residual of kiti: call kiti.close_seam(model) first, which changes "
            "nothing in eval mode, or use torch.jit.trace, torch.export or torch.compile"
        )

    @property
    def is_addition(self) -> bool:
        """Whether x' is x + v in the present mode, so that a seam has nothing to do. Override it with `forward`."""
        return not self.training and self.dt == 1

    def drift(self, x: Tensor, v: Tensor) -> Tensor:
        """The motion without collisions, x + dt v."""
        return torch.add(x, v, alpha=self.dt)

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        return self.drift(x, v)


class Add(Residual):
    """x + dt v in training too: the vanilla residual connection."""

    @property
    def is_addition(self) -> bool:
        return self.dt == 1


class Dropout(Residual):
    """Control: x + dt dropout(v, p), the comparison that KITINet's section 4.3 promises."""

    def __init__(self, p: float, dt: float = Rules.dt) -> None:
        super().__init__(dt)
        self.p = p

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        generator = self.draws.generator(x, v)
        if generator is None:
            return self.drift(x, nn.functional.dropout(v, self.p))
        on_device = torch.Generator(v.device).manual_seed(int(draw_seed(generator)))
        kept = torch.empty_like(v).bernoulli_(1 - self.p, generator=on_device)
        return self.drift(x, v * kept.div_(1 - self.p))


class Colliding(Residual):
    """Base class of the residuals that collide: holds the rules and the axis of D.

    Args:
        rules: the collision's rules, already checked; they include dt.
        system_axis: the axis of x and v that holds D; each index of the other axes is a separate system. None leaves it
            to the model, and is the last axis without one.

    `picked` is the implementation that the last call used, and `particles` is its N. `running` has the statistics of
    training; set `running.kept` to False to leave them out.
    """

    def __init__(self, rules: Rules, system_axis: int | None = None) -> None:
        super().__init__(rules.dt)
        self.rules = rules
        self.system_axis = system_axis
        self.calibrated = True
        self.picked: str | None = None
        self.particles: int | None = None
        self.running = Running()

    @property
    def axis(self) -> int:
        """`system_axis`, or the last one."""
        return -1 if self.system_axis is None else self.system_axis

    def collide(
        self, x: Tensor, v: Tensor, rules: Rules | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """x' of Algorithm 1 along `system_axis`, by other `rules` if given; stores its statistics in `collisions`."""
        return self.collide_with_partners(x, v, rules, generator)[0]

    def collide_with_partners(
        self, x: Tensor, v: Tensor, rules: Rules | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Int[Tensor, "*systems N"]]:
        """`collide`, and how many partners each particle had: x's axes but `axis`, then the N particles."""
        if not self.calibrated:
            raise ValueError(
                f"{self.label} has no collision_heads and coll_coef: call kiti.calibrate(model, batch) before "
                "training, or pass both"
            )
        rules = rules or self.rules
        wider = torch.promote_types(x.dtype, v.dtype)  # as x + v does if autocast left different dtypes
        x, v = x.to(wider), v.to(wider)
        moved, partners, statistics = collide_with_partners(
            x.movedim(self.axis, -1),
            v.movedim(self.axis, -1),
            rules,
            generator=self.draws.generator(x, v) if generator is None else generator,
        )
        if self.running.kept and not torch._C._are_functorch_transforms_active():  # whose tensors must not be kept
            self.picked = pick(rules.implementation, x)
            self.collisions = statistics
            self.particles = x.shape[self.axis] // rules.collision_heads
            self.running.add(statistics, self.particles, self.label)
        moved = moved.movedim(-1, self.axis)
        if moved.stride() == x.stride():
            return moved, partners
        return torch.empty_like(x).copy_(moved), partners  # the memory layout of x + v

    @torch.no_grad()
    def change(self, x: Tensor, v: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What collisions add to x + dt v, without gradient."""
        return self.collide(x, v, generator=generator) - self.drift(x, v)

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{type(self).__name__} at {self.seam.branch}" if self.seam is not None else type(self).__name__

    def extra_repr(self) -> str:
        rules = str(self.rules) if self.calibrated else "not calibrated"
        return rules if self.system_axis is None else f"{rules}, system_axis={self.system_axis}"


class KITIResidual(Colliding):
    """KITINet's residual connection, Algorithm 1.

        training:   v'_i = v_i + Σ dV_ij,  x*_i = (x_i + Σ (x_i + x_j)/2) / (1 + k_i),  x' = x* + dt v'    (5)
        inference:  x' = x + dt v

    Call it with x, the shortcut, and v, the residual branch, both (..., D); it returns x' of the same shape. Without
    `collision_heads` and `coll_coef` it waits for `kiti.calibrate`; until then a training call raises.

    Args:
        collision_heads: the dimension of a particle, a divisor of D: more heads mean fewer particles, N = D /
            collision_heads. It is not a number of heads.
        coll_coef: in [0, 1]. How many pairs it lets collide depends on the features: on the scale of x above all. The
            papers' 0.1 to 0.9 can mean no pair or all of them, see `kiti.calibrate`.
        dt, settings: see `kiti.collide`.
        system_axis: see `Colliding`.
        detach_collision: the gradient treats the collision as a constant added to x + dt v (A5).

    Raises:
        ValueError: a setting has the wrong type or is out of range, or only one of the first two is given; in training,
            x and v differ in shape or collision_heads does not divide D.

    Example:
        >>> import torch, kiti
        >>> residual = kiti.KITIResidual(collision_heads=4, coll_coef=0.3)
        >>> x, v = torch.randn(32, 64), torch.randn(32, 64)
        >>> residual(x, v).shape
        torch.Size([32, 64])
        >>> torch.equal(residual.eval()(x, v), x + v)
        True
    """

    @names_settings
    def __init__(
        self,
        collision_heads: int | None = None,
        coll_coef: float | None = None,
        dt: float = Rules.dt,
        *,
        system_axis: int | None = None,
        detach_collision: bool = False,
        **settings: Any,
    ) -> None:
        if (collision_heads is None) != (coll_coef is None):
            raise ValueError(
                f"collision_heads={collision_heads} and coll_coef={coll_coef}: pass both, or neither and call "
                "kiti.calibrate"
            )
        if collision_heads is None or coll_coef is None:
            super().__init__(Rules(1, 0.0, dt, **settings), system_axis)
            self.calibrated = False
        else:
            super().__init__(Rules(collision_heads, coll_coef, dt, **settings), system_axis)
        self.detach_collision = detach_collision

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        if not self.detach_collision:
            return self.collide(x, v)
        return self.drift(x, v) + self.change(x, v)


class MatchedNoise(Colliding):
    """Control: x + dt v + s z with z standard normal and s² the mean square, per system, of what collisions would add.

    It shows whether collisions help by their direction or only by their size.

    Args:
        sparse: noise only for the particles that would have collided: s² is then the mean square over their features.
            The noise of a system is as strong either way, as one draw in expectation.
        detach_collision: the noise is a constant. False: the gradient is that of `KITIResidual`, through the collisions
            that the noise replaces, so that only the value differs from it.
        The others are as for `KITIResidual`.
    """

    @names_settings
    def __init__(
        self,
        collision_heads: int,
        coll_coef: float,
        dt: float = Rules.dt,
        *,
        system_axis: int | None = None,
        sparse: bool = False,
        detach_collision: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(Rules(collision_heads, coll_coef, dt, **settings), system_axis)
        self.sparse = sparse
        self.detach_collision = detach_collision

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        generator = self.draws.generator(x, v)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.detach_collision):
            collided, partners = self.collide_with_partners(x, v, generator=generator)
        drifted = self.drift(x, v)
        change = (collided - drifted).detach().float()
        noise = (self._size(change, partners) * normal(change, generator)).to(x.dtype)
        if self.detach_collision:
            return drifted + noise
        return (drifted + noise).detach() + (collided - collided.detach())  # the latter is 0

    def _size(self, change: Tensor, partners: Int[Tensor, "*systems N"]) -> Tensor:
        """s, broadcast over the features; with `sparse` it is 0 where a particle has no partner."""
        square = change.square()
        if not self.sparse:
            return square.mean(dim=self.axis, keepdim=True).sqrt()
        touched = self._touched(partners, change)
        mean = square.sum(dim=self.axis, keepdim=True) / touched.sum(dim=self.axis, keepdim=True).clamp_min(1)
        return torch.where(touched, mean.sqrt(), 0)

    def _touched(self, partners: Int[Tensor, "*systems N"], like: Tensor) -> Bool[Tensor, "..."]:
        """Whether each feature, in the shape of `like`, belongs to a particle with a partner."""
        heads = self.rules.collision_heads
        systems = (partners > 0).reshape(-1, partners.shape[-1], 1).expand(-1, -1, heads)
        shape = like.movedim(self.axis, -1).shape
        return from_particles(systems, shape, self.rules.layout).movedim(-1, self.axis)


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
        if not self.training:
            velocity = self._incoming(v, None) + self.dt * v
            self._handed_on[:] = [velocity]
            return self.drift(x, velocity)
        generator = self.draws.generator(x, v)
        velocity = self._incoming(v, generator) + self.dt * v
        seed = int(draw_seed(generator))
        moved, collided = (
            self.collide(x, velocity, rules, torch.Generator().manual_seed(seed)) for rules in (self.rules, self.still)
        )
        self._handed_on[:] = [(collided - x) / self.dt]  # with `still`, collided is x + dt v'
        return moved

    @property
    def is_addition(self) -> bool:
        return not self.training and not self.drift_in_eval and self.dt == 1

    def _incoming(self, acceleration: Tensor, generator: torch.Generator | None) -> Tensor:
        before = self._handed_on.pop() if self._handed_on else None
        if not self.first and before is not None and before.shape == acceleration.shape:
            return before
        if not self.training:
            return torch.zeros_like(acceleration)
        return self.v0_scale * acceleration.detach().std() * normal(acceleration, generator)


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
        system_axis: int | None = None,
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
