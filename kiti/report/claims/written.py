"""The committed pages of claims and of coverage: their names, and how they are shown and written."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from kiti.report import formats
from kiti.report.claims import coverage_page, page
from kiti.report.claims.claim_sheet import papers
from kiti.report.formats import Grid
from kiti.report.sheets.sheet_files import CLAIMS
from kiti.storage import records

COVERAGE = "coverage"


def names(root: Path) -> list[str]:
    """The pages below `root`: <paper>/claims of each paper with claims, and coverage if there is one."""
    found = papers(root)
    return [*(f"{paper}/{CLAIMS}" for paper in found), *([COVERAGE] if found else [])]


def path_of(name: str, root: Path) -> Path:
    """The committed file of a page."""
    return root / f"{COVERAGE}.md" if name == COVERAGE else root / Path(name).parent / "outputs" / f"{CLAIMS}.md"


def content(name: str, root: Path) -> bytes:
    """A page as it is committed."""
    return coverage_page.markdown(root) if name == COVERAGE else page.markdown(str(Path(name).parent), root)


def grids(name: str, root: Path) -> tuple[Grid, Grid]:
    """A page with all columns, and for a terminal."""
    if name == COVERAGE:
        grid = coverage_page.coverage(root)
        return grid, grid
    return page.pages(str(Path(name).parent), root)


def text(name: str, root: Path, style: str) -> str:
    """A page as md, csv or tex."""
    if style == "md":
        return content(name, root).decode()
    full, _ = grids(name, root)
    if style == "tex":
        return formats.latex(full)
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([full.header, *full.lines])
    return lines.getvalue()


def write(wanted: Sequence[str], root: Path, into: Path) -> list[Path]:
    """Write pages from what is committed below `root`, below `into`."""
    written = []
    for name in wanted:
        path = path_of(name, into)
        records.write_whole(path, content(name, root))
        written.append(path)
    return written
