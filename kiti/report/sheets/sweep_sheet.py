"""`kind: sweep`: one metric against the values of a key, for KITINet and KO, with the vanilla network as baseline."""

from typing import Literal

import pydantic

from kiti.report.sheets.rows import Metric, Row, Scale, StrictModel
from kiti.report.sheets.table_sheet import TableSpec

VANILLA = "vanilla"


class Arm(StrictModel):
    """One curve: `run` over the `values` of the configuration key `key`; `name` begins the labels of its rows.

    `features` is as in `Row`.
    """

    name: str
    run: list[str]
    key: str
    values: list[int | float] = pydantic.Field(min_length=1)
    features: dict[str, int] = pydantic.Field(default_factory=dict)

    def point(self, value: int | float) -> str:
        """The label of the row at `value`."""
        return f"{self.name} {value:g}"


class SweepSpec(StrictModel):
    """A sweep of `experiment`: the points of every arm, each compared with the vanilla network.

    `swept` names the key on the x axis, which is logarithmic with the base `log_base` if that is given.
    """

    kind: Literal["sweep"]
    title: str
    note: str = ""
    experiment: str
    scales: dict[str, Scale]
    swept: str
    log_base: int | None = None
    metric: Metric
    arms: list[Arm] = pydantic.Field(min_length=1)

    def table(self, scale: str) -> TableSpec:
        """The numbers behind the figure: the vanilla row, then one row per point, compared with it."""
        points = [
            Row(
                group=self.experiment,
                label=arm.point(value),
                run=[*arm.run, f"{arm.key}={value}"],
                against=[VANILLA],
                features=arm.features,
            )
            for arm in self.arms
            for value in arm.values
        ]
        return TableSpec(
            kind="table",
            title=self.title,
            note=self.note,
            scales=self.scales,
            metrics=[self.metric],
            rows=[Row(group=self.experiment, label=VANILLA, run=[f"experiment={self.experiment}"]), *points],
        )
