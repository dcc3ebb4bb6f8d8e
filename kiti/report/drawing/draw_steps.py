"""Draws curves over the steps of the optimizer, and where they reach the baseline's final value."""

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from jaxtyping import Float

from kiti.report.courses import Course
from kiti.report.drawing.rendering import rendered
from kiti.report.sheets import Metric, StepsSpec
from kiti.report.tables import FilledRow, RatioLine, Table, ratio_lines

# Okabe and Ito's colours, which people who see few colours can tell apart; baselines are black.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_WIDTH, _HEIGHT = 7.6, 3.0
Looks = Mapping[str, tuple[str, str]]  # colour and marker by row
Marks = Sequence[tuple[float, float]]  # step and value by seed
_CLOSE = 0.3  # the last part of the steps, shown closer
_APART = 0.02  # marks of seeds that do not reach the value, as a part of the steps


def draw(spec: StepsSpec, table: Table) -> dict[str, bytes]:
    """The figure as PNG and SVG: for each problem the whole training, and beside it the end of it."""
    rows = {(line.filled.row.group, line.filled.row.label): line.filled for line in table.lines}
    ratios = [line for line in ratio_lines(table) if line.against and "steps" in line.of]
    groups = list(dict.fromkeys(group for group, _ in rows))
    labels = dict.fromkeys(label for (_, label), one in rows.items() if one.row.against)
    looks = dict(zip(labels, itertools.cycle(zip(_COLORS, _MARKERS, strict=True)), strict=False))

    def draw_panels(figure: Any) -> None:
        panels = figure.subplots(len(groups), 2, squeeze=False, width_ratios=[1, 1.3])
        for (whole, end), group in zip(panels, groups, strict=True):
            mine = [one for (of, _), one in rows.items() if of == group and one.records]
            compared = [line for line in ratios if line.filled.row.group == group]
            _draw_group(whole, end, table.spec.metrics[0], mine, compared, looks)
            whole.set(title=group, ylabel=spec.metric.label)
            end.set_title(f"{group}: where the final value is reached")
            for panel in (whole, end):
                panel.set_xlabel("step")
                panel.grid(alpha=0.3, linewidth=0.5)
        handles: dict[str, Any] = {}
        for panel in panels[:, 0]:
            handles |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        if handles:
            caption = "mean and range of seeds; dashed: final value of the baseline; hollow: not reached"
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, title=caption)
        figure.suptitle(f"{spec.title} (scale {table.scale})")

    return rendered((_WIDTH, _HEIGHT * len(groups) + 1.0), draw_panels)


def _draw_group(
    whole: Any, end: Any, metric: Metric, rows: list[FilledRow], ratios: list[RatioLine], looks: Looks
) -> None:
    """The curves of one problem; the right panel begins before the first place where a value is reached."""
    if not rows:
        for panel in (whole, end):
            panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", color="0.5")
            panel.set(xticks=[], yticks=[])
        return
    courses = {one.row.label: one.courses(metric) for one in rows}
    everything = [course for found in courses.values() for course in found.values()]
    stop = max(course.end for course in everything)
    begin = (1 - _CLOSE) * stop
    for one in rows:
        found = list(courses[one.row.label].values())
        color, _ = looks.get(one.row.label, ("black", ""))
        for panel, is_named in ((whole, True), (end, False)):
            _draw_curve(panel, found, color, f"{one.row.label} (n={len(found)})" if is_named else "")
            if not one.row.against:
                level = fmean(course.final for course in found)
                panel.axhline(level, color="black", linestyle="--", linewidth=0.9)
    for place, line in enumerate(ratios, 1):
        ours, baseline = courses.get(line.filled.row.label, {}), courses.get(line.against, {})
        finals = {seed: baseline[seed].final for seed in ours.keys() & baseline.keys()}
        marks = [(ours[seed].first(value), value) for seed, value in sorted(finals.items())]
        begin = min([begin, *(0.9 * step for step, _ in marks)])
        _draw_marks(end, marks, (1 + _APART * place) * stop, *looks[line.filled.row.label], label=_text(line))
    if ratios:
        side = "lower" if metric.higher_is_better else "upper"
        title = "share of the steps (seeds that reach it)"
        end.legend(loc=f"{side} right", fontsize=7, title=title, title_fontsize=7)
    _close_in(end, everything, begin, (1 + _APART * (len(ratios) + 1)) * stop)


def _draw_curve(axes: Any, found: list[Course], color: str, label: str) -> None:
    """The mean over seeds, and a band from the lowest to the highest of them."""
    steps, values = _on_common_steps(found)
    axes.plot(steps, values.mean(axis=0), color=color, linewidth=1.3, label=label)
    axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)


def _on_common_steps(found: list[Course]) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "seeds points"]]:
    """The steps at which every course has a value, and the values there."""
    common = sorted(set.intersection(*(set(course.places.tolist()) for course in found)))
    return np.array(common), np.array([course.values[np.isin(course.places, common)] for course in found])


def _draw_marks(axes: Any, marks: Marks, beyond: float, color: str, marker: str, label: str) -> None:
    """A mark for each seed at its baseline's final value; seeds that never reach it are hollow, `beyond` the end."""
    style = {"marker": marker, "color": color, "markersize": 6, "linestyle": "none", "zorder": 3}
    axes.plot([], [], label=label, **style)
    for step, value in marks:
        reached = math.isfinite(step)
        axes.plot(step if reached else beyond, value, markerfacecolor=color if reached else "white", **style)


def _close_in(axes: Any, found: list[Course], begin: float, stop: float) -> None:
    """Show the steps from `begin` on and the values there, with room for the legend on the side of worse values."""
    shown = np.concatenate([course.values[course.places >= begin] for course in found])
    finite = shown[np.isfinite(shown)]
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        margin = 0.06 * (high - low) or 0.01 * abs(low)
        above, below = (1, 4) if found[0].higher_is_better else (4, 1)
        axes.set(xlim=(begin, stop), ylim=(low - below * margin, high + above * margin))


def _text(line: RatioLine) -> str:
    found = line.passages
    told = f"{found.median.text()} ({found.reached} of {found.n})" if found else line.verdict
    return f"{line.name}: {told}"
