"""`kind: figure`: sweeps one key of the configuration."""

from typing import Literal

import pydantic

from kiti.report.sheets.rows import Metric, Row, Scale, StrictModel
from kiti.report.sheets.table_sheet import TableSpec


class Curve(StrictModel):
    """One curve: the metric `key`, drawn in `color`; the baseline is dashed in the same color."""

    key: str
    label: str
    color: str
    higher_is_better: bool = False


class Axis(StrictModel):
    """The swept configuration key and its values."""

    key: str
    label: str
    values: list[int | float] = pydantic.Field(min_length=1)
    log_base: int | None = None


class FigureSpec(StrictModel):
    """A figure of a paper: `run` over the values of `x`, each compared with `baseline`."""

    kind: Literal["figure"]
    title: str
    note: str = ""
    group: str
    scales: dict[str, Scale]
    x: Axis
    y_label: str
    log_y: bool = False
    curves: list[Curve] = pydantic.Field(min_length=1)
    run: list[str]
    baseline_label: str
    baseline: list[str]

    def point(self, value: int | float) -> str:
        """The label of the table row for the point at `value`."""
        return f"{value:g}"

    def table(self, scale: str) -> TableSpec:
        """The numbers behind the figure: the row of the baseline, then one row per point, compared with it."""
        points = [
            Row(
                group=self.group,
                label=self.point(value),
                run=[*self.run, f"{self.x.key}={value}"],
                against=[self.baseline_label],
                may_not_compose=True,
            )
            for value in self.x.values
        ]
        return TableSpec(
            kind="table",
            title=self.title,
            note=self.note,
            scales=self.scales,
            metrics=[Metric(key=c.key, label=c.label, higher_is_better=c.higher_is_better) for c in self.curves],
            rows=[Row(group=self.group, label=self.baseline_label, run=self.baseline), *points],
            row_header=self.x.label,
        )
