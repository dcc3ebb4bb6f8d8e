"""A figure that shows one test sample."""

from typing import Literal

import pydantic

from kiti.report.sheets.rows import Closed, Metric, Row, Scale
from kiti.report.sheets.table_sheet import TableSpec


class PictureSpec(Closed):
    """A figure of a paper that shows what networks told of one test sample, and where they were wrong."""

    kind: Literal["picture"]
    title: str
    note: str = ""
    scales: dict[str, Scale]
    metric: Metric
    shown: str
    rows: list[Row] = pydantic.Field(min_length=1)

    def table(self, scale: str) -> TableSpec:
        """How the networks that are shown do on the whole test set, over all seeds."""
        return TableSpec(
            kind="table", title=self.title, note=self.note, scales=self.scales, metrics=[self.metric], rows=self.rows
        )
