"""Draws quantities over the training: means over seeds with 95 % intervals, one panel per quantity."""

import itertools
import math
from typing import Any

from kiti.report.drawing.rendering import rendered
from kiti.report.sheets.history_sheet import HistorySpec, Panel, Trace
from kiti.report.significance import Summary, half_width
from kiti.report.tables import Table


def draw(spec: HistorySpec, table: Table) -> dict[str, bytes]:
    """The figure as PNG and SVG."""
    lines = {(one.filled.row.group, one.filled.row.label, one.metric.key): one.summary for one in table.lines}

    groups = list(dict.fromkeys(row.group for row in spec.rows)) if spec.by_group else [None]
    columns = len(groups) if spec.by_group else len(spec.panels)
    epochs = spec.epochs_at(table.scale)

    def curve(axes: Any, row: Trace, panel: Panel) -> None:
        summaries = {epoch: lines[row.group, row.label, spec.key(panel, "", epoch)] for epoch in epochs}
        drawn = {epoch: summary for epoch, summary in summaries.items() if summary.n}
        if drawn:
            axes.errorbar(
                list(drawn),
                [summary.mean for summary in drawn.values()],
                yerr=list(zip(*(interval_within(summary, panel.bounds) for summary in drawn.values()), strict=True)),
                marker="o",
                markersize=3.5,
                linewidth=1.2,
                capsize=2.5,
                label=row.label if spec.by_group else f"{row.group}: {row.label}",
            )

    def draw_panels(figure: Any) -> None:
        panels = figure.subplots(len(spec.panels) if spec.by_group else 1, columns, squeeze=False).flatten()
        shown = itertools.product(spec.panels, groups)
        for axes, (panel, group) in zip(panels, shown, strict=True):
            for row in spec.rows:
                if group in (None, row.group):
                    curve(axes, row, panel)
            if panel.level is not None:
                axes.axhline(panel.level, color="black", linestyle="--", linewidth=1.0)
                place = axes.get_yaxis_transform()
                axes.text(0.98, panel.level, panel.level_label, transform=place, ha="right", va="bottom", fontsize=7)
            axes.set(xlabel="epoch", ylabel=panel.label, title=group or "", yscale="log" if panel.log_y else "linear")
            if spec.log_x:
                axes.set_xscale("log")
                axes.set_xticks(epochs, [str(epoch) for epoch in epochs])
            axes.tick_params(axis="x", which="minor", bottom=False)
            axes.grid(alpha=0.3, linewidth=0.5)
        handles, labels = panels[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(handles)))
        figure.suptitle(f"{spec.title} (scale {table.scale})")

    height = 2.6 * len(spec.panels) + 1.0 if spec.by_group else 4.0
    return rendered((max(5.2, 3.6 * columns), height), draw_panels)


def interval_within(summary: Summary, bounds: tuple[float, float] | None) -> tuple[float, float]:
    """The lengths of the interval below and above the mean, within the bounds."""
    half = 0.0 if math.isnan(summary.std) else half_width(summary.std, summary.n)
    least, greatest = bounds or (-math.inf, math.inf)
    return min(half, max(0.0, summary.mean - least)), min(half, max(0.0, greatest - summary.mean))
