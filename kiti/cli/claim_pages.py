"""Shows the pages of claims and of coverage, for kiti-table."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kiti.report import formats
from kiti.report.claims import written
from kiti.report.sheets import SheetError


def show(names: Sequence[str], roots: Sequence[Path], style: str, wide: bool) -> None:
    """Print pages from what is committed. SheetError if a name is none."""
    pages = {name: root for root in reversed(roots) for name in written.names(root)}
    if others := [name for name in names if name not in pages]:
        raise SheetError(
            f"no claims {', '.join(others)}; there are: {', '.join(pages) or 'none'}; tables by themselves"
        )
    console = Console()
    for name in names:
        if style == "md" and console.is_terminal:
            full, short = written.grids(name, pages[name])
            formats.show(full if wide else short, console)
        else:
            sys.stdout.write(written.text(name, pages[name], style))
