"""Builds a table from its description and the records: published | ours | difference | verdict."""

from kiti.report.tables.lines import FilledRow, Line, Replicate, Table, build, shown
from kiti.report.tables.steps_table import RatioLine, ratio_lines
from kiti.report.tables.table_csv import to_csv
from kiti.report.tables.writing import full_grid, grid, outputs

__all__ = [
    "FilledRow",
    "Line",
    "RatioLine",
    "Replicate",
    "Table",
    "build",
    "full_grid",
    "grid",
    "outputs",
    "ratio_lines",
    "shown",
    "to_csv",
]
