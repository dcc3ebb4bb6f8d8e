"""Builds a table from its description and the records: published | ours | difference | verdict."""

from kiti.report.tables.lines import FilledRow, Line, Table, build, shown
from kiti.report.tables.writing import grid, outputs, to_csv

__all__ = ["FilledRow", "Line", "Table", "build", "grid", "outputs", "shown", "to_csv"]
