"""What the residuals of a model do in training: statistics, and the position of their random directions."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from kiti.collision.running import Means
from kiti.residual import Colliding, Residual
from kiti.seams.fitting import SeamError


class Statistics(dict[str, Means]):
    """`Means` by module name; prints as a table."""

    def __repr__(self) -> str:
        header = ("module", "calls", "pairs a system", "energy ratio")
        rows = [header]
        for name, means in self.items():
            rows.append((name or "(model)", str(means.calls), f"{means.pairs:.3g}", f"{means.energy_ratio:.3g}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def statistics(model: nn.Module, *, reset: bool = False) -> Statistics:
    """Running means of the collisions of every module that collides, over its training calls since the last reset.

    `pairs` is the number of accepted pairs per system and `energy_ratio` Σ|v'|² / Σ|v|². They are detached, live on
    the device of the features until they are read here, and leave out recomputations by activation checkpointing, calls
    under `torch.func`, and modules for which `keep_statistics(model, False)` was called.

    Args:
        model: any model with residuals that collide.
        reset: forget the calls afterwards.

    Raises:
        SeamError: nothing in the model collides.

    Example:
        >>> import torch, kiti
        >>> residual = kiti.KITIResidual(collision_heads=4, coll_coef=0.0)
        >>> x_new = residual(torch.randn(32, 64), torch.randn(32, 64))
        >>> kiti.statistics(residual)
        module   calls  pairs a system  energy ratio
        (model)  1      0               1
    """
    found = Statistics()
    for name, module in _colliding(model):
        found[name] = module.running.means()
        if reset:
            module.running.reset()
    return found


def keep_statistics(model: nn.Module, kept: bool = True) -> None:
    """Keep the statistics of `statistics`, as is the default, or no longer, with no warnings either.

    Without them a residual has no side effect, as torch.compile(fullgraph=True) demands of a module that it also
    checkpoints.

    Raises:
        SeamError: nothing in the model collides.

    Example:
        >>> import kiti
        >>> kiti.keep_statistics(kiti.KITIResidual(collision_heads=4, coll_coef=0.3), kept=False)
    """
    for _, module in _colliding(model):
        module.running.kept = kept


class Directions:
    """Where the random directions of a model's residuals stand; `state_dict` saves it, `load_state_dict` restores it.

    A training call draws from a stream of its own module, keyed by (seed, module, rank, call). torch's global
    generators are not used, so that the order of a shuffled loader and the masks of dropout are the same with KITI and
    without. Activation checkpointing repeats the directions of the call that it recomputes. Only under torch.compile
    directions come from the global generator.

    Args:
        model: any model with residuals.
        seed: start all streams anew with this seed. None leaves them as they are: without a seed, a module's stream
            follows from the state of torch's global generator when the module was created.
        rank: replaces the rank in torch.distributed, which gives data-parallel ranks different directions; ranks
            that compute the same features, as in tensor parallelism, need the same number.

    Raises:
        SeamError: the model has no residuals.

    Example:
        >>> import torch, kiti
        >>> residual = kiti.KITIResidual(collision_heads=2, coll_coef=0.9)
        >>> directions, x, v = kiti.Directions(residual, seed=0), torch.randn(4, 8), torch.randn(4, 8)
        >>> state = directions.state_dict()
        >>> first, second = residual(x, v), residual(x, v)
        >>> directions.load_state_dict(state)
        >>> torch.equal(residual(x, v), first), torch.equal(first, second)
        (True, False)
    """

    def __init__(self, model: nn.Module, seed: int | None = None, *, rank: int | None = None) -> None:
        self._model = model
        if seed is not None:
            self.restart(seed)
        if rank is not None:
            for _, module in self._residuals():
                module.draws.rank = rank

    def restart(self, *keys: int) -> None:
        """Start all streams anew, keyed by these numbers and the position of each module in the model."""
        for index, (_, module) in enumerate(self._residuals()):
            module.draws.restart(*keys, index)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers by module name."""
        return {
            name: {"keys": list(module.draws.keys), "call": module.draws.call} for name, module in self._residuals()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            SeamError: it belongs to a model with other residuals.
        """
        residuals = dict(self._residuals())
        if state.keys() != residuals.keys():
            other = sorted(state.keys() ^ residuals.keys())
            raise SeamError(f"the saved directions belong to other residuals: {other[0]!r} is only on one side")
        for name, module in residuals.items():
            module.draws.restart(*map(int, state[name]["keys"]))
            module.draws.call = int(state[name]["call"])

    def _residuals(self) -> Iterator[tuple[str, Residual]]:
        found = [(name, m) for name, m in self._model.named_modules() if isinstance(m, Residual)]
        if not found:
            raise SeamError(f"{type(self._model).__name__} has no residuals of kiti: see kiti.open_seam")
        return iter(found)


def _colliding(model: nn.Module) -> list[tuple[str, Colliding]]:
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, Colliding)]
    if not found:
        raise SeamError(f"nothing in {type(model).__name__} collides: see kiti.open_seam")
    return found
