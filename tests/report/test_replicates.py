"""Replicates: the same runs repeated on another processor, beside the records that a table rests on."""

import csv
import os

import pytest
from table_cases import KITI, VANILLA, build, recorded, save

from kiti.launching.launch import missing_runs
from kiti.report import sheets, tables
from kiti.report.table_runs import plan
from kiti.report.tables import replicates


def fill(runs_dir, kiti):
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.20 + 0.01 * seed), runs_dir)
        save(recorded(KITI, seed, kiti[seed]), runs_dir)


def repeated(runs_dir, name="sse"):
    return runs_dir / "replicates" / name


@pytest.fixture
def both(runs_dir, experiments, command):
    """Better here by a fifth in each seed, the same as vanilla there."""
    fill(runs_dir, (0.160, 0.168, 0.177))
    fill(repeated(runs_dir), (0.198, 0.213, 0.219))
    assert command("paper/t", "--scale", "smoke", "--publish")[0] == 0
    assert command("paper/t", "--scale", "smoke", "--publish", "--replicate", "sse")[0] == 0
    return experiments


def test_the_table_rests_on_its_own_records_and_names_the_others(both):
    table = build("paper/t", both, local=False)
    kiti = next(line for line in table.lines if line.primary)
    assert kiti.summary.mean == pytest.approx((0.160 + 0.168 + 0.177) / 3)
    assert kiti.verdict == "better"
    (note,) = replicates.replicate_notes(table)
    assert note.startswith("Replicate sse, the same runs on ")
    assert "Burgers, KITI-FNO, relative L2 +0.0 % [" in note
    assert "equivalent, where the table has better" in note
    # Vanilla runs agree; those of KITINet differ.
    assert sorted(replicates.moved(table, table.replicates[0])) == pytest.approx(
        [0, 0, 0, 0.042 / 0.177, 0.038 / 0.160, 0.045 / 0.168]
    )
    assert "at most 27 %" in note
    assert note in tables.full_grid(table).notes


def test_its_numbers_are_in_a_file_of_their_own(both):
    outputs = both / "paper" / "outputs"
    there = list(csv.DictReader((outputs / "t.smoke.replicates.csv").open()))
    here = list(csv.DictReader((outputs / "t.smoke.csv").open()))
    assert {line["replicate"] for line in there} == {"sse"}
    assert [line["row"] for line in there] == [line["row"] for line in here]
    assert "replicate" not in here[0]
    assert "Replicate sse" in (outputs / "t.smoke.md").read_text()
    # The figure of all primary comparisons has the table's own alone.
    assert (outputs / "verdicts.svg").read_text().count("t (smoke)") <= 1


def test_the_replicate_itself_is_printed_by_name(both, command):
    _, text, _ = command("paper/t", "--scale", "smoke", "--replicate", "sse")
    assert "0.210" in text
    assert "Replicate sse" not in text


def test_missing_runs_of_a_replicate_are_those_without_its_record(runs_dir, experiments, command):
    fill(runs_dir, (0.18, 0.19, 0.20))
    assert command("paper/t", "--scale", "smoke", "--run", "--dry-run")[1] == ""
    _, text, _ = command("paper/t", "--scale", "smoke", "--run", "--dry-run", "--replicate", "sse")
    assert text.count("kiti.train") == 6
    assert text.count(f"runs_dir={repeated(runs_dir)}") + text.count(f"runs_dir='\"'\"'{repeated(runs_dir)}") == 6


def test_rebuilt_from_committed_records(both, runs_dir, command, tmp_path):
    os.rename(runs_dir, runs_dir.with_name("gone"))
    assert command("--rebuild", "--into", str(tmp_path / "again"))[0] == 0
    for path in (tmp_path / "again" / "paper" / "outputs").iterdir():
        assert path.read_bytes() == (both / "paper" / "outputs" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("--replicate", "../x"), "letters, digits"),
        (("--replicate", "sse", "--plan"), "leave out --replicate"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(experiments, command, given, complaint):
    status, _, errors = command("paper/t", "--scale", "smoke", *given)
    assert status == 2
    assert complaint in errors


def test_its_runs_have_the_same_names_on_the_screen(runs_dir, experiments):
    spec = sheets.load("paper/t", experiments).table("smoke")
    named = {run.name for run in missing_runs(plan(spec, "smoke"))}
    assert {run.name for run in missing_runs(plan(spec.placed(repeated(runs_dir)), "smoke"))} == named
    assert "burgers seed 0" in named
