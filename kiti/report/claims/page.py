"""The page of a paper's claims, as Markdown and for a terminal."""

import os
from dataclasses import dataclass
from pathlib import Path

from kiti.report import formats
from kiti.report.claims.answers import Answer, Word, combined
from kiti.report.claims.claim_sheet import Claim, ClaimsSpec, load
from kiti.report.claims.evidence import Evidence
from kiti.report.formats import NOTHING, Grid

WIDEST = 30
"""To so many characters cells are padded: some are whole sentences."""
NOTES = (
    "Seen and not seen require a decided comparison: a verdict by corrected p, or an interval that leaves one side "
    "only. A mean alone decides nothing. Equivalent, within half the printed difference, counts as not seen where the "
    "claim is a gain.",
    "Comparisons that are no primary ones of their sheet are corrected together within their claim, by Holm.",
    "At scale laptop networks, data and training are smaller than the paper's, on stand-ins where it says so: such an "
    "answer is about these runs, and neither confirms nor refutes what the paper measured.",
    "In quotes … leaves out words; formulas are in plain characters, and figure numbers in brackets are ours.",
    "Printed: recalculated from the printed digits; the interval of a share is Clopper and Pearson's 95 %.",
)


@dataclass(frozen=True)
class Answered:
    """A claim with its answers."""

    claim: Claim
    answers: list[Answer]
    printed: str

    @property
    def word(self) -> Word:
        """All rules have to hold."""
        return combined([answer.word for answer in self.answers], "all")

    @property
    def numbers(self) -> str:
        """Those of each rule on a line."""
        several = len(self.answers) > 1
        lines = [f"{f'{one.word}: ' if several else ''}{one.numbers}" for one in self.answers if one.numbers]
        if self.claim.needs and self.word in (Word.NOT_RUN, Word.UNDECIDED):
            return "\n".join([*lines, f"needs {self.claim.needs}"])
        lines += dict.fromkeys(command(one.source) for one in self.answers if one.word is Word.NOT_RUN and one.source)
        return "\n".join(lines) or NOTHING

    @property
    def basis(self) -> str:
        """At which scale and with how many seeds, of what was run."""
        run = (one.basis for one in self.answers if one.word is not Word.NOT_RUN and one.basis)
        return "\n".join(dict.fromkeys(run)) or NOTHING

    def links(self, folder: str) -> str:
        """The pages with the numbers, as links from a page in `folder`."""
        found = dict.fromkeys(one.source for one in self.answers if one.source and one.word is not Word.NOT_RUN)
        return ", ".join(f"[{label(one)}]({os.path.relpath(one, folder)})" for one in found) or NOTHING


def answered(spec: ClaimsSpec, evidence: Evidence) -> list[Answered]:
    """Every claim of a paper with its answers."""
    return [
        Answered(claim, claim.answers(evidence), "\n".join(one.text(evidence) for one in claim.printed))
        for claim in spec.claims
    ]


def pages(paper: str, root: Path) -> tuple[Grid, Grid]:
    """The claims of a paper for a Markdown page in <paper>/outputs, and for a terminal."""
    spec, evidence = load(paper, root), Evidence(root, paper)
    lines = answered(spec, evidence)
    counts = ", ".join(f"{sum(line.word is word for line in lines)} {word}" for word in Word)
    notes = [f"{len(lines)} claims: {counts}.", *([" ".join(spec.note.split())] if spec.note else []), *NOTES]
    full = Grid(
        spec.title,
        ["where", "claim", "printed numbers give", "here", "numbers", "basis", "answered in"],
        [_full(line, f"{paper}/outputs") for line in lines],
        notes,
    )
    short = Grid(
        spec.title,
        ["where", "claim", "here", "numbers"],
        [[one.claim.where, one.claim.quote, one.word.value, _short_numbers(one)] for one in lines],
        notes,
        grouped=True,
    )
    return full, short


def markdown(paper: str, root: Path) -> bytes:
    """The page as committed."""
    return formats.markdown(pages(paper, root)[0], widest=WIDEST).encode()


def label(source: str) -> str:
    """`table4, laptop` for kitinet/outputs/table4.laptop.md."""
    name, *rest = Path(source).stem.split(".")
    return ", ".join([name, *rest])


def command(source: str) -> str:
    """What fills the committed page of a table: `kiti-table kitinet/table1 --scale laptop --run`."""
    path = Path(source)
    name, *scale = path.stem.split(".")
    return f"kiti-table {path.parents[1]}/{name} --scale {scale[-1]} --run" if scale else f"measure {source}"


def _full(line: Answered, folder: str) -> list[str]:
    reading = f"\n({line.claim.reading})" if line.claim.reading else ""
    return [
        line.claim.where,
        f"“{line.claim.quote}”{reading}",
        line.printed or NOTHING,
        f"**{line.word}**",
        line.numbers,
        line.basis,
        line.links(folder),
    ]


def _short_numbers(line: Answered) -> str:
    return line.numbers if line.basis == NOTHING else f"{line.numbers} ({line.basis})".replace("\n", "; ")
