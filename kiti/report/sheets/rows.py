"""The parts common to all kinds of sheet: scales with their seeds, metrics, rows."""

from typing import Annotated, Any, Literal

import pydantic

Ratio = Literal["steps", "tokens", "time"]
Effect = Literal["relative", "points"]


class SheetError(ValueError):
    """A table or figure that does not exist or has an invalid description; one line."""


class StrictModel(pydantic.BaseModel):
    """A part of a sheet: immutable, and without unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Scale(StrictModel):
    """The seeds of a table at one scale, as a list or as a count from 0, and overrides specific to that scale.

    `planned` gives by problem how many seeds its result rests on, where that number was fixed beforehand: the `seeds`
    are then a pilot's, from which it was calculated, and the result rests on the seeds that follow them.
    """

    seeds: list[Annotated[int, pydantic.Field(ge=0)]] = pydantic.Field(min_length=1)
    overrides: list[str] = []
    planned: dict[str, Annotated[int, pydantic.Field(ge=2)]] = {}

    @pydantic.field_validator("seeds", mode="before")
    @classmethod
    def _count_as_list(cls, seeds: Any) -> Any:
        return list(range(seeds)) if isinstance(seeds, int) else seeds

    @pydantic.field_validator("seeds")
    @classmethod
    def _no_duplicates(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"duplicate seed in {seeds}")
        return seeds

    def seeds_of(self, group: str) -> list[int]:
        """The seeds on which the result of this problem rests."""
        if group not in self.planned:
            return self.seeds
        first = max(self.seeds) + 1
        return list(range(first, first + self.planned[group]))

    def pilot(self) -> "Scale":
        """The same with the pilot's seeds for all problems."""
        return self.model_copy(update={"planned": {}})

    def placed(self, override: str) -> "Scale":
        """The same with one more override."""
        return self.model_copy(update={"overrides": [*self.overrides, override]})


class Metric(StrictModel):
    """The metric `key` of the records; `published` marks those that are compared with printed numbers.

    `higher_is_better` is null for a quantity that is neither good nor bad. `of` lists the problems that have this
    metric, and `scales` those at which records have it; empty means all. With `last` the records have it over the
    training, as a curve, and its value is the mean over the `last` ones. Values are shown times `factor`: 100 turns
    shares into percent.

    `effect` says how differences are judged: relative to the baseline, as of errors, or in the metric's own points, as
    of accuracies. In that unit, `margin` is the difference that does not matter, for comparisons of which the paper
    prints no difference; of others it is half the printed one. A row has learnt if it is better than its trivial
    predictor by more than `must_beat_by`.
    """

    key: str
    label: str
    higher_is_better: bool | None = False
    published: bool = False
    of: list[str] = []
    scales: list[str] = []
    last: int = pydantic.Field(default=0, ge=0)
    factor: float = pydantic.Field(default=1, gt=0)
    effect: Effect = "relative"
    margin: float | None = pydantic.Field(default=None, gt=0)
    must_beat_by: float = pydantic.Field(default=0, ge=0)


class Row(StrictModel):
    """A row: the overrides of its `run`, the `published` digits, and the rows it is compared with (`against`).

    `published` is given by metric label if the row has several published metrics. `run` is given by scale if scales
    differ in more than size, for example in the data set. `keys` maps a metric to the key of the record that this
    row shows instead, for example the error of a trivial forecast, or to several, of which it shows the best; with
    `only_keys` the row has no other metrics. If the paper prints only a change relative to another row,
    `published_relative` is that change, as a fraction of the first row in `against`. `features` is D by module, where
    features collide: it turns partners in a record into pairs a system. `must_beat` are rows of trivial predictors:
    unless its mean is better than each of theirs, the row has not learnt, and comparisons with it get no verdict; a
    predictor without the metric says nothing about it. `not_run` gives by scale why the row does not exist there.
    `claimed` are the paper's digits of ratios to the first row in `against`. `margin` is the difference from that row
    that does not matter, in the unit of the metric's `effect`, if it is not half the printed one. `published_spread`
    are the digits that the paper prints after ±.
    """

    group: str
    label: str
    run: list[str] | dict[str, list[str]]
    published: str | dict[str, str] | None = None
    published_relative: float | None = None
    published_spread: str | dict[str, str] | None = None
    margin: float | None = pydantic.Field(default=None, gt=0)
    against: list[str] = []
    must_beat: list[str] = []
    not_run: dict[str, str] = {}
    keys: dict[str, str | list[str]] = {}
    only_keys: bool = False
    features: dict[str, int] = {}
    claimed: dict[Ratio, str] = {}
    # Some points of a sweep do not exist at a small scale; they are shown as not run, with the reason.
    may_not_compose: bool = False

    @pydantic.field_validator("against", "must_beat", mode="before")
    @classmethod
    def _as_list(cls, rows: Any) -> Any:
        return [rows] if isinstance(rows, str) else rows

    @pydantic.field_validator("claimed")
    @classmethod
    def _ratios_are_numbers(cls, claimed: dict[Ratio, str]) -> dict[Ratio, str]:
        for digits in claimed.values():
            float(digits)
        return claimed

    @pydantic.field_validator("published", "published_spread")
    @classmethod
    def _are_numbers(cls, published: str | dict[str, str] | None) -> str | dict[str, str] | None:
        for digits in published.values() if isinstance(published, dict) else [published]:
            if digits is not None:
                float(digits)
        return published

    def run_at(self, scale: str) -> list[str]:
        """The overrides of its run at `scale`, without the scale itself."""
        return self.run if isinstance(self.run, list) else self.run[scale]

    @property
    def is_printed(self) -> bool:
        """Whether the paper prints a number for this row."""
        return bool(self.published) or self.published_relative is not None

    @property
    def is_trivial(self) -> bool:
        """Whether all its numbers are those of predictors without a network, which need no training."""
        keys = [key for found in self.keys.values() for key in ([found] if isinstance(found, str) else found)]
        return bool(keys) and all(key.startswith("trivial/") for key in keys)

    def has(self, metric: Metric) -> bool:
        """Whether the metric applies to the problem of this row."""
        return (not metric.of or self.group in metric.of) and (not self.only_keys or metric.key in self.keys)

    def keys_of(self, metric: Metric) -> list[str]:
        """The keys of the metric in the records of this row: one, or several of which the best counts."""
        keys = self.keys.get(metric.key, metric.key)
        return keys if isinstance(keys, list) else [keys]

    def printed(self, metric: Metric) -> str | None:
        """The digits that the paper prints for this metric in this row."""
        if not metric.published or not self.has(metric):
            return None
        return _of(self.published, metric)

    def printed_spread(self, metric: Metric) -> str | None:
        """The digits that the paper prints after ± for this metric."""
        return _of(self.published_spread, metric) if self.printed(metric) else None


def _of(digits: str | dict[str, str] | None, metric: Metric) -> str | None:
    return digits.get(metric.label) if isinstance(digits, dict) else digits
