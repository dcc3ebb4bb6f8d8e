"""The committed claims: what they refer to exists, their pages are today's, and every printed number is counted."""

import re
import subprocess
import sys
from collections import Counter

import pytest
import yaml
from claim_cases import MadeUp, decided

from kiti.cli import claim_pages
from kiti.report import formats, sheets
from kiti.report.claims import claim_sheet, coverage_page, page, printed_cells, written
from kiti.report.claims.answers import Word
from kiti.report.claims.evidence import Evidence
from kiti.report.sheets import EXPERIMENTS, SheetError

PAPERS = claim_sheet.papers(EXPERIMENTS)
CLAIM = {
    "id": "one",
    "quote": "it is better",
    "where": "5",
    "decided_by": [{"rule": "verdicts", "sheet": "table1", "rows": ["ours"]}],
}


@pytest.fixture
def made_up(tmp_path):
    return MadeUp(tmp_path)


def write_claims(made_up, *claims, paper="p"):
    made_up.root.joinpath(paper, "claims.yaml").write_text(
        yaml.safe_dump({"kind": "claims", "title": "Claims", "claims": list(claims)})
    )


@pytest.mark.parametrize("paper", PAPERS)
def test_every_reference_of_the_committed_claims_exists(paper):
    """A rule raises SheetError for a sheet, row, metric, case or file that is not there."""
    evidence = Evidence(EXPERIMENTS, paper)
    for claim in claim_sheet.load(paper, EXPERIMENTS).claims:
        for one in claim.answers(evidence):
            assert one.word is Word.NOT_RUN or one.numbers, claim.id
            assert one.word is Word.NOT_RUN or (EXPERIMENTS / one.source).is_file(), claim.id
        assert all(one.text(evidence) for one in claim.printed), claim.id


@pytest.mark.parametrize("name", written.names(EXPERIMENTS))
def test_committed_pages_are_what_a_rebuild_gives(name):
    assert written.path_of(name, EXPERIMENTS).read_bytes() == written.content(name, EXPERIMENTS)


@pytest.mark.parametrize("name", written.names(EXPERIMENTS))
def test_links_of_committed_pages_lead_to_files(name):
    path = written.path_of(name, EXPERIMENTS)
    links = re.findall(r"\]\(([^)]+)\)", path.read_text())
    assert links
    assert [link for link in links if not (path.parent / link).is_file()] == []


def test_every_printed_number_is_counted_once():
    """260 numbers stand in the papers' tables: 142 in KITINet's seven, 118 in KO's six."""
    cells = printed_cells.printed_cells(EXPERIMENTS, PAPERS)
    assert Counter(cell.paper for cell in cells) == {"kitinet": 142, "ko": 118}
    per_table = {"Table 1": 40, "Table 2": 32, "Table 3": 36, "Table 4": 8, "Table 5": 8, "Table 6": 6, "Table 7": 12}
    assert Counter(cell.table for cell in cells if cell.paper == "kitinet") == per_table
    assert all(bool(cell.at) == bool(cell.source) == bool(cell.ours) for cell in cells)
    assert all(cell.at or cell.reason for cell in cells)


@pytest.mark.parametrize(
    ("paper", "claim", "text"),
    [
        ("kitinet", "gpt2_majority", "19 of 20 better; share [0.75, 1.00]\n+0.335 points (mean of 20)"),
        ("kitinet", "continued_most", "15 of 16 better; share [0.70, 1.00]"),
        ("kitinet", "flops", "131072 / 73.47 M = +0.178 %; the column gives +0.136 %"),
        ("kitinet", "burgers_gain", "-23.50 %"),
        ("kitinet", "conv1", "+5.53 %"),
        ("kitinet", "shallow_beats_deep", "78.67 against 78.41: +0.26"),
        ("ko", "soft_gain", "+0.547 points (mean of 6)"),
        ("ko", "hard_gain", "+0.302 points (mean of 6)"),
        ("ko", "qwen_gain", "Qwen2-0.5B +1.40 points; Qwen2-1.5B +1.60 points"),
    ],
)
def test_what_printed_numbers_give(paper, claim, text):
    evidence = Evidence(EXPERIMENTS, paper)
    [found] = [one for one in claim_sheet.load(paper, EXPERIMENTS).claims if one.id == claim]
    assert "\n".join(one.text(evidence) for one in found.printed) == text


def test_a_page(made_up):
    made_up.output([decided("better"), decided("worse", "B", stand_in="toys")])
    write_claims(made_up, CLAIM, {"id": "two", "quote": "and so is that", "where": "6", "needs": "runs of that"})
    text = page.markdown("p", made_up.root).decode()
    assert "2 claims: 0 seen, 1 not seen, 0 undecided, 1 not run." in text
    for part in ("**not seen**", "laptop, stand-in, n 3", "(table1.laptop.md)", "needs runs of that"):
        assert part in text
    full, short = page.pages("p", made_up.root)
    assert len(full.lines) == len(short.lines) == 2
    counted = coverage_page.coverage(made_up.root)
    assert counted.lines == [["p", "Table 1", "4", "0", "2", "0", "0", "2"]]
    assert formats.markdown(counted).startswith("# What is answered")


@pytest.mark.parametrize(
    ("claims", "complaint"),
    [
        ([CLAIM, CLAIM], "duplicate claims one"),
        ([{key: CLAIM[key] for key in ("id", "quote", "where")}], "what decides it"),
        ([CLAIM | {"decided_by": [{"rule": "guess"}]}], "guess"),
    ],
)
def test_invalid_claims(made_up, claims, complaint):
    write_claims(made_up, *claims)
    with pytest.raises(SheetError, match=complaint):
        claim_sheet.load("p", made_up.root)


def test_claims_are_no_sheet(made_up):
    write_claims(made_up, CLAIM)
    assert "p/claims" not in sheets.names(made_up.root)
    assert claim_sheet.papers(made_up.root) == ["p"]
    assert written.names(made_up.root) == ["p/claims", "coverage"]
    with pytest.raises(SheetError, match="no claims q/claims; there are: p"):
        claim_sheet.load("q", made_up.root)


def test_commands(made_up, capsys):
    made_up.output([decided("better"), decided("better", "B")])
    write_claims(made_up, CLAIM)
    claim_pages.show(["p/claims", "coverage"], [made_up.root], "md", wide=False)
    shown = capsys.readouterr().out
    assert shown == "".join(written.content(name, made_up.root).decode() for name in ("p/claims", "coverage"))
    claim_pages.show(["p/claims"], [made_up.root], "csv", wide=False)
    assert capsys.readouterr().out.splitlines()[0].startswith("where,claim,")
    with pytest.raises(SheetError, match="no claims q/claims; there are: p/claims, coverage"):
        claim_pages.show(["q/claims"], [made_up.root], "md", wide=False)
    assert [path.name for path in written.write(["p/claims", "coverage"], made_up.root, made_up.root / "into")] == [
        "claims.md",
        "coverage.md",
    ]


def test_pages_need_no_torch_and_compose_nothing():
    code = (
        "import sys; from kiti.report.claims import written; from kiti.report.sheets import EXPERIMENTS;"
        f"written.content('{PAPERS[0]}/claims', EXPERIMENTS);"
        "assert not {'torch', 'hydra', 'kiti.configuration.compose'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
