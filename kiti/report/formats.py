"""Formats a table as Markdown, as LaTeX or for a terminal, and its numbers to the digits their spread allows."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
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
_GAP = 2  # columns between those of a table
_VERDICT_STYLES = {"better": "green", "worse": "red"}
_NUMBERS = re.compile(r"[-+\d.,%±\[\]()<>=×Δ–en ]*")


@dataclass(frozen=True)
class Grid:
    """A table as text: a header, lines with one cell per column, and the notes below it.

    A line feed in a cell is one in the output. If `grouped`, a terminal shows the first column as headings.
    """

    title: str
    header: list[str]
    lines: list[list[str]]
    notes: list[str]
    label: str = ""
    grouped: bool = False


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
    """`0.002173 ± 0.000045`, `(2.173 ± 0.045)e-06`, `0.002173 ± 0`; the mean alone where the spread is unknown."""
    if math.isnan(mean) or math.isnan(std):
        return plain(mean)
    if std == 0:
        return f"{plain(mean)} ± 0"
    (middle, spread), power = with_spread([mean, std], std)
    return f"({middle} ± {spread}){power}" if power else f"{middle} ± {spread}"


def difference_and_interval(difference: float, low: float, high: float) -> str:
    """`-0.00051 [-0.00061, -0.00041]`; the difference alone where the interval is unknown."""
    if math.isnan(difference) or math.isnan(low):
        return plain(difference, 3)
    (middle, bottom, top), power = with_spread([difference, low, high], (high - low) / 2)
    return f"{middle}{power} [{bottom}{power}, {top}{power}]"


def effect(value: float, unit: str) -> str:
    """A difference as a fraction of its baseline or in points: `-23.5 %`, `+0.67`."""
    if unit == "relative" or math.isnan(value):
        return percent(value)
    return f"{value:+.3g}" if value else "0"


def size(value: float, unit: str) -> str:
    """The same without a sign: `23 %`, `0.67`."""
    if math.isnan(value):
        return NOTHING
    return (
        f"{100 * value:.2g} %"
        if unit == "relative" and value < 0.995
        else f"{100 * value:.0f} %"
        if unit == "relative"
        else f"{value:.2g}"
    )


def effect_and_interval(value: float, low: float, high: float, unit: str) -> str:
    """A difference with its interval on a second line: `-8.9 %` over `[-23.5, +5.7]`; alone where that is unknown."""
    if math.isnan(value) or math.isnan(low):
        return effect(value, unit)
    factor, sign = (100, " %") if unit == "relative" else (1, "")
    (middle, bottom, top), power = with_spread([factor * one for one in (value, low, high)], factor * (high - low) / 2)
    middle, bottom, top = (one if one.startswith("-") else f"+{one}" for one in (middle, bottom, top))
    return f"{middle}{power}{sign}\n[{bottom}{power}, {top}{power}]"


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


def markdown(grid: Grid, more: Grid | None = None, widest: int | None = None) -> str:
    """GitHub-flavoured Markdown, padded so that the source is readable as well; `more` lines are folded at the end.

    Cells are padded to at most `widest` characters.
    """
    notes = "\n".join(f"- {note}" for note in grid.notes)
    parts = [f"# {grid.title}", "", *_markdown_table(grid, widest), "", notes]
    if more:
        parts += ["", "<details><summary>All rows, metrics, baselines and p</summary>", "", *_markdown_table(more), ""]
        parts += ["</details>"]
    return "\n".join(parts) + "\n"


def _markdown_table(grid: Grid, widest: int | None = None) -> list[str]:
    rows = [[cell.replace("|", "\\|").replace("\n", "<br>") for cell in line] for line in [grid.header, *grid.lines]]
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(grid.header))]
    widths = [min(width, widest or width) for width in widths]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [padded[0], rule, *padded[1:]]


def latex(grid: Grid) -> str:
    """A LaTeX float in booktabs style, scaled to the line width, with the notes below."""
    body = [" & ".join(_latex(cell.replace("\n", " ")) for cell in line) + r" \\" for line in grid.lines]
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
    """Print the table on a terminal, without breaking a word or a number.

    A table that is too wide even so is printed wider than the terminal. If it has no headings, columns that are
    constant over all lines are moved to a note.
    """
    columns = list(zip(*grid.lines, strict=True))
    constant = [not grid.grouped and len(grid.lines) > 1 and len(set(column)) == 1 for column in columns]
    headings = columns[0] if grid.grouped else [""] * len(grid.lines)
    shown = [place for place, same in enumerate(constant) if not same and not (grid.grouped and place == 0)]
    widths = _widths([[line[place] for place in shown] for line in [grid.header, *grid.lines]], console.width)

    console.print(escape(grid.title), style="bold", highlight=False)
    for number, (heading, lines) in enumerate(groupby(zip(headings, grid.lines, strict=True), key=lambda one: one[0])):
        # With the divider of the box, which is a space, columns are _GAP apart.
        table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, _GAP - 1, 0, 0), show_header=not number)
        for place, width in zip(shown, widths, strict=True):
            table.add_column(escape(grid.header[place]), width=width, overflow="fold")
        for _, line in lines:
            table.add_row(*(_styled(line[place]) for place in shown))
        if heading:
            console.print(f"\n[bold]{escape(heading)}[/]", highlight=False, soft_wrap=True)
        width, console.width = console.width, max(console.width, sum(widths) + _GAP * len(widths))
        console.print(table)
        console.width = width
    console.print()
    constants = [
        f"{name}: {column[0]}"
        for name, column, same in zip(grid.header, columns, constant, strict=True)
        if same and column[0] != NOTHING
    ]
    for note in ["; ".join(constants), *grid.notes]:
        if note:
            console.print(f"• {escape(note)}", style="dim", highlight=False)


def _widths(lines: Sequence[Sequence[str]], available: int) -> list[int]:
    """The width of each column: that of its longest line, or less where cells can be broken between words."""
    columns = list(zip(*lines, strict=True))
    longest = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    least = [max(len(part) for cell in column for part in _unbroken(cell)) for column in columns]
    excess = sum(longest) + _GAP * len(columns) - available
    widths = list(longest)
    while excess > 0 and (slack := [place for place in range(len(columns)) if widths[place] > least[place]]):
        widths[max(slack, key=lambda place: widths[place])] -= 1
        excess -= 1
    return widths


def _unbroken(cell: str) -> list[str]:
    """The parts of a cell that stay on one line: words, and lines of numbers."""
    return [
        part for line in cell.split("\n") for part in ([line] if _NUMBERS.fullmatch(line) else line.split() or [""])
    ]


def _styled(cell: str) -> str:
    style = _VERDICT_STYLES.get(cell, "")
    return f"[{style}]{escape(cell)}[/]" if style else escape(cell)


def _latex(text: str) -> str:
    signed = re.sub(r"(?<![\w.])-(?=[\d.])", "−", text)  # a hyphen before a number is a minus
    return "".join(_LATEX.get(character, character) for character in signed)
