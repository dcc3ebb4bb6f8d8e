"""Runs that lack files are not started, and one line says so for all of them."""

import json

import pytest
import yaml
from table_cases import TABLE

from kiti.launching.launch import missing_runs
from kiti.launching.needed_files import startable
from kiti.report import sheets
from kiti.report.table_runs import plan


@pytest.fixture
def airfoil(experiments, tmp_path):
    """A table of flows in a folder that is not there, beside Burgers."""
    away = [f"data.path='{tmp_path / 'away'}'"]
    rows = [
        {"group": "Airfoil", "label": "OFormer", "run": ["experiment=airfoil", "residual=add", *away]},
        {"group": "Airfoil", "label": "KITI", "run": ["experiment=airfoil", "residual=kiti", *away]},
        {"group": "Burgers", "label": "FNO", "run": ["experiment=burgers", "residual=add"]},
    ]
    metrics = [{"key": "test/mse", "label": "MSE"}]
    sheet = {"kind": "table", "title": TABLE["title"], "scales": {"paper": {"seeds": [0, 1]}}, "metrics": metrics}
    (experiments / "paper" / "a.yaml").write_text(yaml.safe_dump(sheet | {"rows": rows}))
    return "paper/a"


def test_only_runs_with_their_files_are_startable(airfoil, experiments, runs_dir, tmp_path):
    plans = [plan(sheets.load(airfoil, experiments).table("paper"), "paper")]
    ready, lacking = startable(missing_runs(*plans), plans)
    assert [run.name for run in ready] == ["burgers residual=add seed 0", "burgers residual=add seed 1"]
    (line,) = lacking
    assert line.startswith("not started: airfoil residual=add seed 0 and 3 more: data.path=")
    assert "scripts/fetch_airfoil.py downloads it" in line
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "meta.json").write_text(json.dumps({}))
    assert [len(one) for one in startable(missing_runs(*plans), plans)] == [6, 0]


def test_the_command_says_so_once(airfoil, command, runs_dir):
    status, text, errors = command(airfoil, "--scale", "paper", "--only", "Airfoil", "--run")
    assert status == 2
    assert errors.count("contains no airfoil set") == 1
    assert "not run" in text
    assert not (runs_dir / "airfoil").exists()


def test_a_table_none_of_whose_rows_can_be_run(experiments, command):
    """As those of texts, before a commit of the hub is given."""
    row = {"group": "IMDb", "label": "BERT", "run": ["experiment=bert_imdb"], "may_not_compose": True}
    sheet = TABLE | {"scales": {"paper": {"seeds": [0]}}, "primary": [], "rows": [row]}
    sheet["metrics"] = [{"key": "test/accuracy", "label": "accuracy"}]
    (experiments / "paper" / "b.yaml").write_text(yaml.safe_dump(sheet))
    status, _, errors = command("paper/b", "--scale", "paper", "--run")
    assert status == 2
    assert errors.startswith("kiti-table: no row can be run: ")
    assert "commit" in errors
    assert errors.count("\n") == 1
