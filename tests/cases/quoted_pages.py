"""Numbers that a page quotes: passages written again from what is committed, and the numbers that no passage covers."""

import re
from functools import cache
from pathlib import Path

from kiti.report import formats, sheets
from kiti.report.claims.evidence import Evidence, OutputLine

ROOT = Path(__file__).parents[2]
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

# Numbers in names are no results: of networks, data, formats, tables and sections of the papers.
_NAMES = re.compile(
    r"(ResNet|KITINet|GPT|DiT|CIFAR|BERT|Qwen|MATH|GSM|fp|bf|sm|A|J)-?_?\d[\w.]*"
    r"|(Tables?|Figures?|sections?|equations?|formula|Theorem|Appendix|seeds?) \(?\d+[ab]?(\.\d+)*\)?"
    r"((,| to| and| or) \(?\d+[ab]?(\.\d+)*\)?)*"
    r"|\((KO )?\d\.\d(\.\d)?[,)]|[xmwu][²_]?\d|U²|(fp|float|int|bfloat)\d+|H200|[Ff]loat32|O\(D²|\^-?\d"
)
_NUMBER = re.compile(r"[-+]?\.?\d[\d,.]*")


@cache
def evidence(paper: str) -> Evidence:
    """What is committed of a paper."""
    return Evidence(sheets.EXPERIMENTS, paper)


def lines(table: str, **wanted: object) -> list[OutputLine]:
    """The lines of <paper>/<sheet>.<scale> whose columns have these values, or one of several."""
    paper, name, scale = re.split(r"[/.]", table)
    found = []
    for line in evidence(paper).output(name, scale):
        values = {key: value if isinstance(value, (list, tuple)) else [value] for key, value in wanted.items()}
        if all(line.cells[key] in value for key, value in values.items()):
            found.append(line)
    assert found, (table, wanted)
    return found


def line(table: str, problem: str, row: str, metric: str, baseline: str = "") -> OutputLine:
    """The one line of a row, metric and baseline."""
    (found,) = lines(table, problem=problem, row=row, metric=metric, baseline=baseline)
    return found


def cosine(value: float, digits: int = 3, sign: bool = False) -> str:
    """`.934`, or with its sign `+.036`."""
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return re.sub(r"^([-+]?)0\.", r"\1.", text)


def cosines(one: OutputLine, digits: int = 3) -> str:
    """A difference of cosines with its interval: `+.036 [+.009, +.064]`."""
    middle, low, high = (cosine(one.number(key), digits, sign=True) for key in ("difference", "ci_low", "ci_high"))
    return f"{middle} [{low}, {high}]"


def effect(one: OutputLine) -> str:
    """`-8.9 % [-24.4, +6.7]`, or in points."""
    middle, low, high = one.effect()
    return formats.effect_and_interval(middle, low, high, one.unit).replace("\n", " ")


def percent(fraction: float, digits: int = 1) -> str:
    """`+1.6 %`."""
    return f"{100 * fraction:+.{digits}f} %"


def plain(text: str) -> str:
    """The text on one line, with one kind of minus, without code, pictures and the targets of links."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"^(    |!\[).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\[[a-z_0-9, -]+\]\([^)]*\)", "", text)  # a page's name
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "`", text)
    return " ".join(text.replace("−", "-").split())


def missing(page: str, passages: list[str]) -> list[str]:
    """The passages that the page does not have."""
    text = plain((ROOT / page).read_text())
    return [one for one in map(plain, passages) if one not in text]


def uncovered(page: str, passages: list[str]) -> list[str]:
    """The numbers outside these passages and outside of names, each with the words around it."""
    text = plain((ROOT / page).read_text())
    for one in sorted(map(plain, passages), key=len, reverse=True):
        text = text.replace(one, "§" * len(one))
    text = _NAMES.sub(lambda found: "§" * len(found[0]), text)
    return [text[max(0, found.start() - 40) : found.end() + 30] for found in _NUMBER.finditer(text)]
