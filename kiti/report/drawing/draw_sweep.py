"""Draws a sweep: the metric with paired intervals beside vanilla's line, and below it how much collides."""

import math
from collections.abc import Callable
from typing import Any

from kiti.report.drawing.rendering import rendered
from kiti.report.sheets import VANILLA, Arm, SweepSpec
from kiti.report.tables import Line, Table

_COLORS = {"kiti": "tab:blue", "soft": "tab:orange", "hard": "tab:green"}
_SPAN_FOR_LOG = 10.0


def draw(spec: SweepSpec, table: Table) -> dict[str, bytes]:
    """The sweep as PNG and SVG.

    The bars are the 95 % intervals of the paired differences to vanilla, so that a bar which misses vanilla's line is a
    difference. Below the metric are the pairs a system and KO's change of the gradient, where any is known.
    """
    lines = {line.filled.row.label: line for line in table.lines}
    effects: dict[str, Callable[[Line], float]] = {
        "pairs a system": lambda line: line.filled.pairs,
        "|Δg| / |g|": lambda line: line.filled.gradient_change,
    }
    known = {
        label: value
        for label, value in effects.items()
        if any(math.isfinite(value(lines[arm.point(x)])) for arm in spec.arms for x in arm.values)
    }
    ratios = [2.0, *(1.0 for _ in known)]

    def draw_panels(figure: Any) -> None:
        panels = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
        _draw_metric(panels[0], spec, lines)
        for panel, (label, value) in zip(panels[1:], known.items(), strict=True):
            for arm in spec.arms:
                _draw_effect(panel, arm, value, lines)
            panel.set_ylabel(label)
            panel.set_yscale("symlog", linthresh=1e-2)
            panel.set_ylim(bottom=0)
        panels[1].axhline(1, color="0.6", linewidth=0.8, linestyle=":") if "pairs a system" in known else None
        values = sorted({x for arm in spec.arms for x in arm.values})
        if spec.log_base:
            panels[-1].set_xscale("log", base=spec.log_base)
        for panel in panels:
            panel.set_xticks(values, [f"{x:g}" for x in values])
            panel.tick_params(axis="x", which="minor", bottom=False)
            panel.grid(alpha=0.3, linewidth=0.5)
        panels[-1].set_xlabel(spec.swept)
        panels[0].set_title(f"{spec.title} (scale {table.scale})")
        figure.legend(loc="outside lower center", ncols=2)

    return rendered((5.6, 1.9 * sum(ratios) + 0.9), draw_panels)


def _draw_metric(axes: Any, spec: SweepSpec, lines: dict[str, Line]) -> None:
    vanilla = lines[VANILLA].summary
    means = [vanilla.mean] if vanilla.n else []
    axes.axhline(vanilla.mean, color="black", linestyle="--", linewidth=1.0, label=f"{VANILLA} (n={vanilla.n})")
    for arm in spec.arms:
        points = {x: lines[arm.point(x)] for x in arm.values}
        drawn = {x: line for x, line in points.items() if line.summary.n}
        means += [line.summary.mean for line in drawn.values()]
        color = _COLORS[arm.name]
        seeds = sorted({line.summary.n for line in drawn.values()}) or [0]
        counted = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
        axes.errorbar(
            list(drawn),
            [line.summary.mean for line in drawn.values()],
            yerr=[_half(line) for line in drawn.values()],
            color=color,
            marker="o",
            markersize=3.5,
            linewidth=1.2,
            capsize=2.5,
            label=f"{arm.name} (n={counted}), 95 % of Δ",
        )
        _mark(
            axes, [x for x, line in points.items() if line.summary.diverged], "x", color, f"{arm.name}: seeds diverged"
        )
        _mark(axes, [x for x, line in points.items() if not line.filled.records], "|", color, f"{arm.name}: not run")
    axes.set_ylabel(spec.metric.label)
    if means and min(means) > 0 and max(means) > _SPAN_FOR_LOG * min(means):
        axes.set_yscale("log")


def _mark(axes: Any, places: list[int | float], marker: str, color: str, label: str) -> None:
    """Points without a value, at the top edge."""
    if places:
        edge = axes.get_xaxis_transform()
        axes.plot(places, [0.97] * len(places), marker, color=color, transform=edge, label=label)


def _draw_effect(axes: Any, arm: Arm, value: Callable[[Line], float], lines: dict[str, Line]) -> None:
    known = {x: value(lines[arm.point(x)]) for x in arm.values}
    known = {x: number for x, number in known.items() if math.isfinite(number)}
    axes.plot(list(known), list(known.values()), color=_COLORS[arm.name], marker="o", markersize=3, linewidth=1.0)


def _half(line: Line) -> float:
    """Half the interval of the difference to vanilla; 0 if it is not known."""
    if line.comparison is None or math.isnan(line.comparison.low):
        return 0.0
    return (line.comparison.high - line.comparison.low) / 2
