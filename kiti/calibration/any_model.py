"""`calibrate`: collision_heads and coll_coef for a model, from its own features."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kiti.calibration.acceptance import Systems, pair_scores
from kiti.collision.dispatch import collide
from kiti.residual import Colliding
from kiti.seams.fitting import SeamError

_HIGHEST = 0.5
_SYSTEMS = 1 << 12
_SCORES = 1 << 24


class Setting(NamedTuple):
    """What a module was set to, and the accepted pairs per system that this gives on the batch."""

    collision_heads: int
    coll_coef: float
    pairs: float


class Settings(dict[str, Setting]):
    """`Setting` by module name; prints as a table."""

    def __repr__(self) -> str:
        rows = [("module", "collision_heads", "coll_coef", "pairs a system")]
        for name, found in self.items():
            coll_coef, pairs = f"{found.coll_coef:.4g}", f"{found.pairs:.3g}"
            rows.append((name or "(model)", str(found.collision_heads), coll_coef, pairs))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def calibrate(model: nn.Module, batch: Any, *, pairs: float = 1.0, collision_heads: int | None = None) -> Settings:
    """Set collision_heads and coll_coef of every residual that collides, so that about `pairs` pairs a system collide.

    Runs the model on `batch`, in training mode, and counts the pairs that would collide: once with plain additions and
    once more with the collisions that follow from that, since they change what later modules get. The model's weights,
    buffers, modes and random numbers are left as they were. Features change in training, so that the count does too:
    see `kiti.statistics`.

    Of the collision_heads that divide D and leave two particles or more, it takes the largest that needs a coll_coef of
    at most 0.5, or else the one that needs the smallest. The papers name no values; one pair a system is the mean that
    KITINet states (A7, A8).

    Args:
        model: any model with `KITIResidual`s, opened by `open_seam` or its own.
        batch: what the model is called with: a mapping of keywords, a tuple or list of arguments, or one argument.
        pairs: wanted mean of accepted pairs per system.
        collision_heads: choose only coll_coef, for these.

    Returns:
        The new settings of each module.

    Raises:
        SeamError: nothing in the model collides, a residual was not called, or no coll_coef gives the pairs wanted.
            Nothing is set then.

    Warns:
        UserWarning: at a seam the model was not seen adding x and v, because another module comes between, or because
            a compiled or fused kernel adds.

    Example:
        >>> import torch, kiti
        >>> noise = torch.Generator().manual_seed(0)
        >>> residual, x, v = kiti.KITIResidual(), *torch.randn(2, 100, 64, generator=noise)
        >>> kiti.calibrate(residual, (x, v), pairs=1)
        module   collision_heads  coll_coef  pairs a system
        (model)  2                0.3968     1
    """
    residuals = {name: m for name, m in model.named_modules() if isinstance(m, Colliding)}
    if not residuals:
        raise SeamError(f"nothing in {type(model).__name__} collides: see kiti.open_seam")
    if not pairs > 0:
        raise ValueError(f"pairs={pairs!r}: a positive number is needed")
    found: dict[str, Setting] = {}
    for _ in range(2):
        features = _features(model, residuals, found, batch)
        found = {name: _fitted(name, features[name], pairs, collision_heads, m) for name, m in residuals.items()}
    for name, (heads, coll_coef, _) in found.items():
        residual = residuals[name]
        residual.rules = replace(residual.rules, collision_heads=heads, coll_coef=coll_coef)
        residual.calibrated = True
    return Settings(found)


def _features(
    model: nn.Module, residuals: dict[str, Colliding], settings: Mapping[str, Setting], batch: Any
) -> dict[str, Systems]:
    """(x, v), each (S, D), of the last call of each residual, which collides by its setting if it has one."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, residual: Colliding) -> Any:
        def join(x: Tensor, v: Tensor) -> Tensor:
            seen[name] = x, v
            if name not in settings:
                return residual.drift(x, v)
            heads, coll_coef, _ = settings[name]
            rules = replace(residual.rules, collision_heads=heads, coll_coef=coll_coef)
            axis, generator = residual.axis, torch.Generator().manual_seed(0)
            return collide(x.movedim(axis, -1), v.movedim(axis, -1), rules, generator=generator).movedim(-1, axis)

        return join

    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    adds = _Additions(residuals.values())
    try:
        model.train()
        for name, residual in residuals.items():
            residual.join = watch(name, residual)  # type: ignore[method-assign]
        with torch.random.fork_rng(devices), torch.no_grad(), adds:
            _call(model, batch)
    finally:
        for residual in residuals.values():
            residual.__dict__.pop("join", None)
        for module, training in modes:
            module.training = training
        for buffer, before in buffers:
            buffer.copy_(before)
    for name, residual in residuals.items():
        if name not in seen:
            raise SeamError(f"{residual.label} ({name}) was not called on this batch")
    if adds.missing and not settings:
        first, more = adds.missing[0], f" (and {len(adds.missing) - 1} more)" if len(adds.missing) > 1 else ""
        warnings.warn(
            f"{first.label}{more}: torch was not seen adding what {first.seam.branch} returned to x; name the last "
            "module before the addition as branch, and as shortcut one that gets the tensor that is added",
            stacklevel=3,
        )
    systems = {}
    for name, residual in residuals.items():
        x, v = (each.detach().movedim(residual.axis, -1).flatten(0, -2).float() for each in seen[name])
        systems[name] = x, v
    return systems


def _call(model: nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def _fitted(name: str, systems: Systems, pairs: float, wanted: int | None, residual: Colliding) -> Setting:
    """The choice that `calibrate` describes, on at most _SYSTEMS systems."""
    d = systems[0].shape[-1]
    if not systems[1].any():
        raise SeamError(
            f"{residual.label} ({name}): v is zero, as in a branch that starts at zero; train a little first"
        )
    if wanted is not None and (d % wanted or wanted < 1):
        raise SeamError(f"{residual.label}: collision_heads={wanted} does not divide D={d}")
    candidates = [wanted] if wanted is not None else [h for h in range(1, d // 2 + 1) if d % h == 0]
    best: Setting | None = None
    for heads in sorted(candidates, reverse=True):
        setting = _measured(systems, heads, pairs)
        if setting is not None and (best is None or setting.coll_coef < best.coll_coef):
            best = setting
        if best is not None and best.coll_coef <= _HIGHEST:
            break
    if best is None:
        raise SeamError(
            f"{residual.label} ({name}): no coll_coef gives {pairs:g} pairs a system with D={d} and "
            f"{f'collision_heads={wanted}' if wanted is not None else 'any collision_heads'}"
        )
    return best


def _measured(systems: Systems, heads: int, pairs: float) -> Setting | None:
    """coll_coef for `pairs` pairs a system with these heads; None if there is none within a factor of two."""
    n = systems[0].shape[-1] // heads
    if n < 2 or n * (n - 1) / 2 < pairs:
        return None
    count = min(len(systems[0]), _SYSTEMS, max(1, _SCORES // n**2))
    chosen = torch.randperm(len(systems[0]), generator=torch.Generator().manual_seed(0))[:count]
    x, v = (each[chosen.to(each.device)] for each in systems)
    scores = pair_scores(x, v, heads).flatten().sort(descending=True).values
    last = min(len(scores) - 1, max(0, round(pairs * count) - 1))
    below = scores[min(len(scores) - 1, last + 1)]
    # Midway to the next lower score, since a pair collides only if it exceeds 1 - coll_coef.
    coll_coef = min(1.0, 1 - float(scores[last].double() + below.double()) / 2)
    accepted = int((scores > 1 - coll_coef).sum()) / count
    return Setting(heads, coll_coef, accepted) if pairs / 2 <= accepted <= 2 * pairs else None


class _Additions(TorchFunctionMode):
    """Finds, at each seam, whether the model then adds the two tensors that the seam expects it to add."""

    functions = (torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__)

    def __init__(self, residuals: Iterable[Colliding]) -> None:
        super().__init__()
        self.missing = [residual for residual in residuals if residual.seam is not None]

    def __enter__(self) -> Any:
        for residual in self.missing:
            residual.seam.watched = True
        self._all = list(self.missing)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for residual in self._all:
            residual.seam.watched, residual.seam.summands = False, None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.functions:
            self.missing = [residual for residual in self.missing if not _adds(residual.seam.summands, args)]
        return func(*args, **(kwargs or {}))


def _adds(summands: tuple[Tensor, Tensor] | None, args: tuple[Any, ...]) -> bool:
    return summands is not None and {id(each) for each in summands} == {id(each) for each in args[:2]}
