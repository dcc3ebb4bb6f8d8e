"""How much collided in a run: pairs a system, and the change of the gradients, from its record."""

import math
from collections.abc import Mapping
from statistics import fmean

from kiti.storage.records import Record


def pairs(record: Record, features: Mapping[str, int]) -> float:
    """Colliding pairs a system, mean over training and over modules; nan if nothing collides or that is not known.

    Under KITINet a system is a row of features, and `features` is D by module. Under hard KO it is the neurons of a
    layer; under soft KO every pair collides, more or less.
    """
    if record.collisions and features.keys() >= record.collisions.keys():
        heads = record.config["residual"]["collision_heads"]
        return fmean(found["partners"] * (features[module] // heads) / 2 for module, found in record.collisions.items())
    return fmean(record.ko_pairs.values()) if record.ko_pairs else math.nan


def gradient_change(record: Record) -> float:
    """|Δg| / |g| of a run with KO, mean over training and over parameters; nan without KO."""
    return fmean(record.ko.values()) if record.ko else math.nan
