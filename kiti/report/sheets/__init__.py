"""The schema of experiments/<paper>/<name>.yaml: a table's rows or a figure's points, and the run behind each.

The numbers behind a figure are a table as well, one row per point. So tables and figures share everything but the
drawing (`kiti.report.drawing`). There is one module for each `kind`.
"""

from kiti.configuration.locations import EXPERIMENTS
from kiti.report.sheets.figure_sheet import Axis, Curve, FigureSpec
from kiti.report.sheets.heatmap_sheet import Heatmap, HeatmapSpec
from kiti.report.sheets.history_sheet import HistorySpec, Panel, Trace
from kiti.report.sheets.picture_sheet import PictureSpec
from kiti.report.sheets.rows import Metric, Ratio, Row, Scale, SheetError
from kiti.report.sheets.sheet_files import (
    Sheet,
    claims_papers,
    committed,
    default_scale,
    load,
    names,
    outputs_stem,
    scale_of,
)
from kiti.report.sheets.steps_sheet import Runner, StepsSpec
from kiti.report.sheets.sweep_sheet import VANILLA, Arm, SweepSpec
from kiti.report.sheets.table_sheet import TableSpec

__all__ = [
    "EXPERIMENTS",
    "VANILLA",
    "Arm",
    "Axis",
    "Curve",
    "FigureSpec",
    "Heatmap",
    "HeatmapSpec",
    "HistorySpec",
    "Metric",
    "Panel",
    "PictureSpec",
    "Ratio",
    "Row",
    "Runner",
    "Scale",
    "Sheet",
    "SheetError",
    "StepsSpec",
    "SweepSpec",
    "TableSpec",
    "Trace",
    "claims_papers",
    "committed",
    "default_scale",
    "load",
    "names",
    "outputs_stem",
    "scale_of",
]
