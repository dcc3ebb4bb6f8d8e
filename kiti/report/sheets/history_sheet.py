"""`kind: history`: quantities over the course of the training."""

from typing import Annotated, Literal

import pydantic

from kiti.report.sheets.rows import Metric, Row, Scale, StrictModel
from kiti.report.sheets.table_sheet import TableSpec

Epochs = Annotated[list[Annotated[int, pydantic.Field(ge=1)]], pydantic.Field(min_length=1)]


class Trace(Row):
    """A curve: a run, and the layer or module `of` which its record stores the quantities."""

    of: str


class Panel(StrictModel):
    """One quantity, stored as `<what>/<of>@<epoch>`; `level` is drawn as a horizontal line labelled `level_label`.

    `of` overrides that of the rows. `bounds` are the least and the greatest value that the quantity can have: intervals
    end there.
    """

    what: str
    of: str | None = None
    label: str
    log_y: bool = False
    level: float | None = None
    level_label: str = ""
    bounds: tuple[float, float] | None = None


class HistorySpec(StrictModel):
    """A figure of quantities over the training: one panel per quantity, one curve per run.

    `epochs` is one list for all scales or one per scale. With `by_group` each group has its own column of panels.
    """

    kind: Literal["history"]
    title: str
    note: str = ""
    scales: dict[str, Scale]
    epochs: Epochs | dict[str, Epochs]
    log_x: bool = True
    by_group: bool = False
    panels: list[Panel] = pydantic.Field(min_length=1)
    rows: list[Trace] = pydantic.Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _every_scale_has_epochs(self) -> "HistorySpec":
        if isinstance(self.epochs, dict) and set(self.epochs) != set(self.scales):
            raise ValueError(f"epochs are given for {', '.join(self.epochs)}; the scales are {', '.join(self.scales)}")
        return self

    def epochs_at(self, scale: str) -> list[int]:
        """The epochs after which the quantities are shown."""
        return self.epochs[scale] if isinstance(self.epochs, dict) else self.epochs

    @staticmethod
    def key(panel: Panel, of: str, epoch: int) -> str:
        """The metric key of the quantity."""
        return f"{panel.what}/{of}@{epoch}"

    def table(self, scale: str) -> TableSpec:
        """The numbers behind the curves."""
        points = [(panel, epoch) for panel in self.panels for epoch in self.epochs_at(scale)]
        rows = [
            Row(
                **row.model_dump(exclude={"of", "keys"}),
                keys={
                    self.key(panel, "", epoch): self.key(panel, panel.of or row.of, epoch) for panel, epoch in points
                },
            )
            for row in self.rows
        ]
        metrics = [
            Metric(key=self.key(panel, "", epoch), label=f"{panel.label}, epoch {epoch}", higher_is_better=None)
            for panel, epoch in points
        ]
        return TableSpec(kind="table", title=self.title, note=self.note, scales=self.scales, metrics=metrics, rows=rows)
