"""Heat maps of cosines: drawn from runs, published with their matrices, redrawn without the runs."""

import shutil

import numpy as np
import pytest
import yaml
from table_cases import KITI, VANILLA, build, folder_of, recorded, save

from kiti.report import publishing, sheets
from kiti.report.sheets import SheetError
from kiti.storage import examples
from kiti.storage.records import RecordError

MAPS = {
    "kind": "heatmaps",
    "title": "Some maps",
    "scales": {"smoke": {"seeds": 2}},
    "metrics": [{"key": "test/mse", "label": "MSE", "higher_is_better": None}],
    "heatmaps": [{"key": "layers.0@1", "label": "early"}, {"key": "layers.0@2", "label": "late"}],
    "rows": [
        {"group": "one", "label": "FNO", "run": VANILLA},
        {"group": "one", "label": "KITI-FNO", "run": KITI, "against": "FNO"},
        {"group": "other", "label": "FNO", "run": [*VANILLA, "model.width=4"]},
    ],
}


@pytest.fixture
def experiments(tmp_path):
    return folder_of(tmp_path, m=MAPS)


def fill(runs_dir, epochs=(1, 2), late=0.5):
    for seed in (0, 1):
        for number, row in enumerate(MAPS["rows"]):
            path = save(recorded(row["run"], seed, 0.1 + number), runs_dir)
            cosines = {1: np.eye(6, dtype=np.float16), 2: np.full((6, 6), late, dtype=np.float16)}
            examples.write(
                {f"layers.0@{epoch}": cosines[epoch] for epoch in epochs}, path.with_name(examples.FILE_NAME)
            )


def outputs(experiments):
    return publishing.outputs(sheets.load("paper/m", experiments), build("paper/m", experiments))


def test_maps_and_their_table(runs_dir, experiments):
    fill(runs_dir)
    contents = outputs(experiments)
    assert sorted(contents) == ["csv", "md", "png", "svg"]
    assert contents["png"].startswith(b"\x89PNG")
    assert outputs(experiments) == contents
    below = folder_of(experiments.parent / "below", m={**MAPS, "groups": "below"})
    assert outputs(below)["svg"] != contents["svg"]
    assert outputs(below)["csv"] == contents["csv"]
    fill(runs_dir, late=-0.5)
    assert outputs(experiments)["svg"] != contents["svg"], "it shows the cosines"


def test_no_figure_while_a_run_is_missing(runs_dir, experiments):
    path = save(recorded(VANILLA, 0, 0.1), runs_dir)
    examples.write({"layers.0@1": np.eye(6)}, path.with_name(examples.FILE_NAME))
    assert sorted(outputs(experiments)) == ["csv", "md"]


def test_a_missing_snapshot_is_named(runs_dir, experiments):
    fill(runs_dir, epochs=(1,))
    with pytest.raises(RecordError, match=r"no 'layers.0@2'; it has: layers.0@1"):
        outputs(experiments)


def test_published_maps_are_redrawn_without_the_runs(runs_dir, experiments, command):
    fill(runs_dir)
    drawn = outputs(experiments)["svg"]
    assert command("paper/m", "--scale", "smoke", "--publish")[0] == 0
    shutil.rmtree(runs_dir)
    assert outputs(experiments)["svg"] == drawn
    assert (experiments / "paper" / "outputs" / "m.smoke.svg").read_bytes() == drawn


def test_seeds_may_be_given_as_a_count(experiments):
    assert sheets.load("paper/m", experiments).scales["smoke"].seeds == [0, 1]
    (experiments / "paper" / "m.yaml").write_text(yaml.safe_dump(MAPS | {"scales": {"smoke": {"seeds": 0}}}))
    with pytest.raises(SheetError, match="seeds"):
        sheets.load("paper/m", experiments)


def test_a_sheet_without_laptop_scale_uses_the_papers_scale(experiments):
    assert sheets.default_scale(sheets.load("paper/m", experiments)) == "paper"
    both = {"laptop": {"seeds": [0]}, "paper": {"seeds": [0]}}
    (experiments / "paper" / "m.yaml").write_text(yaml.safe_dump(MAPS | {"scales": both}))
    assert sheets.default_scale(sheets.load("paper/m", experiments)) == "laptop"
