"""`open_seam` and `close_seam`: a residual in place of additions of any model."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from kiti.residual import Add, Colliding, KITIResidual, Residual, ResidualFactory
from kiti.seams.families import FAMILIES, Place, described, known_places, own_seams
from kiti.seams.fitting import SeamError, attach, check_heads
from kiti.seams.hooks import Seam
from kiti.seams.names import pairs

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Opened:
    """One addition that a residual has replaced.

    `D`: features of a system, None if only the input tells. `N`: particles, None if D or collision_heads is not known.
    `axis`: the axis of x and v that holds D.
    """

    residual: str
    branch: str
    shortcut: str
    D: int | None
    N: int | None
    axis: int


class OpenedSeams(list[Opened]):
    """What `open_seam` opened; prints as a table."""

    def __repr__(self) -> str:
        header = ("residual", "v: branch", "x: shortcut", "D", "N", "axis")
        rows = [header, *((o.residual, o.branch, o.shortcut, o.D or "?", o.N or "?", o.axis) for o in self)]
        text = [[str(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*text, strict=True)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in text)


def open_seam(
    model: nn.Module,
    branch: str | Sequence[str] | None = None,
    shortcut: str | Sequence[str] | None = None,
    residual: ResidualFactory = KITIResidual,
    *,
    system_axis: int | None = None,
) -> OpenedSeams:
    """Replace additions x + v of a model by residual(x, v) in training; in eval mode the model stays as it was.

        open_seam(model, branch="blocks.*.attn", shortcut="blocks.*.norm1", residual=KITIResidual)

    No forward is replaced: hooks change one summand, so that the block's own addition gives residual(x, v), one
    rounding away. Neither weights nor `state_dict` change. In eval mode the hooks do nothing, unless the residual has
    dt ≠ 1 or passes velocities on.

    Args:
        model: any module; modified in place.
        branch: names of the modules that return v, a tensor or the first of a tuple. `*` stands for one part of a name.
            Name the last module before the addition: layer scale or stochastic depth if there is one. None, with
            `shortcut`: the additions that the papers replace in GPT-2 and Qwen2 (each attention), BERT and DistilBERT
            (both of the last layer), ResNet and ConvNeXt (last stage), of transformers, torchvision and timm, and all
            of kiti's own models.
        shortcut: names of the modules whose first input is x, such as the norm at the branch's start, or with
            ":output" of those that return x, such as a projection: "layer4.*.downsample:output".
        residual: called once per addition, in the model's order, to create its module: a class or a
            `functools.partial`.
        system_axis: the axis of x that holds the features D that collide. By default it follows from the family, or
            from the layers at both ends if they agree: 1 after convolutions, the last one after linear layers.

    Returns:
        What was opened: names, D, N and axis of each addition. An addition that was open already gets the new residual.

    Raises:
        SeamError: before anything is changed, if a pattern matches nothing, the family is not known, the axis does not
            follow from the layers, or the residual does not fit it or D.
        TypeError: `residual` is a module, or returns the same one twice.

    Example:
        >>> import kiti, torchvision
        >>> from functools import partial
        >>> model = torchvision.models.resnet18()
        >>> kiti.open_seam(model, residual=partial(kiti.KITIResidual, collision_heads=4, coll_coef=0.25))
        residual           v: branch     x: shortcut                   D    N    axis
        layer4.0.residual  layer4.0.bn2  layer4.0.downsample.1:output  512  128  1
        layer4.1.residual  layer4.1.bn2  layer4.1.conv1                512  128  1
    """
    _check_factory(residual)
    if branch is None and shortcut is None:
        places = known_places(model)
        if not places and own_seams(model):
            return _replace_own(model, residual)
        if not places:
            families = ", ".join(sorted({name.split(".")[2] for name in FAMILIES}))
            raise SeamError(
                f"{type(model).__name__}: not a family whose additions are known ({families}); "
                'name them, as in branch="blocks.*.attn", shortcut="blocks.*.norm1"'
            )
    elif branch is None or shortcut is None:
        raise SeamError("branch and shortcut belong together: pass both, or none for a known family")
    else:
        places = named_places(model, branch, shortcut, system_axis)
    if system_axis is not None:
        places = [replace(place, axis=system_axis) for place in places]
    return open_places(model, places, residual)


def named_places(
    model: nn.Module, branch: str | Sequence[str], shortcut: str | Sequence[str], axis: int | None = None
) -> list[Place]:
    """The additions at these names, with what the model's family or the layers tell of their axis and D."""
    known = {place.branch: place for place in known_places(model, everywhere=True)}
    places = []
    for v, x, of_output in pairs(model, branch, shortcut):
        if v in known:
            places.append(replace(known[v], shortcut=x, of_output=of_output))
            continue
        found, size = described(model.get_submodule(v), model.get_submodule(x), of_output)
        if found is None and axis is None:
            raise SeamError(
                f"{v}: its layers do not tell which axis holds the features; pass system_axis, such as 1 for images "
                "(B, C, H, W) or -1 for tokens (B, T, D)"
            )
        places.append(Place(v, x, of_output, found, size))
    return places


def open_places(model: nn.Module, places: Sequence[Place], residual: ResidualFactory) -> OpenedSeams:
    """`open_seam` at known places."""
    _check_factory(residual)
    modules = [residual() for _ in places]
    for made in modules:
        if not isinstance(made, Residual):
            raise TypeError(
                f"residual returned a {type(made).__name__}: a kiti Residual, such as KITIResidual, is needed"
            )
    if len(set(map(id, modules))) < len(modules):
        raise TypeError("residual returned the same module twice: each addition needs its own")
    for place, made in zip(places, modules, strict=True):
        _fit(made, place)
    for branch in {place.branch for place in places}:
        for _, old in _open_residuals(model):
            if old.seam.branch == branch:
                _close(model, old)
    opened = OpenedSeams()
    for place, made in zip(places, modules, strict=True):
        owner = _owner(model, place)
        seam = Seam(made, place.branch, place.shortcut, place.of_output)
        seam.open(model, owner)
        made.seam = seam
        name = _free_name(model.get_submodule(owner), place.branch)
        model.get_submodule(owner).add_module(name, made)
        made.train(model.get_submodule(place.branch).training)
        opened.append(_opened(f"{owner}.{name}" if owner else name, made, place))
    if not model.training and any(not isinstance(made, Add) for made in modules):
        warnings.warn(
            "the seams were opened on a model in eval mode, as from_pretrained returns it, where they do nothing; call "
            "model.train() before training",
            stacklevel=3,
        )
    return opened


def close_seam(model: nn.Module) -> list[str]:
    """Undo `open_seam`: remove its hooks and modules, and give kiti's own models their plain addition back.

    Returns:
        The names of the residuals that were removed.

    Raises:
        SeamError: the model has none.

    Example:
        >>> import kiti, torchvision
        >>> from functools import partial
        >>> model = torchvision.models.resnet18()
        >>> opened = kiti.open_seam(model, residual=partial(kiti.KITIResidual, 4, 0.25))
        >>> kiti.close_seam(model)
        ['layer4.0.residual', 'layer4.1.residual']
    """
    opened, own = _open_residuals(model), own_seams(model)
    if not opened and not own:
        raise SeamError(f"{type(model).__name__} has no open seam")
    for _, residual in opened:
        _close(model, residual)
    if own:
        _replace_own(model, Add)
    return [name for name, _ in (*opened, *own)]


def _open_residuals(model: nn.Module) -> list[tuple[str, Residual]]:
    return [(name, m) for name, m in model.named_modules() if isinstance(m, Residual) and m.seam is not None]


def _close(model: nn.Module, residual: Residual) -> None:
    residual.seam.close()
    for module in model.modules():
        for name, child in list(module.named_children()):
            if child is residual:
                delattr(module, name)


def _check_factory(residual: Any) -> None:
    if isinstance(residual, nn.Module):
        raise TypeError(
            f"residual={type(residual).__name__}(...) is one module, and each addition needs its own: pass the class, "
            f"or functools.partial({type(residual).__name__}, ...)"
        )
    if not callable(residual):
        raise TypeError(f"residual={residual!r}: a class such as kiti.KITIResidual, or a functools.partial, is needed")


def _fit(residual: Residual, place: Place) -> None:
    axis, where = place.axis, f"{place.branch}: "
    assert axis is not None
    if place.dims is not None:
        try:
            attach(residual, place.dims, {axis + place.dims if axis < 0 else axis: place.size})
        except SeamError as error:
            raise SeamError(f"{where}{error}") from None
        return
    if isinstance(residual, Colliding):
        if residual.system_axis not in (None, axis):
            raise SeamError(f"{where}the features are on axis {axis}, not on system_axis={residual.system_axis}")
        residual.system_axis = axis
    check_heads(residual, place.size, where)


def _owner(model: nn.Module, place: Place) -> str:
    """The module that gets the residual as a child: the nearest around both ends that does not run its children."""
    branch, shortcut = place.branch.split("."), place.shortcut.split(".")
    shared = []
    for one, other in zip(branch[:-1], shortcut, strict=False):
        if one != other:
            break
        shared.append(one)
    while shared and isinstance(model.get_submodule(".".join(shared)), _CONTAINERS):
        shared.pop()
    return ".".join(shared)


def _free_name(owner: nn.Module, branch: str) -> str:
    leaf = branch.replace(".", "_")
    names = ("residual", f"residual_{branch.rpartition('.')[2]}", f"residual_{leaf}")
    return next(name for name in (*names, f"kiti_residual_{leaf}") if not hasattr(owner, name))


def _opened(name: str, residual: Residual, place: Place) -> Opened:
    n = None
    if isinstance(residual, Colliding) and residual.calibrated and place.size is not None:
        n = place.size // residual.rules.collision_heads
    shortcut = place.shortcut + (":output" if place.of_output else "")
    assert place.axis is not None
    return Opened(name, place.branch, shortcut, place.size, n, place.axis)


def _replace_own(model: nn.Module, factory: ResidualFactory) -> OpenedSeams:
    """New residuals where the model calls its own."""
    opened, made = OpenedSeams(), []
    for name, old in own_seams(model):
        if old.fits is None:
            raise SeamError(f"{name}: it was not created by kiti.seams.fitting.attach, so its axes are not known")
        new = attach(factory(), *old.fits).train(old.training)
        made.append((name, new))
        axis = new.axis if isinstance(new, Colliding) else next(iter(old.fits[1]))
        dims, sizes = old.fits
        size = sizes.get(axis + dims if axis < 0 else axis)
        opened.append(_opened(name, new, Place("", "", False, axis, size)))
    for name, new in made:
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, new)
    return opened
