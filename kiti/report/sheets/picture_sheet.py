"""`kind: picture`: shows one test sample."""

from typing import Literal

import pydantic

from kiti.report.sheets.rows import Metric, Row, Scale, StrictModel
from kiti.report.sheets.table_sheet import TableSpec


class PictureSpec(StrictModel):
    """A figure of a paper that shows the predictions for one test sample, and their errors."""

    kind: Literal["picture"]
    title: str
    note: str = ""
    scales: dict[str, Scale]
    metric: Metric
    shown: str
    primary: list[str] = pydantic.Field(default_factory=list)
    rows: list[Row] = pydantic.Field(min_length=1)

    def table(self, scale: str) -> TableSpec:
        """The metric of these networks on the whole test set, over all seeds."""
        return TableSpec(
            kind="table",
            title=self.title,
            note=self.note,
            scales=self.scales,
            metrics=[self.metric],
            rows=self.rows,
            primary=self.primary,
        )
