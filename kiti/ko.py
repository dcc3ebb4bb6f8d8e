"""KO: the gradients of neurons collide before the optimizer's step; a neuron is a row of a weight matrix.

    ko = KO(optimizer, select(model, ["fc.weight"]), mode="hard", coll_coef=0.7)
    loss.backward(); optimizer.step()                      # collides p.grad, then steps

Order within a step: unscale, all-reduce, collide, clip, step (A28). A training loop that clips, or that
gives `step` a closure, passes `attach=False` and calls `ko.collide()` itself at that point.
"""

import difflib
import fnmatch
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import Module, Parameter

from kiti.collision.checks import check_alike, check_directions
from kiti.collision.directions import draw_seed, mix
from kiti.collision.particles import accumulation_dtype
from kiti.collision.rules import check_choice, check_coll_coef
from kiti.collision.velocities import collide_velocities

MODES = ("soft", "hard")
# Cosines that a soft collision holds in memory at once.
_ENTRIES = 1 << 22
NamedParameters = Mapping[str, Parameter] | Iterable[tuple[str, Parameter]]


@torch.no_grad()
def soft_collision(
    weight: Shaped[Tensor, "..."],
    grad: Shaped[Tensor, "..."],
    coll_coef: int | float,
    *,
    include_self: bool = True,
    normalize: bool = False,
) -> Shaped[Tensor, "..."]:
    """g' = g + coll_coef · Δg, Δg = -(cos(w, w) ∘ cos(g, g)) g, with ∘ the elementwise product.

    N condensed neurons give (1 - coll_coef N) g, so descent turns into ascent at coll_coef > 1/N.

    Args:
        weight: (N, D), neurons are rows.
        grad: (N, D), its gradient.
        coll_coef: finite, at least 0.
        include_self: False leaves out i = j, which shrinks a neuron's own gradient by 1 - coll_coef.
        normalize: divide Δg by N.

    Returns:
        g', (N, D), in the dtype of `grad`; half precision is computed in float32. cos of a zero row is 0.

    Raises:
        ValueError: an argument is out of range; the message gives its value and what is allowed.
    """
    _check_matrices(weight, grad)
    _check_soft_coef(coll_coef)
    with torch.autocast(grad.device.type, enabled=False):
        dtype = accumulation_dtype(grad.dtype)
        w, g = weight.to(dtype), grad.to(dtype)
        unit_w, unit_g = _unit_rows(w), _unit_rows(g)
        scale = coll_coef / max(1, len(w)) if normalize else coll_coef
        collided = torch.empty_like(g)
        rows = max(1, _ENTRIES // max(1, len(g)))
        for top in range(0, len(g), rows):  # a few rows at a time: wide layers never hold all of N x N
            some = slice(top, top + rows)
            similar = (unit_w[some] @ unit_w.T).mul_(unit_g[some] @ unit_g.T)
            if not include_self:
                similar.diagonal(top).fill_(0)
            torch.addmm(g[some], similar, g, alpha=-scale, out=collided[some])
        return collided.to(grad.dtype)


@torch.no_grad()
def hard_collision(
    weight: Shaped[Tensor, "..."],
    grad: Shaped[Tensor, "..."],
    coll_coef: int | float,
    *,
    directions: Shaped[Tensor, "..."] | None = None,
    generator: torch.Generator | None = None,
    approach_only: bool = False,
) -> Shaped[Tensor, "..."]:
    """g'_i = g_i + Σ dg_ij over accepted pairs: the collision of `kiti.collide` with x = w and v = g.

        g_r = |g_i - g_j|,  w_r = |w_i - w_j|,  dg_ij = (g_i + g_j)/2 + g_r n_ij/2 - g_i
        accepted  <=>  g_r exp(-w_r) / max(g_r) > 1 - coll_coef

    The sum of all gradients is conserved. Memory: parts of N x N matrices and the list of accepted pairs.

    Args:
        weight: (N, D), neurons are rows.
        grad: (N, D), its gradient.
        coll_coef: in [0, 1].
        directions: n_ij = -n_ji, (N, N, D), for exact tests; if None they are drawn, the same on every device.
        generator: source of the single seed that a call draws; None is torch's default CPU generator.
        approach_only: accept only pairs with (w_j - w_i)·(g_j - g_i) > 0, which the proof needs (A23).

    Returns:
        g', (N, D), in the dtype of `grad`; half precision is computed in float32.

    Raises:
        ValueError: an argument is out of range; the message gives its value and what is allowed.
    """
    _check_matrices(weight, grad)
    check_coll_coef(coll_coef)
    if directions is not None:
        n, d = grad.shape
        check_directions(directions, (n, n, d), grad.device)
    seed = int(draw_seed(generator)) if directions is None else 0
    with torch.autocast(grad.device.type, enabled=False):
        return collide_velocities(
            weight, grad, coll_coef, directions=directions, seed=seed, approach_only=approach_only
        )


class KO:
    """Collides the gradients of some parameters just before every step of an optimizer.

    The first dimension of a parameter indexes its neurons; parameters without a gradient are skipped.
    KO has its own generator for directions, keyed by (seed, step, parameter): they are the same on every rank, and
    the global generators are not used. Use one KO per optimizer.

    Args:
        optimizer: any torch optimizer. With `attach`, its step must not be given a closure, which would
            compute new gradients after the collision; LBFGS always needs one.
        params: (name, parameter) pairs or a mapping, as `select` returns; all owned by `optimizer`.
        mode: "soft" or "hard".
        coll_coef: as in `soft_collision` or `hard_collision`; its meaning differs between the two.
        seed: of the directions (hard).
        include_self, normalize: see `soft_collision`.
        approach_only: see `hard_collision`.
        replicas: number of independent networks along the first axis of each parameter; neurons are on the second axis.
            Replica r collides only within itself, with directions drawn from seed + r. None: neurons come first.
        attach: collide in a hook of the optimizer's step; if False, call `collide` yourself. Either way this object's
            state is saved and restored with the optimizer's, as `optimizer.state_dict()["ko"]`.

    Raises:
        ValueError: an argument is out of range, or a parameter is not a matrix or not owned by the optimizer;
            later, for a sparse gradient or a closure.

    Attributes:
        step_count: collisions so far.
        relative_change: |Δg|/|g| of the last collision by name, over all replicas together, as 0-dim tensors on the
            parameters' devices.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        params: NamedParameters,
        mode: str,
        coll_coef: int | float,
        *,
        seed: int = 0,
        include_self: bool = True,
        normalize: bool = False,
        approach_only: bool = False,
        replicas: int | None = None,
        attach: bool = True,
    ) -> None:
        check_choice("mode", mode, MODES)
        (check_coll_coef if mode == "hard" else _check_soft_coef)(coll_coef)
        self.params = dict(params.items() if isinstance(params, Mapping) else params)
        self.mode, self.coll_coef, self.seed = mode, coll_coef, seed
        self.include_self, self.normalize, self.approach_only = include_self, normalize, approach_only
        self.replicas = replicas
        self.step_count = 0
        self.relative_change: dict[str, Tensor] = {}
        self._hooks: list[Any] = []
        self._check_params(optimizer)
        if attach:
            self._attach(optimizer)
        self._hooks += [
            optimizer.register_state_dict_post_hook(self._save),
            optimizer.register_load_state_dict_pre_hook(self._load),
        ]

    @torch.no_grad()
    def collide(self) -> None:
        """Collide the gradients now, in place, as one step."""
        self.relative_change = {}
        for index, (name, parameter) in enumerate(self.params.items()):
            if parameter.grad is None:
                continue
            if parameter.grad.layout != torch.strided:
                raise ValueError(f"gradient of {name!r} has layout {parameter.grad.layout}: a dense one is needed")
            grad = parameter.grad
            collided = self._collided(parameter.detach(), grad, index)
            dtype = accumulation_dtype(grad.dtype)
            before = torch.linalg.vector_norm(grad, dtype=dtype)
            change = torch.linalg.vector_norm(collided.to(dtype) - grad.to(dtype))
            self.relative_change[name] = torch.where(before == 0, 0, change / before)
            parameter.grad.copy_(collided)
        self.step_count += 1

    def detach(self) -> None:
        """Remove the hooks from the optimizer."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def state_dict(self) -> dict[str, int | str]:
        """The plain values that a run needs to continue as if it had never stopped."""
        return {"seed": self.seed, "step": self.step_count, "mode": self.mode}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore seed and step count; ValueError if the state was saved in the other mode."""
        if state["mode"] != self.mode:
            raise ValueError(f"mode={self.mode!r}, but the state to load was saved with mode={state['mode']!r}")
        self.seed, self.step_count = int(state["seed"]), int(state["step"])

    def _collided(self, weight: Tensor, grad: Tensor, index: int) -> Tensor:
        if self.replicas is None:
            return self._of_one(weight.flatten(1), grad.flatten(1), index, self.seed).view(grad.shape)
        replicas = zip(weight.flatten(2), grad.flatten(2), strict=True)
        each = [self._of_one(w, g, index, self.seed + replica) for replica, (w, g) in enumerate(replicas)]
        return torch.stack(each).view(grad.shape)

    def _of_one(self, weight: Tensor, grad: Tensor, index: int, seed: int) -> Tensor:
        if self.mode == "soft":
            return soft_collision(
                weight, grad, self.coll_coef, include_self=self.include_self, normalize=self.normalize
            )
        generator = torch.Generator().manual_seed(mix(seed, self.step_count, index))
        return hard_collision(weight, grad, self.coll_coef, generator=generator, approach_only=self.approach_only)

    def _check_params(self, optimizer: torch.optim.Optimizer) -> None:
        if not self.params:
            raise ValueError("params is empty: at least one (name, parameter) pair is needed")
        owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in self.params.items():
            if id(parameter) not in owned:
                raise ValueError(f"parameter {name!r} is not among those of the {type(optimizer).__name__} optimizer")
            if self.replicas is not None and (parameter.dim() < 3 or len(parameter) != self.replicas):
                raise ValueError(
                    f"parameter {name!r} has shape {tuple(parameter.shape)}: with replicas={self.replicas} the axes "
                    "must be replicas, neurons and then weights"
                )
            if parameter.dim() < 2:
                raise ValueError(
                    f"parameter {name!r} has shape {tuple(parameter.shape)}: at least two dimensions are needed, "
                    "neurons first"
                )

    def _attach(self, optimizer: torch.optim.Optimizer) -> None:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError(
                "attach=True: LBFGS computes gradients inside its step, after the hook; pass attach=False and call "
                "collide() inside the closure"
            )
        self._hooks.append(optimizer.register_step_pre_hook(self._before_step))

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        closure = kwargs.get("closure", next((a for a in args if a is not optimizer), None))
        if closure is not None:
            raise ValueError(
                "attach=True: step was given a closure, which computes gradients after the hook; pass attach=False "
                "and call collide() at the end of the closure"
            )
        self.collide()

    def _save(self, _: torch.optim.Optimizer, state_dict: dict[str, Any]) -> None:
        state_dict["ko"] = self.state_dict()

    def _load(self, _: torch.optim.Optimizer, state_dict: dict[str, Any]) -> None:
        if "ko" in state_dict:
            self.load_state_dict(state_dict["ko"])


def select(model: Module | NamedParameters, patterns: str | Iterable[str]) -> dict[str, Parameter]:
    """The parameters whose names match one of the patterns (as in a shell: *, ?, [seq]), in the model's order.

    Raises:
        ValueError: a pattern matches nothing; the message lists the closest names.
    """
    named = model.named_parameters() if isinstance(model, Module) else model
    parameters = dict(named.items() if isinstance(named, Mapping) else named)
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in parameters):
            near = difflib.get_close_matches(pattern, parameters, cutoff=0.3) or list(parameters)[:3]
            raise ValueError(f"pattern {pattern!r} matches no parameter; closest names: {', '.join(near)}")
    return {name: p for name, p in parameters.items() if any(fnmatch.fnmatchcase(name, q) for q in patterns)}


def _unit_rows(rows: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Rows scaled to length one, so that their products are cosines; a row of zeros stays zero."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.where(length == 0, 0, rows / length)


def _check_soft_coef(coll_coef: int | float) -> None:
    if not (math.isfinite(coll_coef) and coll_coef >= 0):
        raise ValueError(f"coll_coef={coll_coef!r}: a finite number of at least 0 is needed, commonly at most 1/N")


def _check_matrices(weight: Tensor, grad: Tensor) -> None:
    check_alike(("weight", "grad"), weight, grad)
    if weight.dim() != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}: (N, D) is needed, neurons are rows")
