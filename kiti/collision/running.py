"""Running means of a module's collisions in training, and warnings when they show that something is wrong."""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from kiti.collision.statistics import Collisions

_SILENT_CALLS = 20
_ENERGY = 10.0


class Means(NamedTuple):
    """Means over the training calls of one module since the last reset.

    `pairs`: accepted pairs per system. `energy_ratio`: Σ|v'|² / Σ|v|², mean over calls. Both are NaN before any call.
    """

    calls: int
    pairs: float
    energy_ratio: float


class Running:
    """Sums over training calls, on the device of the features and detached.

    A recomputation by activation checkpointing does not count. Warns once per module: if none of its first 20 calls had
    a collision, if collisions multiply the kinetic energy by more than ten, and if a system has a single particle.
    The energy is read at every call on the CPU, at calls 1, 2, 4, 8, … elsewhere, where reading waits for the device;
    never in a compiled graph.

    Attributes:
        kept: False keeps nothing and warns of nothing, which makes the module free of side effects.
        warns: whether to warn.
    """

    def __init__(self) -> None:
        self.kept = True
        self.warns = True
        self._sums: Tensor | None = None  # calls, pairs, energy ratios
        self._calls = 0  # of the warnings; a compiled graph would have to be compiled anew at each value
        self._warned: set[str] = set()

    def add(self, collisions: Collisions, particles: int, label: str) -> None:
        """Add the statistics of one call with this many particles a system; `label` names the module in warnings."""
        compiling = torch.compiler.is_compiling()
        if not compiling and torch._C._current_graph_task_id() != -1:  # within a backward: a recomputation
            return
        pairs = collisions.partners * (particles / 2)
        row = torch.stack([torch.ones_like(pairs), pairs, collisions.energy_ratio]).double()
        self._sums = row if self._sums is None else self._sums.to(row.device) + row
        if self.warns and not compiling and type(row) is Tensor and not row.is_meta:
            self._check(row, particles, label)

    def means(self) -> Means:
        """The means so far; waits for the device."""
        if self._sums is None:
            return Means(0, float("nan"), float("nan"))
        calls, pairs, energy = self._sums.tolist()
        return Means(int(calls), pairs / calls, energy / calls)

    def reset(self) -> None:
        """Forget all calls."""
        self._sums = None

    def _check(self, row: Tensor, particles: int, label: str) -> None:
        self._calls += 1
        if particles < 2:
            self._warn(
                "particles",
                f"{label}: a system has a single particle, so nothing can collide; lower collision_heads",
            )
        elif self._calls == _SILENT_CALLS and self._sums is not None and self._sums[1] == 0:
            self._warn(
                "silent",
                f"{label}: no pair collided in {_SILENT_CALLS} training calls; raise coll_coef, lower collision_heads, "
                "or call kiti.calibrate",
            )
        if row.device.type == "cpu" or self._calls & (self._calls - 1) == 0:
            ratio = float(row[2])
            if not ratio <= _ENERGY:
                self._warn(
                    "energy",
                    f"{label}: collisions multiply the kinetic energy by {ratio:.3g}, so training does not resemble "
                    "inference; lower coll_coef, raise collision_heads, or call kiti.calibrate",
                )

    def _warn(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(message, stacklevel=2)
