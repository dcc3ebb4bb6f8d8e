"""Draws every primary comparison of a paper on one page: our interval beside the printed difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kiti.report.drawing.rendering import rendered

_COLORS = {"better": "tab:green", "higher": "tab:purple", "lower": "tab:purple", "worse": "tab:red"}
_COLORS |= {"equivalent": "tab:blue", "undecided": "0.45"}
_LINE_INCHES = 0.2


@dataclass(frozen=True)
class Interval:
    """A primary comparison: the difference with its bounds, the printed one and the margin, all in the same unit.

    Unknown numbers are nan. `label` says which comparison it is, and `verdict` what came out.
    """

    label: str
    difference: float
    low: float
    high: float
    printed: float
    margin: float
    verdict: str


def draw(title: str, relative: Sequence[Interval], points: Sequence[Interval]) -> dict[str, bytes]:
    """The figure as PNG and SVG: differences relative to the baseline above, those in points below."""
    panels = [(lines, label) for lines, label in ((relative, "difference, %"), (points, "difference, points")) if lines]

    def draw_panels(figure: Any) -> None:
        heights = [len(lines) + 2 for lines, _ in panels]
        for axes, (lines, label) in zip(
            figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0], panels, strict=True
        ):
            for place, line in enumerate(lines):
                color = _COLORS.get(line.verdict, "0.75")
                axes.plot([line.low, line.high], [place, place], color=color, linewidth=1.6)
                axes.plot(line.difference, place, "o", color=color, markersize=3.5)
                axes.plot(line.printed, place, "D", color="black", markersize=3.5, markerfacecolor="none")
                axes.plot([-line.margin, line.margin], [place, place], "|", color="0.6", markersize=7)
            # The intervals of what has hardly been measured would hide all others.
            reach = sorted(max(abs(line.low), abs(line.high), abs(line.printed)) for line in lines)
            axes.set_xscale("symlog", linthresh=max(reach[len(reach) // 3], 1e-3))
            axes.axvline(0, color="black", linewidth=0.8)
            axes.set_yticks(range(len(lines)), [f"{line.label}: {line.verdict}" for line in lines], fontsize=6.5)
            axes.set(xlabel=label, ylim=(len(lines) - 0.4, -0.6))
            axes.grid(axis="x", alpha=0.3, linewidth=0.5)
        figure.suptitle(
            f"{title}\nline: 95 % interval; diamond: printed; bars: margin; symmetric logarithmic axes", fontsize=9
        )

    count = sum(len(lines) + 3 for lines, _ in panels)
    return rendered((7.5, 1.2 + _LINE_INCHES * count), draw_panels)
