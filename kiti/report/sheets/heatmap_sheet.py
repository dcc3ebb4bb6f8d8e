"""`kind: heatmaps`: shows cosines between the neurons of a layer."""

from typing import Literal

import pydantic

from kiti.report.sheets.rows import Metric, Row, Scale, StrictModel
from kiti.report.sheets.table_sheet import TableSpec


class Heatmap(StrictModel):
    """Cosines that a run stored under `key`, `<layer>@<epoch>`."""

    key: str
    label: str


class HeatmapSpec(StrictModel):
    """A figure of a paper that shows how alike neurons are for one seed, and metrics over all seeds.

    With groups=beside each group is a column and its rows run down; with groups=below each group is a line and its rows
    run across.
    """

    kind: Literal["heatmaps"]
    title: str
    note: str = ""
    scales: dict[str, Scale]
    metrics: list[Metric] = pydantic.Field(min_length=1)
    groups: Literal["beside", "below"] = "beside"
    heatmaps: list[Heatmap] = pydantic.Field(min_length=1)
    primary: list[str] = pydantic.Field(default_factory=list)
    rows: list[Row] = pydantic.Field(min_length=1)

    def table(self, scale: str) -> TableSpec:
        """The metrics over all seeds."""
        return TableSpec(
            kind="table",
            title=self.title,
            note=self.note,
            scales=self.scales,
            metrics=self.metrics,
            rows=self.rows,
            primary=self.primary,
        )
