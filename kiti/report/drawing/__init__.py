"""The pictures of a figure, from the table behind it: a file for each `kind` of sheet that is drawn."""

from kiti.report.drawing import draw_figure, draw_heatmaps, draw_history, draw_picture
from kiti.report.sheets import FigureSpec, HistorySpec, MapsSpec, PictureSpec
from kiti.report.tables import Table


def draw(sheet: FigureSpec | PictureSpec | MapsSpec | HistorySpec, table: Table) -> dict[str, bytes]:
    """The sheet as PNG and SVG, by file ending; `table` is built from `sheet.table(scale)`.

    Empty while a run that a picture or maps show is missing.
    """
    match sheet:
        case FigureSpec():
            return draw_figure.draw(sheet, table)
        case PictureSpec():
            return draw_picture.draw(sheet, table)
        case MapsSpec():
            return draw_heatmaps.draw(sheet, table)
        case HistorySpec():
            return draw_history.draw(sheet, table)
