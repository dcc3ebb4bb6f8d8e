"""The figure of all primary comparisons of a paper, from the committed CSV files."""

import csv

import pytest
import yaml
from table_cases import KITI, TABLE, VANILLA, build, recorded, save

from kiti.report import tables, verdicts
from kiti.report.drawing import draw_intervals


@pytest.fixture
def drawn(monkeypatch):
    """What the figure is drawn from."""
    found = {}

    def keep(title, relative, points):
        found.update(title=title, relative=list(relative), points=list(points))
        return draw_intervals.draw(title, relative, points)

    monkeypatch.setattr(verdicts, "draw", keep)
    return found


def test_it_shows_what_the_tables_say(runs_dir, experiments, drawn):
    for seed, (ours, baseline) in enumerate([(0.10, 0.20), (0.11, 0.22), (0.09, 0.20)]):
        save(recorded(KITI, seed, ours), runs_dir)
        save(recorded(VANILLA, seed, baseline), runs_dir)
    outputs = experiments / "paper" / "outputs"
    outputs.mkdir()
    (outputs / "t.smoke.csv").write_text(tables.to_csv(build("paper/t", experiments)))
    in_points = [metric | {"effect": "points", "margin": 0.1} for metric in TABLE["metrics"]]
    (experiments / "paper" / "u.yaml").write_text(yaml.safe_dump(TABLE | {"metrics": in_points}))
    (outputs / "u.smoke.csv").write_text(tables.to_csv(build("paper/u", experiments)))

    pictures = verdicts.figure("paper", experiments, experiments)

    assert pictures.keys() == {"png", "svg"}
    [relative] = drawn["relative"]
    assert relative.label == "t (smoke) Burgers, KITI-FNO"
    assert (relative.verdict, relative.difference) == ("better", pytest.approx(-51.6, abs=0.1))
    assert (relative.printed, relative.margin) == (pytest.approx(-23.5, abs=0.1), pytest.approx(11.75, abs=0.1))
    assert relative.low == pytest.approx(-58.6, abs=0.1)
    [points] = drawn["points"]
    assert points.difference == pytest.approx(-0.32 / 3)
    assert points.printed == pytest.approx(0.00166 - 0.00217)


def test_without_a_primary_comparison_there_is_no_figure(runs_dir, experiments):
    outputs = experiments / "paper" / "outputs"
    outputs.mkdir()
    (outputs / "t.smoke.csv").write_text(tables.to_csv(build("paper/t", experiments)))
    with (outputs / "t.smoke.csv").open(newline="") as file:
        assert any(line["primary"] == "yes" for line in csv.DictReader(file)), "declared, but without records"
    assert verdicts.figure("paper", experiments, experiments) == {}
