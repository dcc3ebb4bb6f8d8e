"""Numbers of predictors without a network that are committed without a run."""

import copy
import json

import pytest
from table_cases import KITI, TABLE, VANILLA, build, folder_of, recorded, save

from kiti.configuration.compose import compose
from kiti.report import sheets, tables, trivial_numbers
from kiti.report.claims.evidence import Evidence
from kiti.storage.records import RecordError

GIVEN = {"trivial/ridge_relative_l2": 0.15, "trivial/moving_ridge_relative_l2": 0.12, "trivial/ridge_mse": 0.01}


@pytest.fixture
def experiments(tmp_path, monkeypatch, runs_dir):
    """A table whose vanilla row must beat the better of two ridge regressions."""
    sheet = copy.deepcopy(TABLE)
    keys = {"test/relative_l2": ["trivial/ridge_relative_l2", "trivial/moving_ridge_relative_l2"]}
    without = {"group": "Burgers", "label": "without a network", "run": ["experiment=burgers"], "keys": keys}
    sheet["rows"].insert(0, without | {"only_keys": True})
    sheet["rows"][1]["must_beat"] = "without a network"
    return folder_of(tmp_path, t=sheet)


def give(experiments, overrides=("experiment=burgers", "scale=smoke"), metrics=GIVEN, **data):
    """A line as scripts/trivial_predictors.py writes it, for the data of `recorded`."""
    state = recorded(VANILLA, 0, 0.2).data
    known = {"content": state.content, "split": state.split, "recipe": state.recipe} | data
    line = {"experiment": "burgers", "scale": "smoke", "overrides": list(overrides), "seed": 0, "data": known}
    path = experiments / "trivial" / "smoke.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(line | {"metrics": metrics, "git": {}, "versions": {}}) + "\n")
    return path


def row(table, label="without a network"):
    return next(line for line in table.lines if line.filled.row.label == label)


def fill(runs_dir, vanilla):
    for seed in range(3):
        save(recorded(VANILLA, seed, vanilla + 0.001 * seed), runs_dir)
        save(recorded(KITI, seed, 0.8 * vanilla + 0.001 * seed), runs_dir)


def test_a_row_needs_no_run(experiments):
    give(experiments)
    found = row(build("paper/t", experiments))
    assert found.summary.mean == 0.12
    text = tables.outputs(build("paper/t", experiments))["md"].decode()
    assert "without a network: moving ridge" in text
    assert "0.12<br>(no run)" in text
    assert row(build("paper/t", experiments), "FNO").verdict == "not run"


def test_records_without_its_metrics_get_them_by_the_identity_of_the_data(experiments, runs_dir):
    fill(runs_dir, vanilla=0.13)
    give(experiments)
    table = build("paper/t", experiments)
    assert row(table).summary.n == 3
    assert row(table).summary.mean == pytest.approx(0.12)
    assert row(table, "FNO").verdict == "not learnt"
    assert next(line for line in table.lines if line.primary).verdict == "not learnt"
    fill(runs_dir, vanilla=0.11)
    assert next(line for line in build("paper/t", experiments).lines if line.primary).verdict == "better"


def test_its_own_metrics_take_precedence(experiments, runs_dir):
    give(experiments)
    own = recorded(VANILLA, 0, 0.2)
    ours = own.metrics | {"trivial/ridge_relative_l2": 0.05, "trivial/moving_ridge_relative_l2": 0.07}
    save(recorded(VANILLA, 0, 0.2, metrics=ours), runs_dir)
    assert row(build("paper/t", experiments)).summary.mean == 0.05


def test_numbers_of_other_data_are_not_used(experiments, runs_dir):
    fill(runs_dir, vanilla=0.13)
    give(experiments, recipe="another", content="another")
    with pytest.raises(RecordError, match="no metric 'trivial/ridge_relative_l2'"):
        build("paper/t", experiments)


@pytest.mark.parametrize("overrides", [("experiment=burgers", "scale=smoke", "data.n_train=8")])
def test_without_records_the_configuration_of_the_data_must_agree(experiments, overrides):
    give(experiments, overrides)
    assert row(build("paper/t", experiments)).verdict == "not run"


def test_published_records_do_not_get_the_metrics(experiments, runs_dir, command):
    fill(runs_dir, vanilla=0.13)
    give(experiments)
    assert command("paper/t", "--scale", "smoke", "--publish")[0] == 0
    assert "trivial" not in (experiments / "paper" / "records" / "burgers-smoke.jsonl").read_text()


def test_a_damaged_line_is_named(experiments):
    path = give(experiments)
    path.write_text(path.read_text() + '{"experiment": "burgers"}\n')
    with pytest.raises(RecordError, match="line 2: scale: Field required"):
        trivial_numbers.read(path.parent)


def test_committed_numbers_are_those_of_committed_configurations():
    for one in trivial_numbers.read(sheets.EXPERIMENTS / "trivial"):
        assert one.are_of(compose([*one.overrides, "seed=7"]))


def test_a_plan_counts_no_run_for_it(experiments, command):
    status, text, _ = command("paper/t", "--scale", "smoke", "--plan")
    assert status == 0
    assert "without a network" not in text
    assert "Total: 6 runs" in text


def test_they_are_published_before_any_run(experiments, command):
    assert command("paper/t", "--scale", "smoke", "--publish")[0] == 2
    give(experiments)
    assert command("paper/t", "--scale", "smoke", "--publish")[0] == 0
    outputs = experiments / "paper" / "outputs"
    assert "0.12<br>(no run)" in (outputs / "t.smoke.md").read_text()
    line = next(one for one in Evidence(experiments, "paper").output("t", "smoke") if one.row == "without a network")
    assert line.number("mean") == 0.12
    assert not line.was_run
