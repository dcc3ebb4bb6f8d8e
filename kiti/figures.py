"""Draws a sweep: mean and sample standard deviation over seeds at each point, the baseline's level dashed."""

import io
import math
from collections.abc import Callable
from typing import Any

from kiti.sheets import FigureSpec
from kiti.statistics import Summary
from kiti.tables import Line, Table, outputs

_PNG_DPI = 150
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "kiti",  # otherwise the ids in an SVG are random
    "svg.fonttype": "path",  # looks the same wherever it is opened
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "legend.fontsize": 8.0,
}
# Nothing of the moment or the machine: the same records draw the same bytes.
_ANONYMOUS: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def figure_outputs(spec: FigureSpec, table: Table) -> dict[str, bytes]:
    """The pictures and the table behind them, by file ending; `table` is built from `spec.table()`."""
    return {ending: content for ending, content in outputs(table).items() if ending != "tex"} | draw(spec, table)


def draw(spec: FigureSpec, table: Table) -> dict[str, bytes]:
    """The figure as PNG and SVG."""
    lines = {(line.filled.row.label, line.metric.key): line for line in table.lines}

    def draw_curves(figure: Any) -> None:
        axes = figure.add_subplot()
        for curve in spec.curves:
            _draw_curve(axes, spec, curve.key, curve.label, curve.color, lines)
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
            figure.legend(loc="outside lower center", ncols=2)  # never over the curves

    return rendered((5.2, 4.0), draw_curves)


def rendered(inches: tuple[float, float], draw_on: Callable[[Any], None]) -> dict[str, bytes]:
    """What `draw_on` draws on a figure of this size, as PNG and SVG; the same drawing gives the same bytes."""
    import matplotlib  # half a second, and only drawing needs it
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        draw_on(figure)
        pictures = {}
        for ending, metadata in _ANONYMOUS.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, dpi=_PNG_DPI, metadata=metadata)
            pictures[ending] = buffer.getvalue()
    return pictures


def _draw_curve(
    axes: Any, spec: FigureSpec, key: str, label: str, color: str, lines: dict[tuple[str, str], Line]
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
            markersize=3.5,
            linewidth=1.2,
            capsize=2.5,
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
        # At the top edge, whatever the scale of the y axis: a diverged run has no height.
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
    few = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"{few} seed{'' if counts[-1] == 1 else 's'}"


def _spread(summary: Summary) -> float:
    return 0.0 if math.isnan(summary.std) else summary.std
