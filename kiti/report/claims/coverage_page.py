"""The page that says of every printed number and every claim where it is answered, at which scale, or why it is not."""

from collections import Counter
from pathlib import Path

from kiti.report import formats
from kiti.report.claims.answers import Word
from kiti.report.claims.claim_sheet import load, papers
from kiti.report.claims.evidence import Evidence
from kiti.report.claims.page import WIDEST, Answered, answered
from kiti.report.claims.printed_cells import PrintedCell, printed_cells
from kiti.report.formats import NOTHING, Grid

AT = ("paper", "laptop", "measured", "counted")


def coverage(root: Path) -> Grid:
    """How many of the printed numbers and of the claims are answered, by table: the page's first part."""
    return _summary(printed_cells(root, papers(root)), _claims(root))


def markdown(root: Path) -> bytes:
    """The whole page, for experiments/coverage.md."""
    cells, claims = printed_cells(root, papers(root)), _claims(root)
    header = ["paper", "table", "row", "column", "printed", "ours", "basis", "answered in"]
    numbers = Grid("Every printed number", header, [cell.line(".") for cell in cells], [])
    header = ["paper", "where", "claim", "here", "basis", "answered in"]
    lines = [_claim_line(paper, one) for paper, found in claims.items() for one in found]
    below = [formats.markdown(one, widest=WIDEST) for one in (Grid("Every claim", header, lines, []), numbers)]
    parts = [formats.markdown(_summary(cells, claims)), *(one.replace("# ", "## ", 1) for one in below)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts).encode()


def _summary(cells: list[PrintedCell], claims: dict[str, list[Answered]]) -> Grid:
    lines = []
    for (paper, table), of in _by_table(cells).items():
        at = Counter(cell.at for cell in of)
        lines.append([paper, table, str(len(of)), *(str(at[one]) for one in AT), str(at[""])])
    total = Counter(cell.at for cell in cells)
    notes = [
        f"{len(cells)} printed numbers in tables: {total['paper']} answered at the paper's scale, {total['laptop']} at "
        f"scale laptop, {total['measured']} as ratios on other machines, {total['counted']} by counting, "
        f"{total['']} not attempted.",
        *(_counts(paper, found) for paper, found in claims.items()),
        "A number at scale laptop comes from smaller networks, data and training, and is not comparable with the "
        "printed one; only the difference between rows is.",
    ]
    return Grid("What is answered", ["paper", "table", "printed", *AT, "not attempted"], lines, notes)


def _by_table(cells: list[PrintedCell]) -> dict[tuple[str, str], list[PrintedCell]]:
    found: dict[tuple[str, str], list[PrintedCell]] = {}
    for cell in cells:
        found.setdefault((cell.paper, cell.table), []).append(cell)
    return {key: found[key] for key in sorted(found)}


def _counts(paper: str, claims: list[Answered]) -> str:
    """How many claims have each word."""
    found = Counter(one.word for one in claims)
    return f"{len(claims)} claims of {paper}: {', '.join(f'{found[word]} {word}' for word in Word)}."


def _claims(root: Path) -> dict[str, list[Answered]]:
    return {paper: answered(load(paper, root), Evidence(root, paper)) for paper in papers(root)}


def _claim_line(paper: str, one: Answered) -> list[str]:
    page = f"[{one.word}]({paper}/outputs/claims.md)"
    basis = one.basis if one.basis != NOTHING else f"not attempted: {one.claim.needs or 'its runs were not made'}"
    return [paper, one.claim.where, f"“{one.claim.quote}”", page, basis, one.links(".")]
