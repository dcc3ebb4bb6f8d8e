"""The studies of the theory: measures what the theorems state, and returns plain values for a record."""

import functools
import statistics
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kiti.ko import hard_collision, soft_collision
from kiti.neurons.theory.cosine_change import alignment_rate
from kiti.neurons.theory.descent import descend, promised, quadratic
from kiti.neurons.theory.thermal_equilibrium import networks, process

LAGS = 5
WINDOW = 100  # steps over which kicks are correlated
# eta, m, trajectories. The paper gives no values; with 0.1 and 200 neurons its equations diverge.
EQUILIBRIA = [(0.1, 200, 500), (0.1, 50, 2000), (0.05, 200, 2000), (0.02, 200, 500), (0.01, 200, 200)]
DIMENSION = 5
PAIR_TRIALS = 500
ETAS = [1e-1, 1e-2, 1e-3, 1e-4]
DESCENT = {"neurons": 10, "dimension": 4, "least": 0.1, "eta": 0.1, "steps": 2000, "seeds": 20}


def equilibrium(eta: float, m: int, trajectories: int, *, steps: int | None = None) -> dict[str, Any]:
    """Appendix J's process up to t = 1/eta^2: the distribution of a, the correlation of its kicks, θ, and mean |w|²."""
    draw = torch.Generator().manual_seed(0)
    last = steps or round(eta**-2)
    shown = sorted({round(last ** (k / 60)) for k in range(61)} | {0})
    curve, kicks = [], deque[Tensor](maxlen=LAGS + 1)
    products: list[list[float]] = [[] for _ in range(LAGS + 1)]
    first = torch.full((trajectories,), torch.inf, dtype=torch.float64)
    theta = torch.zeros(trajectories, DIMENSION, dtype=torch.float64)
    before: Tensor | None = None
    for t, now in enumerate(process(networks(trajectories, m, DIMENSION, eta, generator=draw), eta, last, draw)):
        square = now.mean_square
        first = torch.where((square <= eta**0.5) & first.isinf(), float(t), first)
        theta += now.theta
        if t in shown:
            quartiles = torch.quantile(square, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)).tolist()
            curve.append([t, *(value if value < 1e12 else None for value in quartiles)])
        if before is not None and t <= WINDOW:
            kicks.append(now.outer - before)
            for lag in range(min(LAGS + 1, len(kicks))):
                products[lag].append(float((kicks[-1] * kicks[-1 - lag]).mean()) / eta**0.5)
        before = now.outer
        if not square.isfinite().all() or (square > 1e12).any():
            break
    assert before is not None  # the process has at least one state
    level = (before / eta**0.25).round()
    mean_theta = theta / (t + 1)
    reached = first[first.isfinite()]
    return {
        "eta": eta,
        "m": m,
        "trajectories": trajectories,
        "steps": t,
        "gain": eta * m * eta**0.5 / 2,  # eta E|a|²: a step multiplies W along a by 1 minus this
        "shares": [float((level == value).double().mean()) for value in (-1, 0, 1)],
        "outer_square": float(before.square().sum(1).mean()) / (m * eta**0.5 / 2),
        "lags": [statistics.mean(each) for each in products],
        "theta_over_error": float((mean_theta.mean(0) / (mean_theta.std(0) / trajectories**0.5)).abs().max()),
        "first_below": sorted(reached.tolist())[:: max(1, len(reached) // 200)],
        "median_first": float(reached.median()) if len(reached) else None,
        "latest_first": float(reached.max()) if len(reached) else None,
        "share_below": len(reached) / trajectories,
        "diverged": float(square.median()) > 1.5,  # it starts from 1
        "curve": curve,
    }


def pair(trial: int, lean: float, alike: float) -> tuple[Tensor, Tensor]:
    """Two neurons whose cosine has the sign `alike`, and gradients with a component `lean` along them."""
    draw = torch.Generator().manual_seed(trial)
    weight = 1 + 0.5 * torch.randn(2, 20, generator=draw, dtype=torch.float64)
    weight[1] *= alike
    return weight, lean * weight + 0.1 * torch.randn(2, 20, generator=draw, dtype=torch.float64)


def hard(weight: Tensor, grad: Tensor, seed: int = 0, **options: Any) -> Tensor:
    return hard_collision(weight, grad, 1.0, generator=torch.Generator().manual_seed(seed), **options)


def soft(weight: Tensor, grad: Tensor, seed: int = 0) -> Tensor:
    return soft_collision(weight, grad, 0.1, include_self=False)


def cosine_changes() -> dict[str, Any]:
    """Theorem 3.2: the sign of the collisions' part of d|cos|/dη, and the error of the first-order formula."""
    signs = []
    for name, collide in (("soft", soft), ("hard", hard)):
        for lean, alike in ((-1, 1), (1, 1), (-1, -1), (1, -1), (0, 1)):
            rates = []
            for trial in range(PAIR_TRIALS):
                weight, grad = pair(trial, lean, alike)
                rates.append(float(alignment_rate(weight, collide(weight, grad, trial) - grad)))
            spread = statistics.stdev(rates) / PAIR_TRIALS**0.5
            share = sum(rate < 0 for rate in rates) / PAIR_TRIALS
            signs.append(
                {"collision": name, "lean": lean, "alike": alike, "mean": statistics.mean(rates), "error": spread}
                | {"share_parted": share}
            )
    errors = []
    for eta in ETAS:
        off = []
        for trial in range(PAIR_TRIALS):
            weight, grad = pair(trial, -1, 1)
            step = soft(weight, grad)
            rate = float(alignment_rate(weight, step))
            off.append(abs((alignment(weight - eta * step) - alignment(weight)) / eta - rate) / abs(rate))
        errors.append({"eta": eta, "relative_error": statistics.median(off)})
    return {"signs": signs, "errors": errors}


def alignment(weight: Tensor) -> float:
    return abs(float(torch.cosine_similarity(weight[0], weight[1], dim=0)))


def descents() -> list[dict[str, Any]]:
    """Theorem 3.3: the mean of |g|² in descents on a quadratic, and the right-hand side of (19)."""
    n, d, eta, steps = DESCENT["neurons"], DESCENT["dimension"], DESCENT["eta"], DESCENT["steps"]
    curvature = quadratic(int(d), DESCENT["least"])
    results = []
    variants: list[tuple[str, bool, Callable[[Tensor, Tensor, torch.Generator], Tensor]]] = [
        ("none", False, lambda w, g, s: g),
        ("hard, coll_coef 0.7", False, lambda w, g, s: hard_collision(w, g, 0.7, generator=s)),
        ("hard, coll_coef 1", False, lambda w, g, s: hard_collision(w, g, 1.0, generator=s)),
        ("soft, 0.5/N, alike neurons", True, lambda w, g, s: soft_collision(w, g, 0.5 / len(w))),
        ("soft, 1/N, alike neurons", True, lambda w, g, s: soft_collision(w, g, 1 / len(w))),
        ("soft, 1.5/N, alike neurons", True, lambda w, g, s: soft_collision(w, g, 1.5 / len(w))),
        ("a constant push, |δ| = 0.3 a weight", False, lambda w, g, s: g + 0.3),
    ]
    for name, condensed, collide in variants:
        means, bounds, ends, curves = [], [], [], []
        for seed in range(int(DESCENT["seeds"])):
            draw = torch.Generator().manual_seed(seed)
            start = torch.randn(int(n), int(d), generator=draw, dtype=torch.float64)
            optimum = torch.randn(int(n), int(d), generator=draw, dtype=torch.float64)
            if condensed:
                start, optimum = start[:1].abs().repeat(int(n), 1) + 1, optimum[:1].abs().repeat(int(n), 1) + 5
            collided = functools.partial(_with, collide, draw)
            found = descend(start, optimum, curvature, eta, int(steps), collided)
            means.append(float(found.gradient.mean()))
            bounds.append(promised(found, eta))
            ends.append(float(found.gradient[-1] / found.gradient[0]))
            curves.append(found.gradient)
        curve = torch.stack(curves).median(0).values
        some = sorted({round(steps ** (k / 40)) - 1 for k in range(41)})
        results.append(
            {
                "collision": name,
                "mean_square": finite(statistics.median(means)),
                "bound": finite(statistics.median(bounds)),
                "last_over_first": finite(statistics.median(ends)),
                "holds": sum(mean <= bound for mean, bound in zip(means, bounds, strict=True)) / len(means),
                "curve": [[t, finite(float(curve[t]))] for t in some],
            }
        )
    return results


def _with(collide: Callable[..., Tensor], draw: torch.Generator, weight: Tensor, grad: Tensor) -> Tensor:
    return collide(weight, grad, draw)


def finite(value: float) -> float | None:
    return value if abs(value) < 1e12 else None
