"""Draws the figures from the tables behind them: one module for each `kind` of sheet."""

from kiti.report.drawing import draw_figure, draw_heatmaps, draw_history, draw_picture, draw_steps, draw_sweep
from kiti.report.sheets import FigureSpec, HeatmapSpec, HistorySpec, PictureSpec, StepsSpec, SweepSpec
from kiti.report.tables import Table


def draw(
    sheet: FigureSpec | SweepSpec | PictureSpec | HeatmapSpec | HistorySpec | StepsSpec, table: Table
) -> dict[str, bytes]:
    """The sheet as PNG and SVG, by file extension; `table` is built from `sheet.table(scale)`.

    Empty while a run that a picture or heatmaps show is missing.
    """
    match sheet:
        case FigureSpec():
            return draw_figure.draw(sheet, table)
        case SweepSpec():
            return draw_sweep.draw(sheet, table)
        case PictureSpec():
            return draw_picture.draw(sheet, table)
        case HeatmapSpec():
            return draw_heatmaps.draw(sheet, table)
        case HistorySpec():
            return draw_history.draw(sheet, table)
        case StepsSpec():
            return draw_steps.draw(sheet, table)
