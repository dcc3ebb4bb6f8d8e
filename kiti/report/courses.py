"""The course of a metric over a training, from its record, and where it first reaches a value."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from kiti.storage.records import Record, RecordError


@dataclass(frozen=True)
class Course:
    """The `values` of a metric at these `places` of a training, in increasing order: steps, tokens or seconds.

    `last` says over how many of the last values `final` is the mean.
    """

    places: Float[np.ndarray, " points"]
    values: Float[np.ndarray, " points"]
    higher_is_better: bool = False
    last: int = 1

    @property
    def final(self) -> float:
        """The value at the end: the mean of the last ones."""
        return float(np.mean(self.values[-self.last :]))

    @property
    def end(self) -> float:
        """The last place."""
        return float(self.places[-1])

    @property
    def is_finite(self) -> bool:
        """Whether the training never diverged."""
        return bool(np.isfinite(self.values).all())

    def first(self, value: float) -> float:
        """The first place at which the best value so far is as good as `value`; inf if that never happens.

        The best value so far is the running minimum, or maximum, and linear between two places. A value that is there
        at the first place is reached at that place.
        """
        sign = -1.0 if self.higher_is_better else 1.0
        best, wanted = np.minimum.accumulate(sign * self.values), sign * value
        reached = np.flatnonzero(best <= wanted)
        if not reached.size:
            return math.inf
        at = int(reached[0])
        if at == 0:
            return float(self.places[0])
        part = (best[at - 1] - wanted) / (best[at - 1] - best[at])
        return float(self.places[at - 1] + part * (self.places[at] - self.places[at - 1]))

    def paced(self, pace: float) -> "Course":
        """The course over `pace` times the places: over tokens, from tokens a step."""
        return replace(self, places=pace * self.places)


def course(record: Record, key: str, higher_is_better: bool, last: int) -> Course:
    """The course of the metric `key` over the steps of the optimizer.

    It is that of the metrics `<key>@<step>` if the record has them, otherwise its curve `key`, which has at most fifty
    points. That of a run whose training diverged ends with nan where it did. RecordError if there are fewer than two
    values, or fewer than `last`, of another run.
    """
    found = sorted(_values(record, key).items())
    if record.divergence:
        at = float(record.divergence.step)
        before = [(step, value) for step, value in found if step <= at]
        places, values = zip(*before, (at, math.nan), strict=True)
        return Course(np.array(places, dtype=float), np.array(values, dtype=float), higher_is_better, last)
    where = f"record {record.config_hash} seed {record.seed}"
    if not found:
        known = {name.rpartition("@")[0] for name in record.metrics} - {""} | set(record.curves or {})
        raise RecordError(f"{where}: no curve of {key!r}; there are: {', '.join(sorted(known)) or 'none'}")
    if len(found) < max(2, last):
        raise RecordError(f"{where}: the curve of {key!r} has {len(found)} values, at least {max(2, last)} are needed")
    steps, values = zip(*found, strict=True)
    return Course(np.array(steps, dtype=float), np.array(values, dtype=float), higher_is_better, last)


def _values(record: Record, key: str) -> dict[int, float]:
    parts = {name: name.rpartition("@") for name in record.metrics}
    found = {int(at): record.metrics[name] for name, (of, _, at) in parts.items() if of == key and at.isdigit()}
    if not found and record.curves and key in record.curves:
        curve = record.curves[key]
        found = dict(zip(curve.steps, curve.values, strict=True))
    return found
