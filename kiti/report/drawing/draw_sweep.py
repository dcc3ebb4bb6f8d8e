"""Draws a sweep: a column per arm, with the metric beside vanilla's line above, and how much collides below."""

import math
from collections.abc import Callable
from typing import Any

from kiti.report.drawing.rendering import rendered
from kiti.report.sheets import VANILLA, SweepSpec
from kiti.report.tables import Line, Table

_SPAN_FOR_LOG = 10.0
_COLUMN_INCHES = 3.4


def draw(spec: SweepSpec, table: Table) -> dict[str, bytes]:
    """The sweep as PNG and SVG.

    The bars are the 95 % intervals of the paired differences to vanilla, so that a bar which misses vanilla's line is a
    difference. Below are the pairs a system, or under soft KO, which has none, how far it changes the gradient.
    """
    lines = {line.filled.row.label: line for line in table.lines}

    def draw_panels(figure: Any) -> None:
        panels = figure.subplots(2, len(spec.arms), sharex=True, height_ratios=[1.6, 1.0], squeeze=False)
        for (above, below), arm in zip(panels.T, spec.arms, strict=True):
            points = {value: lines[arm.point(value)] for value in arm.values}
            _draw_metric(above, points, lines[VANILLA])
            _draw_effect(below, points)
            above.set_title(arm.name)
            if spec.log_base:
                below.set_xscale("log", base=spec.log_base)
            for panel in (above, below):
                panel.set_xticks(arm.values, [f"{value:g}" for value in arm.values], fontsize=7)
                panel.tick_params(axis="x", which="minor", bottom=False)
                panel.grid(alpha=0.3, linewidth=0.5)
            below.set_xlabel(arm.key)
        panels[0][0].set_ylabel(spec.metric.label)
        handles: dict[str, Any] = {}
        for panel in panels.flatten():
            handles |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
        figure.suptitle(f"{spec.title} (scale {table.scale})")

    return rendered((max(5.2, _COLUMN_INCHES * len(spec.arms)), 5.0), draw_panels)


def _draw_metric(axes: Any, points: dict[int | float, Line], vanilla: Line) -> None:
    drawn = {value: line for value, line in points.items() if line.summary.n}
    means = [line.summary.mean for line in drawn.values()]
    if vanilla.summary.n:
        means.append(vanilla.summary.mean)
        counted = _seeds([vanilla])
        axes.axhline(means[-1], color="black", linestyle="--", linewidth=1.0, label=f"{VANILLA} ({counted})")
    if drawn:
        axes.errorbar(
            list(drawn),
            [line.summary.mean for line in drawn.values()],
            yerr=[_half(line) for line in drawn.values()],
            color="tab:blue",
            marker="o",
            markersize=3.5,
            linewidth=1.2,
            capsize=2.5,
            label=f"mean ({_seeds(list(drawn.values()))}); bars: 95 % interval of the paired difference",
        )
    _mark(axes, [value for value, line in points.items() if line.summary.diverged], "x", "tab:red", "seeds diverged")
    _mark(axes, [value for value, line in points.items() if not line.filled.records], "|", "0.5", "not run")
    if means and min(means) > 0 and max(means) > _SPAN_FOR_LOG * min(means):
        axes.set_yscale("log")


def _mark(axes: Any, places: list[int | float], marker: str, color: str, label: str) -> None:
    """Points without a value, at the top edge."""
    if places:
        edge = axes.get_xaxis_transform()
        axes.plot(places, [0.97] * len(places), marker, color=color, transform=edge, label=label)


def _draw_effect(axes: Any, points: dict[int | float, Line]) -> None:
    """The pairs a system, on an axis that is linear below 0.01; the change of the gradient if no pairs are known."""
    pairs = _known(points, lambda line: line.filled.pairs)
    changes = {} if pairs else _known(points, lambda line: line.filled.gradient_change)
    shown = pairs or changes
    axes.plot(list(shown), list(shown.values()), color="tab:blue", marker="o", markersize=3, linewidth=1.0)
    axes.set_ylabel("|Δg| / |g|" if changes else "pairs a system")
    axes.set_yscale("symlog", linthresh=1e-2)
    axes.set_ylim(bottom=0)
    if pairs:
        axes.axhline(1, color="0.4", linewidth=0.8, linestyle=":", label="one pair")


def _known(points: dict[int | float, Line], value: Callable[[Line], float]) -> dict[int | float, float]:
    numbers = {place: value(line) for place, line in points.items()}
    return {place: number for place, number in numbers.items() if math.isfinite(number)}


def _half(line: Line) -> float:
    """Half the interval of the difference to vanilla; 0 if it is not known."""
    if line.comparison is None or math.isnan(line.comparison.low):
        return 0.0
    return (line.comparison.high - line.comparison.low) / 2


def _seeds(lines: list[Line]) -> str:
    counts = sorted({line.summary.n for line in lines})
    return f"n={counts[0]}" if len(counts) == 1 else f"n={counts[0]} to {counts[-1]}"
