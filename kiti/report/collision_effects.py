"""How much collided in a run, from its record: pairs a system, energy, the change of the gradients; and what is odd."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from kiti.storage.records import Record

FEW_PAIRS = 0.1
"""Fewer pairs a system than this are almost no collisions."""

MUCH_ENERGY = 2.0
"""One pair conserves energy, the sum over many partners multiplies it: then training no longer resembles inference."""


@dataclass(frozen=True)
class Dose:
    """Of one module, means over training; nan if not known.

    `pairs` of a system that collide, `energy_ratio`, the kinetic energy after collisions by that before, and the
    number of `particles` of a system.
    """

    pairs: float
    energy_ratio: float
    particles: float


def doses(record: Record, features: Mapping[str, int] | None = None) -> dict[str, Dose]:
    """The dose of each module whose features collide.

    Records have their own `particles`; only for older ones, `features` is D by module.
    """
    found = {}
    for module, of_module in (record.collisions or {}).items():
        n = of_module.get("particles", math.nan)
        if math.isnan(n) and features and module in features:
            n = features[module] // record.config["residual"]["collision_heads"]
        pairs = of_module.get("pairs", of_module["partners"] * n / 2)
        found[module] = Dose(pairs, of_module["energy_ratio"], n)
    return found


def pairs(record: Record, features: Mapping[str, int] | None = None) -> float:
    """Colliding pairs a system, mean over training and over modules; nan if nothing collides or that is not known.

    Under KITINet a system is a row of features; `features` as for `doses`. Under hard KO it is the neurons of a layer;
    under soft KO every pair collides, more or less.
    """
    known = [dose.pairs for dose in doses(record, features).values()]
    if known and not any(map(math.isnan, known)):
        return fmean(known)
    return _of_gradients(record)


def energy_ratio(record: Record) -> float:
    """The kinetic energy after collisions by that before, mean over training and over modules; nan without KITINet."""
    found = doses(record).values()
    return fmean(dose.energy_ratio for dose in found) if found else math.nan


def gradient_change(record: Record) -> float:
    """|Δg| / |g| of a run with KO, mean over training and over parameters; nan without KO."""
    return fmean(record.ko.values()) if record.ko else math.nan


def dose_marks(records: Sequence[Record], features: Mapping[str, int] | None = None) -> list[str]:
    """What is odd about the dose of a row, in a few words each; its records differ in the seed.

    "almost no collisions (0.03 pairs a system)" if the pairs, as a mean over seeds and modules, are fewer than
    `FEW_PAIRS`, for features and for hard collisions of gradients. Modules whose systems have a single particle never
    collide and do not count. Where the pairs are not known nothing is said.

    "energy ×38", that of the module with the most, mean over seeds, if that is above `MUCH_ENERGY`.
    """
    of_modules: dict[str, list[Dose]] = defaultdict(list)
    for record in records:
        for module, dose in doses(record, features).items():
            of_modules[module].append(dose)
    counted = [dose.pairs for found in of_modules.values() for dose in found if dose.particles != 1]
    of_gradients = [_of_gradients(record) for record in records]
    marks = [
        f"almost no collisions ({fmean(each):.2g} pairs a system)"
        for each in (counted, of_gradients)
        if each and fmean(each) < FEW_PAIRS
    ]
    energies = [fmean(dose.energy_ratio for dose in found) for found in of_modules.values()]
    if not all(map(math.isfinite, energies)):
        return [*marks, "energy not finite"]
    if energies and (most := max(energies)) > MUCH_ENERGY:
        marks.append(f"energy ×{most:.0f}" if most >= 100 else f"energy ×{most:.2g}")
    return marks


def _of_gradients(record: Record) -> float:
    return fmean(record.ko_pairs.values()) if record.ko_pairs else math.nan
