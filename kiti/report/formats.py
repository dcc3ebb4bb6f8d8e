"""Formats a table as Markdown, as LaTeX or for a terminal, and its numbers to the digits their spread allows."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

NOTHING = "–"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "Δ": r"$\Delta$",
    "ρ": r"$\rho$",
    "²": r"$^2$",
    "−": r"$-$",
    "–": "--",
    "…": r"\dots{}",
}
_NARROW = 110  # columns of a terminal
_VERDICT_STYLES = {"better": "green", "worse": "red"}


@dataclass(frozen=True)
class Grid:
    """A table as text: a header, lines with one cell per column, and the notes below it.

    A narrow terminal leaves out the columns `wide`. Cells of the columns `unbroken` stay on one line.
    """

    title: str
    header: list[str]
    lines: list[list[str]]
    notes: list[str]
    label: str = ""
    wide: tuple[str, ...] = ()
    unbroken: tuple[str, ...] = ()


def plain(value: float, digits: int = 4) -> str:
    """`value` to `digits` significant digits: 0.002171, 2.171e-06."""
    return NOTHING if math.isnan(value) else f"{value:.{digits}g}"


def with_spread(values: Sequence[float], spread: float, digits: int = 2) -> tuple[list[str], str]:
    """`values` rounded at the `digits`-th significant digit of `spread`, and their common power of ten.

    The power is "" between 1e-4 and 1e5, otherwise for example "e-06", and the values are in units of it. The largest
    value gets at most six significant digits, however small the spread.
    """
    largest = max(abs(value) for value in values)
    if largest == 0:
        return ["0" for _ in values], ""
    magnitude = math.floor(math.log10(largest))
    shift = 0 if -4 <= magnitude < 5 else magnitude
    place = math.floor(math.log10(spread)) - digits + 1 if spread > 0 else magnitude - 3
    decimals = max(0, min(shift - max(place, magnitude - 5), 12))
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    texts = [f"{round(value / 10.0**shift, decimals) + 0.0:.{decimals}f}" for value in values]
    return texts, f"e{shift:+03d}" if shift else ""


def mean_and_std(mean: float, std: float) -> str:
    """`0.002173 ± 0.000045`, `(2.173 ± 0.045)e-06`; the mean alone where the spread is unknown."""
    if math.isnan(mean) or math.isnan(std):
        return plain(mean)
    (middle, spread), power = with_spread([mean, std], std)
    return f"({middle} ± {spread}){power}" if power else f"{middle} ± {spread}"


def difference_and_interval(difference: float, low: float, high: float) -> str:
    """`-0.00051 [-0.00061, -0.00041]`; the difference alone where the interval is unknown."""
    if math.isnan(difference) or math.isnan(low):
        return plain(difference, 3)
    (middle, bottom, top), power = with_spread([difference, low, high], (high - low) / 2)
    return f"{middle}{power} [{bottom}{power}, {top}{power}]"


def percent(fraction: float) -> str:
    """A relative change: `-23.5 %`, `+0.4 %`, `-0.003 %`; `0 %` only for exactly zero."""
    if math.isnan(fraction):
        return NOTHING
    if not fraction:
        return "0 %"
    return f"{100 * fraction:+.1f} %" if abs(fraction) >= 1e-3 else f"{100 * fraction:+.1g} %"


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def p_value(p: float) -> str:
    """`0.012`, `<0.001`, `1`."""
    if math.isnan(p):
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def markdown(grid: Grid) -> str:
    """GitHub-flavoured Markdown, padded so that the source is readable as well."""
    rows = [[cell.replace("|", "\\|") for cell in line] for line in [grid.header, *grid.lines]]
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(grid.header))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    notes = "\n".join(f"- {note}" for note in grid.notes)
    return "\n".join([f"# {grid.title}", "", padded[0], rule, *padded[1:], "", notes]) + "\n"


def latex(grid: Grid) -> str:
    """A LaTeX float in booktabs style, scaled to the line width, with the notes below."""
    body = [" & ".join(_latex(cell) for cell in line) + r" \\" for line in grid.lines]
    notes = [_latex(note) + r"\par" for note in grid.notes]
    return (
        "\n".join(
            [
                r"% needs \usepackage{booktabs} and \usepackage{graphicx}",
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{_latex(grid.title)}}}",
                rf"\label{{tab:{grid.label}}}",
                r"\resizebox{\linewidth}{!}{%",
                rf"\begin{{tabular}}{{{'l' * len(grid.header)}}}",
                r"\toprule",
                " & ".join(_latex(cell) for cell in grid.header) + r" \\",
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}}",
                r"\par\medskip\raggedright\footnotesize",
                *notes,
                r"\end{table}",
            ]
        )
        + "\n"
    )


def show(grid: Grid, console: Console) -> None:
    """Print the table on a terminal; columns that are constant over all lines are moved to a note."""
    if grid.wide and console.width < _NARROW:
        grid = _without(grid, grid.wide)
    columns = list(zip(*grid.lines, strict=True))
    constant = [len(grid.lines) > 1 and len(set(column)) == 1 for column in columns]
    table = RichTable(title=escape(grid.title), title_justify="left", show_lines=False, pad_edge=False)
    for name, same in zip(grid.header, constant, strict=True):
        if not same:
            table.add_column(escape(name), overflow="fold", no_wrap=name in grid.unbroken)
    for line in grid.lines:
        cells = [cell for cell, same in zip(line, constant, strict=True) if not same]
        styles = [next((style for word, style in _VERDICT_STYLES.items() if cell == word), "") for cell in cells]
        table.add_row(
            *(f"[{style}]{escape(c)}[/]" if style else escape(c) for c, style in zip(cells, styles, strict=True))
        )
    console.print(table)
    constants = [
        f"{name}: {column[0]}"
        for name, column, same in zip(grid.header, columns, constant, strict=True)
        if same and column[0] != NOTHING
    ]
    for note in ["; ".join(constants), *grid.notes]:
        if note:
            console.print(f"• {escape(note)}", style="dim", highlight=False)


def _without(grid: Grid, columns: Sequence[str]) -> Grid:
    kept = [place for place, name in enumerate(grid.header) if name not in columns]
    header, *lines = ([line[place] for place in kept] for line in (grid.header, *grid.lines))
    return replace(grid, header=header, lines=lines)


def _latex(text: str) -> str:
    signed = re.sub(r"(?<![\w.])-(?=[\d.])", "−", text)  # a hyphen before a number is a minus
    return "".join(_LATEX.get(character, character) for character in signed)
