"""`kind: steps_to_value`: at what part of its baseline's steps a run reaches the baseline's final value."""

from typing import Literal

import pydantic

from kiti.report.sheets.rows import Metric, Ratio, Row, Scale, StrictModel
from kiti.report.sheets.table_sheet import TableSpec
from kiti.storage.records import validation_line


class Runner(StrictModel):
    """A run, and the row `against` which it is compared; a row without that is a baseline.

    `claimed` gives the paper's digits for some of the ratios: 20 % fewer steps are {steps: "0.80"}. `run`, `not_run`
    and `may_not_compose` are those of `Row`.
    """

    group: str
    label: str
    run: list[str] | dict[str, list[str]]
    against: str | None = None
    claimed: dict[Ratio, str] = pydantic.Field(default_factory=dict)
    not_run: dict[str, str] = pydantic.Field(default_factory=dict)
    may_not_compose: bool = False


class StepsSpec(StrictModel):
    """Curves of a metric over the steps of the optimizer, in records as metrics `<key>@<step>` or as a curve.

    The last value must be at the end of the training. The final value is the mean over the metric's `last` ones, by
    default the last one. `ratios` of tokens take tokens a step from the metric `train/tokens_per_step`, those of time
    the record's seconds.
    """

    kind: Literal["steps_to_value"]
    title: str
    note: str = ""
    scales: dict[str, Scale]
    metric: Metric
    ratios: list[Ratio] = pydantic.Field(default=["steps"], min_length=1)
    primary: list[str] = pydantic.Field(default_factory=list)
    rows: list[Runner] = pydantic.Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _can_be_compared(self) -> "StepsSpec":
        if self.metric.higher_is_better is None:
            raise ValueError(f"metric {self.metric.label}: a value to reach requires higher_is_better: true or false")
        if len(set(self.ratios)) != len(self.ratios):
            raise ValueError(f"ratios: {', '.join(self.ratios)} has one of them twice")
        for row in self.rows:
            name = f"row {row.group}/{row.label}"
            if row.claimed and not row.against:
                raise ValueError(f"{name}: claimed requires a row in `against`")
            if unknown := ", ".join(sorted(set(row.claimed) - set(self.ratios))):
                raise ValueError(f"{name}: claimed: {unknown}; the ratios are {', '.join(self.ratios)}")
            if row.against in {other.label for other in self.rows if other.group == row.group and other.against}:
                raise ValueError(f"{name}: against {row.against!r}, which is not a baseline: it has `against` itself")
        for group in dict.fromkeys(row.group for row in self.rows):
            if not any(row.against for row in self.rows if row.group == group):
                raise ValueError(f"{group}: no row with `against`, so there is no baseline to reach")
        try:
            for scale in self.scales:
                self.table(scale)
        except pydantic.ValidationError as error:
            raise ValueError(validation_line(error)) from None
        return self

    def table(self, scale: str) -> TableSpec:
        """The table of the ratios."""
        rows = [
            Row(**row.model_dump(exclude={"against"}), against=[row.against] if row.against else [])
            for row in self.rows
        ]
        return TableSpec(
            kind="table",
            title=self.title,
            note=self.note,
            scales=self.scales,
            metrics=[self.metric.model_copy(update={"last": max(1, self.metric.last)})],
            rows=rows,
            ratios=self.ratios,
            primary=self.primary,
        )
