"""Draws a sweep: mean and sample standard deviation over seeds at each point, and the baseline as a dashed line."""

import math
from typing import Any

from kiti.report.drawing.rendering import rendered
from kiti.report.sheets import FigureSpec
from kiti.report.significance import Summary
from kiti.report.tables import Line, Table


def draw(spec: FigureSpec, table: Table) -> dict[str, bytes]:
    """The figure as PNG and SVG."""
    lines = {(line.filled.row.label, line.metric.key): line for line in table.lines}

    def draw_curves(figure: Any) -> None:
        axes = figure.add_subplot()
        for number, curve in enumerate(spec.curves):
            # Later curves are thinner, so that those below them are seen where both are equal.
            _draw_curve(axes, spec, curve.key, curve.label, curve.color, lines, len(spec.curves) - number)
        _mark_points_not_run(axes, spec, lines)
        if spec.x.log_base:
            axes.set_xscale("log", base=spec.x.log_base)
        if spec.log_y:
            axes.set_yscale("log")
        axes.set_xticks(spec.x.values, [spec.point(value) for value in spec.x.values])
        axes.minorticks_off() if not spec.log_y else axes.tick_params(axis="x", which="minor", bottom=False)
        axes.set(xlabel=spec.x.label, ylabel=spec.y_label, title=f"{spec.title} (scale {table.scale})")
        axes.grid(alpha=0.3, linewidth=0.5)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncols=2)  # outside, so that it hides no curve

    return rendered((5.2, 4.0), draw_curves)


def _draw_curve(
    axes: Any, spec: FigureSpec, key: str, label: str, color: str, lines: dict[tuple[str, str], Line], layer: int
) -> None:
    summaries = {value: lines[spec.point(value), key].summary for value in spec.x.values}
    drawn = {value: summary for value, summary in summaries.items() if summary.n}
    if drawn:
        axes.errorbar(
            list(drawn),
            [summary.mean for summary in drawn.values()],
            yerr=[_spread(summary) for summary in drawn.values()],
            color=color,
            marker="o",
            markersize=2.5 * layer + 0.5,
            linewidth=2.2 * layer - 1.0,
            elinewidth=1.5 * layer - 0.5,
            capsize=2.5 * layer,
            label=f"{label}, mean ± sample std ({_seeds(list(drawn.values()))})",
        )
    baseline = lines[spec.baseline_label, key].summary
    if baseline.n:
        count = _seeds([baseline])
        axes.axhline(
            baseline.mean,
            color=color,
            linestyle="--",
            linewidth=1.0,
            label=f"{spec.baseline_label} {label} ({count})",
        )
    diverged = [value for value, summary in summaries.items() if summary.diverged]
    if diverged:
        # A diverged run has no value, so it is marked at the top edge.
        axes.plot(
            diverged,
            [0.97] * len(diverged),
            "x",
            color=color,
            transform=axes.get_xaxis_transform(),
            label=f"{label}: seeds diverged",
        )


def _mark_points_not_run(axes: Any, spec: FigureSpec, lines: dict[tuple[str, str], Line]) -> None:
    key = spec.curves[0].key
    for value in spec.x.values:
        if not lines[spec.point(value), key].filled.records:
            axes.axvline(value, color="0.85", linewidth=0.8, zorder=0)
            axes.text(
                value,
                0.02,
                "not run",
                transform=axes.get_xaxis_transform(),
                rotation=90,
                color="0.5",
                fontsize=6,
                ha="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )


def _seeds(summaries: list[Summary]) -> str:
    counts = sorted({summary.n for summary in summaries})
    count = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"{count} seed{'' if counts[-1] == 1 else 's'}"


def _spread(summary: Summary) -> float:
    return 0.0 if math.isnan(summary.std) else summary.std
