"""What every kind of sheet is made of: seeds at a scale, metrics, rows."""

from typing import Annotated, Any

import pydantic


class SheetError(ValueError):
    """A table or figure that does not exist or is not well described; one line."""


class Closed(pydantic.BaseModel):
    """A part of a sheet: nothing it does not know may be said, and nothing changed."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Scale(Closed):
    """The seeds a table is made of at one scale, listed or as how many from 0 on; overrides that scale needs here."""

    seeds: list[Annotated[int, pydantic.Field(ge=0)]] = pydantic.Field(min_length=1)
    overrides: list[str] = []

    @pydantic.field_validator("seeds", mode="before")
    @classmethod
    def _so_many(cls, seeds: Any) -> Any:
        return list(range(seeds)) if isinstance(seeds, int) else seeds

    @pydantic.field_validator("seeds")
    @classmethod
    def _once_each(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"a seed stands twice in {seeds}")
        return seeds


class Metric(Closed):
    """A metric of the records by its `key`; `published` marks those that printed numbers stand against.

    `higher_is_better` is null for a quantity that is neither good nor bad. Where problems are measured differently,
    `of` names those that have this metric; empty for all.
    """

    key: str
    label: str
    higher_is_better: bool | None = False
    published: bool = False
    of: list[str] = []


class Row(Closed):
    """A row: the overrides of its `run`, the digits the paper prints, the rows it is `against`.

    Where a row has several published metrics the digits are given by the metric's label. Where scales differ in more
    than size, as by another data set, `run` is given by scale. A row that shows something else of a run than its
    network, as what a trivial forecast would do, says by `keys` under which key of the record it finds a metric. Where
    the paper prints no value but a change relative to another row, `published_relative` is that, as a fraction of the
    first row it is `against`.
    """

    group: str
    label: str
    run: list[str] | dict[str, list[str]]
    published: str | dict[str, str] | None = None
    published_relative: float | None = None
    against: list[str] = []
    keys: dict[str, str] = {}
    # Some points of a sweep do not exist at a small scale: they are shown, with the reason, as not run.
    may_not_compose: bool = False

    @pydantic.field_validator("against", mode="before")
    @classmethod
    def _one_or_several(cls, against: Any) -> Any:
        return [against] if isinstance(against, str) else against

    @pydantic.field_validator("published")
    @classmethod
    def _are_numbers(cls, published: str | dict[str, str] | None) -> str | dict[str, str] | None:
        for digits in published.values() if isinstance(published, dict) else [published]:
            if digits is not None:
                float(digits)
        return published

    def run_at(self, scale: str) -> list[str]:
        """The overrides of its run at `scale`, but for the scale itself."""
        return self.run if isinstance(self.run, list) else self.run[scale]

    @property
    def is_printed(self) -> bool:
        """Whether the paper prints anything of it."""
        return bool(self.published) or self.published_relative is not None

    def has(self, metric: Metric) -> bool:
        """Whether its problem is measured by this metric."""
        return not metric.of or self.group in metric.of

    def key(self, metric: Metric) -> str:
        """Where in a record this row finds the metric."""
        return self.keys.get(metric.key, metric.key)

    def printed(self, metric: Metric) -> str | None:
        """The digits the paper prints for this metric of this row."""
        if not metric.published or not self.has(metric):
            return None
        return self.published.get(metric.label) if isinstance(self.published, dict) else self.published
