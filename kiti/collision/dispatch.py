"""`collide`: the collision of features, with any implementation."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from kiti.collision.checks import check_features
from kiti.collision.directions import draw_seed
from kiti.collision.literal import collide_literal
from kiti.collision.operator import collide_fused
from kiti.collision.particles import accumulation_dtype
from kiti.collision.precision import without_autocast
from kiti.collision.rules import Rules, names_settings
from kiti.collision.statistics import Collisions

# `literal` is Algorithm 1 written out, the reference; the others are fused and give the same: compiled loops on the
# CPU, Triton kernels on a CUDA GPU.
IMPLEMENTATIONS = ("literal", "numba", "triton")
Result = TypeVar("Result")


def pick(implementation: str, x: Tensor) -> str:
    """Which of IMPLEMENTATIONS collides features like x: the requested one, or the fastest for "auto".

    `python -m benchmarks.benchmark_collision` measures which is fastest.

    Raises:
        ValueError: "numba" for features that are not on the CPU; "triton" makes its own check.
    """
    if implementation == "auto":
        return {"cpu": "numba", "cuda": "triton"}.get(x.device.type, "literal")  # other devices have only that
    if implementation == "numba" and x.device.type not in ("cpu", "meta"):
        raise ValueError(f"implementation='numba' runs on the CPU, but the features are on {x.device}; use 'auto'")
    return implementation


def _by_rules(function: Callable[..., Result]) -> Callable[..., Result]:
    """Let a function of `Rules` accept either an instance or its fields by name."""

    @wraps(function)
    @names_settings
    def called(
        x: Shaped[Tensor, "..."],
        v: Shaped[Tensor, "..."],
        rules: Rules | None = None,
        *,
        directions: Shaped[Tensor, "..."] | None = None,
        generator: torch.Generator | None = None,
        **settings: Any,
    ) -> Result:
        if rules is None:
            rules = Rules(**settings)
        elif settings:
            raise TypeError(f"{', '.join(settings)}: the rules are given and already set it")
        if has_torch_function_variadic(x, v):  # torch.fx records the call; a subclass or a mode may act on it
            given = {"directions": directions, "generator": generator, **rules.settings}
            return handle_torch_function(called, (x, v), x, v, **given)
        return function(x, v, rules, directions, generator)

    given = inspect.signature(called)
    called.__signature__ = given.replace(return_annotation=inspect.signature(function).return_annotation)  # type: ignore[attr-defined]
    called.__prepare_scriptable__ = _refuse_script  # type: ignore[attr-defined]
    return called


def _refuse_script() -> NoReturn:
    raise NotImplementedError(
        "torch.jit.script cannot compile kiti.collide: use torch.compile or torch.export, or script the model without "
        "its seam, which in eval mode is x + dt v"
    )


@_by_rules
def collide(
    x: Shaped[Tensor, "..."],
    v: Shaped[Tensor, "..."],
    rules: Rules,
    directions: Shaped[Tensor, "..."] | None,
    generator: torch.Generator | None,
) -> Shaped[Tensor, "..."]:
    """Collide features instead of adding them: the training form of KITINet's residual (Algorithm 1).

    Each vector of D features is one system of N = D / collision_heads particles in R^collision_heads, with
    positions x (shortcut) and velocities v (residual branch). All quantities are dimensionless. For a pair

        V_r = |v_i - v_j|,  X_r = |x_i - x_j|,  U_r = exp(-X_r)                                          (2)
        dV_ij = (v_i + v_j)/2 + V_r n_ij/2 - v_i,   n_ij = -n_ji uniform on the unit sphere              (3)
        accepted  <=>  V_r U_r / max(V_r) > 1 - coll_coef                                                (4)

    and a particle with k_i accepted partners becomes

        v'_i = v_i + Σ dV_ij,   x*_i = (x_i + Σ (x_i + x_j)/2) / (1 + k_i),   x'_i = x*_i + dt v'_i      (5)

    The gradient treats acceptance and n as constants. A particle without partners gives exactly
    torch.add(x, v, alpha=dt). float16 and bfloat16 are summed in float32. For the same seed, "numba" and "triton"
    draw the same n, "literal" others.

    Every implementation works in torch.compile(fullgraph=True), dynamic shapes and checkpointing included, in
    torch.export, in torch.fx as a leaf, on meta and fake tensors, and under torch.func's grad, vjp, jacrev and vmap.
    With vmap(randomness="different") all samples are one call with directions of their own; with "same" each sample
    is a call, and all have the same directions. Only "literal" has second derivatives and forward mode (jvp, jacfwd).
    Refused in one line: torch.jit, and nested, sparse, complex and distributed tensors.

    Args:
        x: positions, (..., D), any number of leading dimensions.
        v: velocities, with the shape, dtype and device of x.
        rules: all settings below except the last two, as one `kiti.collision.rules.Rules`, instead of by name.
        collision_heads: dimension of a particle, a divisor of D.
        coll_coef: in [0, 1]; 0 accepts nothing, 1 every pair with V_r U_r > 0.
        dt: time step.
        layout: a particle is `collision_heads` adjacent features ("contiguous") or features N apart
            ("strided").
        position_update: False leaves x* = x, the "non-update" of Table 6.
        reduction: "sum" as in (5); "mean" divides Σ dV by k_i; "max_one" keeps only accepted pairs that are
            each other's highest score, so that energy is conserved too.
        max_over: max(V_r) of each "system", or of the whole "batch".
        implementation: "literal", "numba" (CPU), "triton" (CUDA) or "auto", the fastest on the device of x.
        pairing: "random" replaces the accepted pairs of each system by as many, drawn uniformly from all pairs and
            from the seed alone; with "max_one" by couples, so that nobody has two partners. Not a collision of the
            paper, but a placebo of one, as is the next.
        terms: of dV_ij: "both", only the "means" (v_j - v_i)/2, or only the "kicks" V_r n_ij/2.
        directions: n_ij, (..., N, N, collision_heads), for exact tests; drawn if None.
        generator: source of the single seed that a call draws; None is torch's default CPU generator.

    Returns:
        x', with the shape and dtype of x.

    Raises:
        ValueError: an argument is out of range; the message gives its value and what is allowed.
        TypeError: a setting is missing, unknown, or given together with `rules`; x or v is of a kind refused above.
        RuntimeError: a derivative that only "literal" has.

    Example:
        >>> import torch, kiti
        >>> x, v = torch.zeros(1, 4), torch.tensor([[1.0, 2.0, -1.0, 0.0]])
        >>> moved = kiti.collide(x, v, collision_heads=2, coll_coef=0.5)  # two particles, which collide
        >>> torch.allclose(moved.view(2, 2).sum(0), v.view(2, 2).sum(0))  # momentum is conserved
        True
    """
    return collide_with_statistics(x, v, rules, directions=directions, generator=generator)[0]


@_by_rules
def collide_with_statistics(
    x: Shaped[Tensor, "..."],
    v: Shaped[Tensor, "..."],
    rules: Rules,
    directions: Shaped[Tensor, "..."] | None,
    generator: torch.Generator | None,
) -> tuple[Shaped[Tensor, "..."], Collisions]:
    """`collide`, with statistics of how many particles collided and how the energy changed; same arguments."""
    moved, _, statistics = _collided(x, v, rules, directions, generator)
    return moved, statistics


@_by_rules
def collide_with_partners(
    x: Shaped[Tensor, "..."],
    v: Shaped[Tensor, "..."],
    rules: Rules,
    directions: Shaped[Tensor, "..."] | None,
    generator: torch.Generator | None,
) -> tuple[Shaped[Tensor, "..."], Int[Tensor, "..."], Collisions]:
    """`collide_with_statistics`, with the number of partners of each particle, (..., N), in between."""
    return _collided(x, v, rules, directions, generator)


def _collided(
    x: Tensor, v: Tensor, rules: Rules, directions: Tensor | None, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Collisions]:
    if torch.jit.is_tracing():
        raise NotImplementedError(
            "torch.jit.trace would fix the sizes in kiti.collide: use torch.export, or trace the model in eval mode"
        )
    check_features(x, v, directions, rules.collision_heads)
    if x.is_meta:  # nothing to compute, and no seed drawn: such a call leaves the generator as it is
        return _apart(x, v, rules)
    chosen = pick(rules.implementation, x)
    draws = directions is None or rules.pairing == "random"
    seed = draw_seed(generator) if draws else torch.zeros((), dtype=torch.int64, device="cpu")
    if chosen == "literal":
        with without_autocast(x):  # keep distances and sums out of half precision
            return collide_literal(x, v, rules, directions, seed)
    if rules.threshold >= 1 or x.shape[-1] < 2 * rules.collision_heads:  # no score exceeds 1, no pair exists
        return _apart(x, v, rules)
    return collide_fused(x, v, rules, directions, seed, chosen)


def _apart(x: Tensor, v: Tensor, rules: Rules) -> tuple[Tensor, Tensor, Collisions]:
    """x + dt v, no partners, and the statistics of no collision."""
    zero = torch.zeros((), dtype=accumulation_dtype(x.dtype), device=x.device)
    alone = x.new_zeros((*x.shape[:-1], x.shape[-1] // rules.collision_heads), dtype=torch.int32)
    return torch.add(x, v, alpha=rules.dt), alone, Collisions(zero, zero + 1)
