"""A figure that shows cosines of neurons."""

from typing import Literal

import pydantic

from kiti.report.sheets.rows import Closed, Metric, Row, Scale
from kiti.report.sheets.table_sheet import TableSpec


class Map(Closed):
    """Cosines of a layer's neurons that a run kept, by their `key` `<layer>@<epoch>`."""

    key: str
    label: str


class MapsSpec(Closed):
    """A figure of a paper that shows how alike neurons are, and numbers that say it of all seeds.

    `groups` stand side by side, the rows of each one below the other; or one below the other, their rows side by side.
    """

    kind: Literal["maps"]
    title: str
    note: str = ""
    scales: dict[str, Scale]
    metrics: list[Metric] = pydantic.Field(min_length=1)
    groups: Literal["beside", "below"] = "beside"
    maps: list[Map] = pydantic.Field(min_length=1)
    rows: list[Row] = pydantic.Field(min_length=1)

    def table(self, scale: str) -> TableSpec:
        """What the pictures cannot say, over all seeds."""
        return TableSpec(
            kind="table", title=self.title, note=self.note, scales=self.scales, metrics=self.metrics, rows=self.rows
        )
