"""What a table makes of its description and of records: published | ours | difference | verdict."""

from kiti.report.tables.lines import Filled, Line, Table, build, shown
from kiti.report.tables.writing import grid, outputs, to_csv

__all__ = ["Filled", "Line", "Table", "build", "grid", "outputs", "shown", "to_csv"]
