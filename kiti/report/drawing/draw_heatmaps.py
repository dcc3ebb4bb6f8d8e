"""Draws cosines of neurons as heatmaps: one panel per network and epoch, on a common colour scale."""

import textwrap
from typing import Any

from kiti.report import shown_examples
from kiti.report.drawing.rendering import rendered
from kiti.report.sheets import HeatmapSpec
from kiti.report.tables import Table, shown

_PANEL_INCHES = 1.45
_LETTERS_AN_INCH = 11


def draw(spec: HeatmapSpec, table: Table) -> dict[str, bytes]:
    """The figure as PNG and SVG, from the runs of the table's first seed; each row has a panel for every heatmap."""
    found = shown(table)
    if len(found) < len(spec.rows):
        return {}
    examples = {row: shown_examples.read(one) for row, one in found.items()}
    groups = list(dict.fromkeys(row.group for row in spec.rows))
    labels = list(dict.fromkeys(row.label for row in spec.rows))
    beside = spec.groups == "beside"
    down = labels if beside else groups
    columns = [(across, one) for across in (groups if beside else labels) for one in spec.heatmaps]
    seed = next(iter(found.values())).record.seed
    width = max(_PANEL_INCHES * len(columns) + 1.8, 4.5)
    shown_here = f"(scale {table.scale}, seed {seed})".replace(" ", "\N{NO-BREAK SPACE}")
    title = textwrap.fill(f"{spec.title} {shown_here}", round(width * _LETTERS_AN_INCH))

    def draw_panels(figure: Any) -> None:
        axes = figure.subplots(len(down), len(columns), squeeze=False)
        for line, along in enumerate(down):
            for column, (across, one) in enumerate(columns):
                panel = axes[line][column]
                panel.set(xticks=[], yticks=[])
                row = (across, along) if beside else (along, across)
                if row in examples:
                    cosines = shown_examples.array(examples[row], one.key, found[row])
                    image = panel.imshow(cosines.astype(float), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
                if not line:
                    head = across if len(columns) > len(spec.heatmaps) else ""
                    panel.set_title("\n".join(text for text in (head, one.label) if text))
            axes[line][0].set_ylabel(along)
        figure.colorbar(image, ax=axes, shrink=min(1.0, 1.6 / len(down)), label="cosine of two neurons")
        figure.suptitle(title)

    height = (_PANEL_INCHES + 0.15) * len(down) + 0.6 + 0.2 * title.count("\n")
    return rendered((width, height), draw_panels)
