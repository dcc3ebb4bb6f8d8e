"""`kind: table`, with its consistency checks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pydantic

from kiti.report.sheets.rows import Metric, Ratio, Row, Scale, SheetError, StrictModel


class TableSpec(StrictModel):
    """A table of a paper, or the numbers behind a figure.

    `primary` names the rows whose comparison with the first row in `against` decides, by the published metrics, or by
    the first metric if none is published. They are one family: their p are corrected together, and only they get a
    verdict. With `ratios` it shows instead at what part of its baseline's training a row reaches the baseline's final
    value of the one metric.
    """

    kind: Literal["table"]
    title: str
    note: str = ""
    scales: dict[str, Scale]
    metrics: list[Metric] = pydantic.Field(min_length=1)
    rows: list[Row] = pydantic.Field(min_length=1)
    primary: list[str] = pydantic.Field(default_factory=list)
    row_header: str = "row"
    ratios: list[Ratio] = pydantic.Field(default_factory=list)

    @pydantic.model_validator(mode="after")
    def _rows_agree(self) -> "TableSpec":
        names = [(row.group, row.label) for row in self.rows]
        for row in self.rows:
            if names.count((row.group, row.label)) > 1:
                raise ValueError(f"duplicate row {row.group}/{row.label}")
            for key, others in (("against", row.against), ("must_beat", row.must_beat)):
                for other in others:
                    if (row.group, other) not in names or other == row.label:
                        raise ValueError(
                            f"row {row.group}/{row.label}: {key} {other!r}, which is not another row of its group"
                        )
        for metric in self.metrics:
            if unknown := set(metric.of) - {row.group for row in self.rows}:
                raise ValueError(f"metric {metric.label}: of {', '.join(sorted(unknown))}, which no row belongs to")
            if scales := ", ".join(sorted(set(metric.scales) - set(self.scales))):
                raise ValueError(f"metric {metric.label}: scales: {scales}; the scales are {', '.join(self.scales)}")
        if self.ratios and [metric.last > 0 for metric in self.metrics] != [True]:
            raise ValueError("ratios require exactly one metric, with its `last`")
        if any(m.published for m in self.metrics) != any(row.is_printed for row in self.rows):
            raise ValueError("printed numbers require a metric with `published: true`, and vice versa")
        for scale, settings in self.scales.items():
            if without := ", ".join(sorted(set(settings.planned) - {group for group, _ in names})):
                raise ValueError(f"scale {scale}: planned: {without}, which no row belongs to")
        for row in self.rows:
            self._check(row)
        for scale in self.scales:
            run = {tuple(row.run_at(scale)): row for row in self.rows if scale not in row.not_run}
            for row in self.rows:
                if scale in row.not_run and not row.only_keys and (runs := run.get(tuple(row.run_at(scale)))):
                    raise ValueError(
                        f"row {row.group}/{row.label}: not_run at {scale}, but the run of {runs.group}/{runs.label}"
                    )
        for label in self.primary:
            if not (rows := [row for row in self.rows if row.label == label]):
                raise ValueError(
                    f"primary: {label!r} is no row; the rows are {', '.join(sorted({x for _, x in names}))}"
                )
            if not any(row.against for row in rows):
                raise ValueError(f"primary: {label!r} is compared with no row; give its `against`")
        return self

    def _check(self, row: Row) -> None:
        """ValueError unless each printed number belongs to one metric and each run to one scale."""
        name = f"row {row.group}/{row.label}"
        labels = {metric.label for metric in self.metrics if metric.published and row.has(metric)}
        if row.published_relative is not None and not (row.against and len(labels) == 1):
            raise ValueError(
                f"{name}: published_relative requires a row in `against` and exactly one metric with `published: true`"
            )
        if row.published_relative is not None and any(m.effect == "points" for m in self.metrics if m.label in labels):
            raise ValueError(f"{name}: published_relative is a fraction; the metric's effect is points")
        if row.published_spread is not None and not row.published:
            raise ValueError(f"{name}: published_spread requires published")
        if isinstance(row.published, str) and len(labels) != 1:
            raise ValueError(
                f"{name}: published digits require exactly one metric with `published: true`, or to be given by metric"
            )
        if isinstance(row.published, dict) and (unknown := set(row.published) - labels):
            raise ValueError(f"{name}: published: {', '.join(sorted(unknown))} is not a metric with `published: true`")
        if unknown := set(row.keys) - {metric.key for metric in self.metrics if row.has(metric)}:
            raise ValueError(f"{name}: keys: {', '.join(sorted(unknown))} is not a metric of this row")
        if row.claimed and not self.ratios:
            raise ValueError(f"{name}: claimed: only a sheet of kind steps_to_value compares ratios")
        if unknown := set(row.not_run) - set(self.scales):
            raise ValueError(f"{name}: not_run: {', '.join(sorted(unknown))}; the scales are {', '.join(self.scales)}")
        if isinstance(row.run, dict) and set(row.run) != set(self.scales):
            raise ValueError(f"{name}: run is given for {', '.join(row.run)}; the scales are {', '.join(self.scales)}")

    def deciding(self, row: Row, scale: str) -> list[Metric]:
        """The metrics by which the row's comparison with its first baseline is a primary one; empty if it is none."""
        if row.label not in self.primary or not row.against:
            return []
        found = [metric for metric in self.metrics if row.has(metric) and scale in (metric.scales or [scale])]
        return [metric for metric in found if metric.published] or found[:1]

    def pilot(self) -> "TableSpec":
        """The same with the pilot's seeds, where others are planned."""
        return self.model_copy(update={"scales": {name: scale.pilot() for name, scale in self.scales.items()}})

    def placed(self, runs_dir: Path) -> "TableSpec":
        """The same with its local runs below another folder, which is not part of their identity."""
        escaped = str(runs_dir).replace("\\", "\\\\").replace("'", "\\'")
        placed = {name: scale.placed(f"runs_dir='{escaped}'") for name, scale in self.scales.items()}
        return self.model_copy(update={"scales": placed})

    def only(self, groups: Sequence[str]) -> "TableSpec":
        """The rows of these problems only. SheetError for a problem without rows."""
        known = list(dict.fromkeys(row.group for row in self.rows))
        if unknown := [group for group in groups if group not in known]:
            raise SheetError(f"no rows of {', '.join(unknown)} in {self.title!r}; it has {', '.join(known)}")
        return self.model_copy(update={"rows": [row for row in self.rows if row.group in groups]})

    def table(self, scale: str) -> "TableSpec":
        """The table itself; a figure's `table(scale)` is the table of its points."""
        return self
