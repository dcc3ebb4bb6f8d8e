"""The schema of experiments/<paper>/claims.yaml, and the file itself."""

from pathlib import Path
from typing import Annotated, Literal

import pydantic

from kiti.report.claims.answers import Answer, Word
from kiti.report.claims.by_seed import Apart, MeanGain, SameParameters
from kiti.report.claims.comparisons import Effect, Share, Verdicts
from kiti.report.claims.evidence import Evidence
from kiti.report.claims.levels import InTraining, Level
from kiti.report.claims.measured import Counted, Longer, MemoryShare, Scaling
from kiti.report.claims.over_training import Gap, Reaches
from kiti.report.claims.printed import Calculation
from kiti.report.claims.simulated import Simulated
from kiti.report.claims.steps import StepsRatio
from kiti.report.claims.sweep_best import BestValues
from kiti.report.sheets import SheetError
from kiti.report.sheets.rows import StrictModel
from kiti.report.sheets.sheet_files import CLAIMS, claims_papers, read_valid

Rule = Annotated[
    Verdicts
    | Share
    | Effect
    | Apart
    | MeanGain
    | SameParameters
    | Gap
    | Reaches
    | BestValues
    | StepsRatio
    | Level
    | InTraining
    | Longer
    | MemoryShare
    | Scaling
    | Counted
    | Simulated,
    pydantic.Field(discriminator="rule"),
]


class Claim(StrictModel):
    """A claim: the `quote`, the section `where` it stands, and what decides it.

    `printed` recalculates what the printed numbers give. `decided_by` is one rule or several, all of which have to
    hold. `needs` says in words what would decide the claim; it is required if there is no rule. `reading` says how
    vague words were read.
    """

    id: str = pydantic.Field(pattern=r"^[a-z0-9_]+$")
    quote: str
    where: str
    reading: str = ""
    printed: list[Calculation] = pydantic.Field(default_factory=list)
    decided_by: list[Rule] = pydantic.Field(default_factory=list)
    needs: str = ""

    @pydantic.model_validator(mode="after")
    def _can_be_decided(self) -> "Claim":
        if not self.decided_by and not self.needs:
            raise ValueError(f"claim {self.id}: what decides it (decided_by), or what would (needs)?")
        return self

    def answers(self, evidence: Evidence) -> list[Answer]:
        """One for each rule; without a rule it was not run."""
        return [rule.answer(evidence) for rule in self.decided_by] or [Answer(Word.NOT_RUN, "")]


class ClaimsSpec(StrictModel):
    """The claims of a paper, in its order."""

    kind: Literal["claims"]
    title: str
    note: str = ""
    claims: list[Claim] = pydantic.Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _ids_are_unique(self) -> "ClaimsSpec":
        ids = [claim.id for claim in self.claims]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"duplicate claims {', '.join(twice)}")
        return self


def papers(root: Path) -> list[str]:
    """The papers below `root` that have claims."""
    return claims_papers(root)


def load(paper: str, root: Path) -> ClaimsSpec:
    """The claims of a paper. SheetError if there are none or the file is invalid."""
    path = root / paper / f"{CLAIMS}.yaml"
    if not path.is_file():
        raise SheetError(f"no claims {paper}/{CLAIMS}; there are: {', '.join(papers(root)) or 'none'}")
    return read_valid(path, ClaimsSpec.model_validate)
