"""What experiments/<paper>/<name>.yaml may say: a table's rows or a figure's points, which run fills each.

A figure's numbers are a table too, one row a point, so everything but the drawing
(`kiti.report.drawing`) is shared. A file for each `kind`.
"""

from kiti.configuration.locations import EXPERIMENTS
from kiti.report.sheets.figure_sheet import Axis, Curve, FigureSpec
from kiti.report.sheets.heatmap_sheet import Map, MapsSpec
from kiti.report.sheets.history_sheet import HistorySpec, Panel, Trace
from kiti.report.sheets.picture_sheet import PictureSpec
from kiti.report.sheets.rows import Metric, Row, Scale, SheetError
from kiti.report.sheets.sheet_files import (
    Sheet,
    committed,
    everyday_scale,
    load,
    names,
    outputs_stem,
    scale_of,
)
from kiti.report.sheets.table_sheet import TableSpec

__all__ = [
    "EXPERIMENTS",
    "Axis",
    "Curve",
    "FigureSpec",
    "HistorySpec",
    "Map",
    "MapsSpec",
    "Metric",
    "Panel",
    "PictureSpec",
    "Row",
    "Scale",
    "Sheet",
    "SheetError",
    "TableSpec",
    "Trace",
    "committed",
    "everyday_scale",
    "load",
    "names",
    "outputs_stem",
    "scale_of",
]
