"""Rules on benchmarks and on counted cost: longer steps, scaling with a size, memory, multiply-adds."""

import math
from typing import Any, Literal

import numpy as np
import pydantic

from kiti.report import formats
from kiti.report.claims.answers import Answer, Need, Word, combined, judged
from kiti.report.claims.comparisons import share_interval
from kiti.report.claims.evidence import Evidence
from kiti.report.claims.levels import Within
from kiti.report.sheets import SheetError
from kiti.report.sheets.rows import StrictModel
from kiti.report.significance import half_width

BENCHMARKS = "benchmarks"


class Longer(Within):
    """How much longer a training step of a `variant` is than without collisions, as a fraction, lies within limits.

    The least and the most within a round of interleaved steps bound the number. `cases` are names, empty for all.
    """

    rule: Literal["longer"]
    benchmark: str
    variant: str
    cases: list[str] = pydantic.Field(default_factory=list)
    need: Need = "all"

    def answer(self, evidence: Evidence) -> Answer:
        """By least and most."""
        found = variants(evidence, self.benchmark, self.cases, self.variant)
        parts = [self.word(one["longer_lowest"], one["longer_highest"]) for one in found.values()]
        text = "; ".join(
            f"{name} {formats.percent(one['longer'])} "
            f"[{round(100 * one['longer_lowest'])}, {round(100 * one['longer_highest'])}]"
            for name, one in found.items()
        )
        word = combined(parts, self.need) if parts else Word.NOT_RUN
        return Answer(word, text, *_where(evidence, self.benchmark))


class MemoryShare(StrictModel):
    """Steps of one variant take more memory than those of another.

    The peaks have no spread; the 95 % interval of Clopper and Pearson for the share of cases with more of it decides.
    With `at_most`, a fraction, the claim is instead that no case has more than that above the other.
    """

    rule: Literal["memory"]
    benchmark: str
    variant: str
    over: str
    at_most: float | None = None

    def answer(self, evidence: Evidence) -> Answer:
        """By the share of cases."""
        ours = peaks(evidence, self.benchmark, self.variant)
        theirs = peaks(evidence, self.benchmark, self.over)
        ratios = {case: ours[case] / theirs[case] for case in ours if case in theirs}
        where = _where(evidence, self.benchmark)
        if not ratios:
            return Answer(Word.NOT_RUN, "", *where)
        more = sum(ratio > 1 for ratio in ratios.values())
        text = f"{more} of {len(ratios)} take more; ratios {min(ratios.values()):.3g} to {max(ratios.values()):.3g}"
        if self.at_most is not None:
            return Answer(judged(max(ratios.values()), max(ratios.values()), None, 1 + self.at_most), text, *where)
        return Answer(judged(*share_interval(more, len(ratios)), 0.5, None), text, *where)


class Scaling(Within):
    """The power of the collision heads as which the time of a system goes lies within limits, at equal features.

    The slope of log time over log heads with its 95 % t interval decides, at one coll_coef and one `scale` of the
    features.
    """

    rule: Literal["scaling"]
    benchmark: str
    model: str
    implementation: str
    coll_coef: float
    scale: float

    def answer(self, evidence: Evidence) -> Answer:
        """By the slope."""
        where = _where(evidence, self.benchmark)
        cases = [
            case
            for case in _cases(evidence, self.benchmark)
            if (case["model"], case["coll_coef"], case["scale"]) == (self.model, self.coll_coef, self.scale)
            and self.implementation in case["implementations"]
            and case["particles"] > 1
        ]
        if len(cases) < 3:
            return Answer(Word.NOT_RUN, "", *where)
        heads = [case["collision_heads"] for case in cases]
        seconds = [case["implementations"][self.implementation]["median_s"] / case["systems"] for case in cases]
        slope, low, high = slope_and_interval(heads, seconds)
        text = f"exponent {slope:.2f} [{low:.2f}, {high:.2f}] from {min(heads)} to {max(heads)} heads"
        return Answer(self.word(low, high), text, *where)


class Counted(StrictModel):
    """The increase of multiply-adds that a page counts, rounded to the digits of `claimed`, a fraction in percent.

    `page` is a committed Markdown page with one table; `where` finds its row, and `part` and `whole` are its columns.
    """

    rule: Literal["counted"]
    page: str
    where: dict[str, str]
    part: str
    whole: str
    claimed: str
    decimals: int = pydantic.Field(default=2, ge=0)

    def answer(self, evidence: Evidence) -> Answer:
        """By the counted numbers."""
        source = f"{evidence.paper}/outputs/{self.page}"
        path = evidence.root / source
        rows = markdown_rows(path.read_text()) if path.is_file() else []
        found = [row for row in rows if all(row.get(column) == cell for column, cell in self.where.items())]
        if not found:
            return Answer(Word.NOT_RUN, "", "counted", source)
        share = 100 * float(found[0][self.part]) / float(found[0][self.whole])
        text = f"{found[0][self.part]} / {found[0][self.whole]} = {share:+.3f} %"
        word = Word.SEEN if f"{share:.{self.decimals}f}" == self.claimed else Word.NOT_SEEN
        return Answer(word, text, "counted", source)


def variants(evidence: Evidence, benchmark: str, cases: list[str], variant: str) -> dict[str, dict[str, Any]]:
    """The measurements of a variant by case. SheetError for a case that the benchmark does not have."""
    every = _cases(evidence, benchmark)
    if every and (unknown := set(cases) - {case["case"] for case in every}):
        raise SheetError(f"benchmarks/{benchmark}.json has no case {', '.join(sorted(unknown))}")
    return {
        case["case"]: one
        for case in every
        if not cases or case["case"] in cases
        for one in case.get("variants") or case["rows"]
        if one["variant"] == variant
    }


def peaks(evidence: Evidence, benchmark: str, variant: str) -> dict[str, float]:
    """The peak of memory in bytes by case, of training steps or of the collision alone."""
    found = {}
    for case in _cases(evidence, benchmark):
        if variant in case.get("collisions", {}):
            found[case["case"]] = float(case["collisions"][variant]["peak_bytes"])
        for one in case.get("variants", []):
            if one["variant"] == variant:
                found[case["case"]] = float(one["peak_bytes"])
    return found


def slope_and_interval(sizes: list[float], times: list[float]) -> tuple[float, float, float]:
    """The slope of log time over log size by least squares, with its 95 % t interval."""
    x, y = np.log(sizes), np.log(times)
    slope, intercept = np.polyfit(x, y, 1)
    rest = y - slope * x - intercept
    spread = math.sqrt(float(rest @ rest) / (len(x) - 2) / float(((x - x.mean()) ** 2).sum()))
    # half_width takes n - 1 degrees of freedom and divides by the root of n.
    half = half_width(spread, len(x) - 1) * math.sqrt(len(x) - 1)
    return float(slope), float(slope) - half, float(slope) + half


def markdown_rows(text: str) -> list[dict[str, str]]:
    """The rows of the first table of a Markdown page by column; the second of two equal columns ends in (2)."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header: list[str] = []
    for name in cells[0] if cells else []:
        header.append(f"{name} (2)" if name in header else name)
    return [dict(zip(header, row, strict=False)) for row in cells[2:]]


def _cases(evidence: Evidence, benchmark: str) -> list[dict[str, Any]]:
    found = evidence.json(f"{BENCHMARKS}/{benchmark}.json")
    cases: list[dict[str, Any]] = found["cases"] if found else []
    return cases


def _where(evidence: Evidence, benchmark: str) -> tuple[str, str]:
    """The device, and the page of a benchmark."""
    found = evidence.json(f"{BENCHMARKS}/{benchmark}.json")
    return found["device_name"] if found else "", f"{BENCHMARKS}/{benchmark}.md"
