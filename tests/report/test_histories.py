"""Quantities over training: drawn from runs that store them under their own names."""

import pytest
from table_cases import KITI, VANILLA, build, folder_of, recorded, save

from kiti.report import publishing, sheets
from kiti.report.drawing.draw_history import interval_within
from kiti.report.sheets import SheetError
from kiti.report.significance import Summary
from kiti.storage.records import RecordError

HISTORY = {
    "kind": "history",
    "title": "A history",
    "scales": {"smoke": {"seeds": 3}},
    "epochs": [1, 2],
    "panels": [
        {"what": "rho", "label": "rho"},
        {"what": "knudsen", "label": "Kn", "log_y": True, "level": 0.3, "level_label": "0.30"},
    ],
    "rows": [
        {"group": "FNO", "label": "vanilla", "of": "layers.0", "run": VANILLA},
        {"group": "FNO", "label": "KITI", "of": "layers.7", "run": KITI},
    ],
}


@pytest.fixture
def experiments(tmp_path):
    return folder_of(tmp_path, h=HISTORY)


def fill(runs_dir, top=0.5):
    for seed in range(3):
        for layer, run in (("layers.0", VANILLA), ("layers.7", KITI)):
            record = recorded(run, seed, 0.1)
            for epoch in (1, 2):
                kept = top * epoch + 0.01 * seed
                record.metrics.update({f"rho/{layer}@{epoch}": kept, f"knudsen/{layer}@{epoch}": kept})
            save(record, runs_dir)


def outputs(experiments):
    return publishing.outputs(sheets.load("paper/h", experiments), build("paper/h", experiments))


def test_curves_and_their_table(runs_dir, experiments):
    fill(runs_dir)
    contents = outputs(experiments)
    assert sorted(contents) == ["csv", "md", "png", "svg"]
    assert outputs(experiments) == contents
    lines = {(one.filled.row.label, one.metric.label): one for one in build("paper/h", experiments).lines}
    assert lines["KITI", "Kn, epoch 2"].summary.mean == pytest.approx(1.01)
    assert "knudsen/layers.7@2" in contents["csv"].decode()
    fill(runs_dir, top=0.8)
    assert outputs(experiments)["svg"] != contents["svg"], "it shows the recorded values"


def test_one_panel_per_group_and_epochs_by_scale(runs_dir, tmp_path):
    sheet = {**HISTORY, "by_group": True, "log_x": False, "epochs": {"smoke": [1, 2]}}
    sheet["panels"] = [{"what": "rho", "of": "layers.0", "label": "rho"}]
    sheet["rows"] = [*HISTORY["rows"][:1], {**HISTORY["rows"][0], "group": "other"}]
    experiments = folder_of(tmp_path, h=sheet)
    fill(runs_dir)
    assert sorted(outputs(experiments)) == ["csv", "md", "png", "svg"]
    assert len(build("paper/h", experiments).lines) == 4
    with pytest.raises(SheetError, match="epochs are given for paper; the scales are smoke"):
        sheets.load("paper/h", folder_of(tmp_path / "other", h={**sheet, "epochs": {"paper": [1]}}))


def test_curves_of_missing_runs_are_left_out(runs_dir, experiments):
    assert sorted(outputs(experiments)) == ["csv", "md", "png", "svg"]


def test_a_quantity_that_was_not_recorded_is_named(runs_dir, experiments):
    save(recorded(VANILLA, 0, 0.1), runs_dir)
    with pytest.raises(RecordError, match=r"no metric 'rho/layers\.0@1'"):
        outputs(experiments)


def test_an_interval_ends_where_the_quantity_does():
    """The 95 % interval of 0.9 ± 0.2 over three seeds is 0.9 ± 0.5."""
    half = 4.3027 * 0.2 / 3**0.5
    found = Summary(mean=0.9, std=0.2, n=3)
    assert interval_within(found, None) == pytest.approx((half, half), rel=1e-4)
    assert interval_within(found, (0.0, 1.0)) == pytest.approx((half, 0.1), rel=1e-4)
    assert interval_within(found, (0.8, 2.0)) == pytest.approx((0.1, half), rel=1e-4)
