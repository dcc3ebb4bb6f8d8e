"""The rule on simulations of the papers' theory."""

from typing import Any, Literal

import pydantic

from kiti.report import formats
from kiti.report.claims.answers import Answer, Need, Word, combined
from kiti.report.claims.evidence import Evidence
from kiti.report.claims.levels import Within
from kiti.report.sheets import SheetError

FILE = "theory/lab.json"


class Simulated(Within):
    """A number of every simulated case lies within limits, by twice its standard error if there is one.

    `cases` is the path of a list in theory/lab.json, `where` chooses from it, and `quantity` is the key of the number,
    with `item` if that is a list. A case without the number, because it grew without end, speaks against the claim.
    """

    rule: Literal["simulated"]
    cases: str
    where: dict[str, Any] = pydantic.Field(default_factory=dict)
    quantity: str
    item: int | None = None
    error: str | None = None
    page: str
    need: Need = "all"

    def answer(self, evidence: Evidence) -> Answer:
        """By the limits."""
        laboratory = evidence.json(FILE)
        source = f"theory/{self.page}"
        if laboratory is None:
            return Answer(Word.NOT_RUN, "", "simulated", source)
        every: Any = laboratory
        for key in self.cases.split("/"):
            every = every[key]
        chosen = [one for one in every if all(_agrees(one.get(key), value) for key, value in self.where.items())]
        if not chosen or any(self.quantity not in one for one in chosen):
            raise SheetError(f"{FILE} has no {self.quantity} of such {self.cases}")
        parts, numbers = [], []
        for one in chosen:
            value = one[self.quantity]
            value = value[self.item] if self.item is not None and value else value
            if value is None:
                parts.append(Word.NOT_SEEN)
                continue
            error = 2 * one[self.error] if self.error else 0.0
            parts.append(self.word(value - error, value + error))
            numbers.append(value)
        holds = f"{parts.count(Word.SEEN)} of {len(parts)} cases agree"
        span = f"; {formats.plain(min(numbers), 3)} to {formats.plain(max(numbers), 3)}" if numbers else ""
        return Answer(combined(parts, self.need), holds + span, "simulated", source)


def _agrees(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, list) else bool(value == wanted)
