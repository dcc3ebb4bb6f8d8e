"""Draws one test sample: the truth, the predictions, and their errors."""

from typing import Any

import numpy as np

from kiti.report import shown_examples
from kiti.report.drawing.rendering import rendered
from kiti.report.sheets import PictureSpec
from kiti.report.tables import Table, shown
from kiti.storage.records import RecordError

_PANEL_INCHES = 2.1


def draw(spec: PictureSpec, table: Table) -> dict[str, bytes]:
    """The figure as PNG and SVG: all fields on one colour scale, all absolute errors on another."""
    found = shown(table)
    labels = [row.label for row in spec.rows]
    if len(found) < len(labels):
        return {}
    examples = [shown_examples.read(one) for one in found.values()]
    truth = examples[0]["target"]
    # Not exactly equal: on another processor the same recipe differs in the last bits.
    if any(one["target"].shape != truth.shape or not np.allclose(one["target"], truth, 1e-3, 1e-3) for one in examples):
        raise RecordError(
            f"{table.name} at scale {table.scale}: its runs show different samples; run them on the same machine"
        )
    fields = [truth, *(one["prediction"] for one in examples)]
    errors = [np.abs(one["prediction"] - truth) for one in examples]
    largest = max(float(np.abs(field).max()) for field in fields)
    worst = max(float(error.max()) for error in errors)
    seed = next(iter(found.values())).record.seed

    def draw_panels(figure: Any) -> None:
        axes = figure.subplots(1, len(fields) + len(errors))
        left, right = axes[: len(fields)], axes[len(fields) :]
        for panel, field, label in zip(left, fields, ["truth", *labels], strict=True):
            image = panel.imshow(field.T, origin="lower", cmap="RdBu_r", vmin=-largest, vmax=largest)
            panel.set_title(label)
        figure.colorbar(image, ax=list(left), shrink=0.8, label=spec.shown)
        for panel, error, label in zip(right, errors, labels, strict=True):
            image = panel.imshow(error.T, origin="lower", cmap="magma", vmin=0, vmax=worst)
            panel.set_title(f"|{label} − truth|")
        figure.colorbar(image, ax=list(right), shrink=0.8, label="absolute error")
        for panel in axes:
            panel.set(xticks=[], yticks=[])
        figure.suptitle(f"{spec.title} (scale {table.scale}, first test sample, seed {seed})")

    return rendered((_PANEL_INCHES * (len(fields) + len(errors)) + 1.5, _PANEL_INCHES + 0.6), draw_panels)
