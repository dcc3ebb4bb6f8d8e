"""The parts common to all kinds of sheet: scales with their seeds, metrics, rows."""

from typing import Annotated, Any, Literal

import pydantic

Ratio = Literal["steps", "tokens", "time"]


class SheetError(ValueError):
    """A table or figure that does not exist or has an invalid description; one line."""


class StrictModel(pydantic.BaseModel):
    """A part of a sheet: immutable, and without unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Scale(StrictModel):
    """The seeds of a table at one scale, as a list or as a count from 0, and overrides specific to that scale."""

    seeds: list[Annotated[int, pydantic.Field(ge=0)]] = pydantic.Field(min_length=1)
    overrides: list[str] = []

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


class Metric(StrictModel):
    """The metric `key` of the records; `published` marks those that are compared with printed numbers.

    `higher_is_better` is null for a quantity that is neither good nor bad. `of` lists the problems that have this
    metric, and `scales` those at which records have it; empty means all. With `last` the records have it over the
    training, as a curve, and its value is the mean over the `last` ones. Values are shown times `factor`: 100 turns
    shares into percent.
    """

    key: str
    label: str
    higher_is_better: bool | None = False
    published: bool = False
    of: list[str] = []
    scales: list[str] = []
    last: int = pydantic.Field(default=0, ge=0)
    factor: float = pydantic.Field(default=1, gt=0)


class Row(StrictModel):
    """A row: the overrides of its `run`, the `published` digits, and the rows it is compared with (`against`).

    `published` is given by metric label if the row has several published metrics. `run` is given by scale if scales
    differ in more than size, for example in the data set. `keys` maps a metric to the key of the record that this row
    shows instead, for example the error of a trivial forecast; with `only_keys` the row has no other metrics. If the
    paper prints only a change relative to another row, `published_relative` is that change, as a fraction of the first
    row in `against`. `features` is D by module, where features collide: it turns partners in a record into pairs a
    system. `must_beat` are rows of trivial predictors: unless its mean is better than each of theirs, the row has not
    learnt, and comparisons with it get no verdict; a predictor without the metric says nothing about it. `not_run`
    gives by scale why the row does not exist there. `claimed` are the paper's digits of ratios to the first row in
    `against`.
    """

    group: str
    label: str
    run: list[str] | dict[str, list[str]]
    published: str | dict[str, str] | None = None
    published_relative: float | None = None
    against: list[str] = []
    must_beat: list[str] = []
    not_run: dict[str, str] = {}
    keys: dict[str, str] = {}
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

    @pydantic.field_validator("published")
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

    def has(self, metric: Metric) -> bool:
        """Whether the metric applies to the problem of this row."""
        return (not metric.of or self.group in metric.of) and (not self.only_keys or metric.key in self.keys)

    def key(self, metric: Metric) -> str:
        """The key of the metric in the records of this row."""
        return self.keys.get(metric.key, metric.key)

    def printed(self, metric: Metric) -> str | None:
        """The digits that the paper prints for this metric in this row."""
        if not metric.published or not self.has(metric):
            return None
        return self.published.get(metric.label) if isinstance(self.published, dict) else self.published
