"""The sheets `sweep/coll_coef/EXPERIMENT` and `sweep/collision_heads/EXPERIMENT`, which need no YAML.

An arm is KITINet (`kiti`) or one mode of KO (`soft`, `hard`). The baseline of all is the same network with residual=add
and collision=none.
"""

from collections.abc import Sequence
from functools import partial
from math import gcd
from pathlib import Path

from hydra.utils import instantiate

from kiti.configuration import scales
from kiti.configuration.compose import Composed, build_model, compose
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF
from kiti.report.sheets import Arm, Metric, Scale, SheetError, SweepSpec
from kiti.units import plugins

FOLDER = "sweep"
SWEPT = ("coll_coef", "collision_heads")
ARMS = ("kiti", "soft", "hard")
COEFFICIENTS = [tenths / 10 for tenths in range(1, 10)]
SEEDS = 3


def names() -> list[str]:
    """The sweeps, as an error lists them."""
    return [f"{FOLDER}/{swept}/EXPERIMENT" for swept in SWEPT]


def is_sweep(name: str) -> bool:
    """Whether a sheet of this name is a sweep, rather than a YAML file."""
    return name.split("/")[0] == FOLDER


def experiments() -> list[str]:
    """Every experiment, those of enabled plug-ins included."""
    return scales.experiments(_folders())


def sheet(
    name: str,
    scale: str | None = None,
    seeds: int | None = None,
    only: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> tuple[SweepSpec, str]:
    """The sweep `name`, and its scale: the given one, else laptop, or paper if the experiment has no laptop.

    `seeds` is a number of seeds, counted from 0; `only` names arms; `overrides` are those of every run. The model is
    built on the meta device, which tells its D.

    Raises:
        SheetError: there is no such sweep, experiment, scale or arm, or the experiment has nothing to sweep.
        ConfigError: the experiment does not compose, or its model has no place for a collision.
    """
    _, swept, experiment = [*name.split("/", 2), "", ""][:3]
    if swept not in SWEPT:
        raise SheetError(f"no sweep {name!r}; there are: {', '.join(names())}")
    if experiment not in experiments():
        raise SheetError(f"no experiment {experiment!r}; there are: {', '.join(experiments())}")
    available = scales.scales_of(experiment, _folders())
    scale = scale or ("laptop" if "laptop" in available else "paper")
    if scale not in available:
        raise SheetError(f"experiment={experiment} has no scale {scale!r}; it has: {', '.join(available)}")
    if unknown := [arm for arm in only if arm not in ARMS]:
        raise SheetError(f"{name} has no {', '.join(unknown)}; there are: {', '.join(ARMS)}")
    plain = compose([f"experiment={experiment}", *overrides, f"scale={scale}"])
    metric = plain.checked.task.metric
    if metric is None:
        raise SheetError(f"{type(plain.checked.task).__name__} declares no `metric`, by which runs are compared")
    arms = [arm for arm in _arms(swept, plain, overrides) if not only or arm.name in only]
    if not arms:
        raise SheetError(f"{name}: {_nothing(swept, experiment, only)}")
    spec = SweepSpec(
        kind="sweep",
        title=" ".join([f"{experiment} over {swept}", *overrides]),
        note=_note(swept, arms, plain),
        experiment=experiment,
        scales={scale: Scale(seeds=list(range(seeds or SEEDS)), overrides=list(overrides))},
        swept=swept,
        log_base=2 if swept == "collision_heads" else None,
        metric=Metric(**metric._asdict()),
        arms=arms,
    )
    return spec, scale


def _arms(swept: str, plain: Composed, overrides: Sequence[str]) -> list[Arm]:
    found: list[Arm] = []
    if kiti := _kiti(swept, plain, overrides):
        found.append(kiti)
    if swept == "coll_coef" and plain.checked.neurons:
        found += [
            Arm(
                name=mode,
                run=[f"experiment={plain.experiment}", f"collision={mode}"],
                key="collision.coll_coef",
                values=list(COEFFICIENTS),
            )
            for mode in ("soft", "hard")
        ]
    return found


def _kiti(swept: str, plain: Composed, overrides: Sequence[str]) -> Arm | None:
    """None for a model without seams."""
    run = [f"experiment={plain.experiment}", "residual=kiti"]
    kiti = compose([*run, *overrides, f"scale={plain.scale}"])
    sizes = _features(plain, kiti)
    if not sizes:
        return None
    whole = gcd(*sizes.values())
    values: list[int | float] = [*COEFFICIENTS]
    if swept == "collision_heads":
        values = [2**power for power in range(whole.bit_length()) if whole % 2**power == 0]
    elif whole % (heads := kiti.node.residual.collision_heads):
        raise SheetError(f"experiment={plain.experiment}: its collision_heads={heads} does not divide D={whole}")
    return Arm(name="kiti", run=run, key=f"residual.{swept}", values=values, features=sizes)


def _features(plain: Composed, kiti: Composed) -> dict[str, int]:
    """D by module, at every seam of the model; empty for a model without seams. Imports torch.

    ConfigError if collisions have no place there, or if only the model's input tells D.
    """
    import torch

    from kiti.residual import Colliding

    with torch.device("meta"):
        model = build_model(plain, partial(instantiate(kiti.node.residual), collision_heads=1))
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, Colliding):
            dims, sizes = module.fits or (0, {})
            size = sizes.get(module.axis + dims if module.axis < 0 else module.axis)
            if size is None:
                raise ConfigError(f"experiment={plain.experiment}: only the input of {name} tells its D")
            found[name] = size
    return found


def _nothing(swept: str, experiment: str, only: Sequence[str]) -> str:
    if swept == "collision_heads" and only and "kiti" not in only:
        return "KO has no collision_heads; sweep its coll_coef"
    if swept == "collision_heads" or "kiti" in only:
        return f"the model of {experiment} has no seam, so its features never collide"
    return f"{experiment} names no neurons, so no gradient collides"


def _note(swept: str, arms: Sequence[Arm], plain: Composed) -> str:
    """What was swept, what stayed as it is, and what the columns of collisions are."""
    defaults = plain.checked.collision_defaults
    kept = {
        "coll_coef": f"collision_heads={defaults.collision_heads}",
        "collision_heads": f"coll_coef={defaults.coll_coef:g}",
    }[swept]
    sentences = ["vanilla: the same network with residual=add and collision=none."]
    for arm in arms:
        if arm.name == "kiti":
            sizes = " and ".join(map(str, sorted(set(arm.features.values()))))
            sentences.append(f"kiti: residual=kiti, {kept}; a system has D / collision_heads particles, D = {sizes}.")
        else:
            neurons = ", ".join(plain.checked.neurons)
            sentences.append(f"{arm.name}: collision={arm.name} of the gradients of {neurons}.")
    sentences.append(
        "pairs: how many pairs of a system collide, mean over training, modules and seeds; a system is a row of "
        "features under kiti, the neurons of a layer under hard, and under soft every pair collides, more or less. "
        "change: |Δg| / |g|, how far KO changes a gradient."
    )
    return " ".join(sentences)


def _folders() -> list[Path]:
    return [CONF, *plugins.folders("conf")]
