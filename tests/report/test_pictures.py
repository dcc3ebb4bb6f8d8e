"""Pictures of predictions: drawn from runs, published with their examples, redrawn without the runs."""

import os

import numpy as np
import pytest
import torch
from table_cases import KITI, VANILLA, build, folder_of, recorded, save

from kiti.report import publishing, sheets, shown_examples
from kiti.report.table_runs import StoredRecord
from kiti.storage import examples
from kiti.storage.records import RecordError
from kiti.tasks.operator_learning import OperatorRollout

PICTURE = {
    "kind": "picture",
    "title": "A picture",
    "shown": "u",
    "scales": {"smoke": {"seeds": [1, 0]}},
    "metric": {"key": "test/relative_l2", "label": "relative L2"},
    "rows": [
        {"group": "Burgers", "label": "FNO", "run": VANILLA},
        {"group": "Burgers", "label": "KITI-FNO", "run": KITI, "against": "FNO"},
    ],
}
TRUTH = np.linspace(-1, 1, 36, dtype=np.float32).reshape(6, 6)


@pytest.fixture
def experiments(tmp_path):
    return folder_of(tmp_path, p=PICTURE)


def fill(runs_dir, prediction=0.1, truth=TRUTH):
    for seed in (0, 1):
        for overrides, error in ((VANILLA, prediction), (KITI, prediction / 2)):
            path = save(recorded(overrides, seed, error), runs_dir)
            examples.write({"prediction": truth + error, "target": truth}, path.with_name(examples.FILE_NAME))


def outputs(experiments):
    return publishing.outputs(sheets.load("paper/p", experiments), build("paper/p", experiments))


def test_a_picture_and_its_table(runs_dir, experiments):
    fill(runs_dir)
    contents = outputs(experiments)
    assert sorted(contents) == ["csv", "md", "png", "svg"]
    assert contents["png"].startswith(b"\x89PNG")
    assert "| KITI-FNO | relative L2" in contents["md"].decode()
    assert outputs(experiments) == contents
    fill(runs_dir, prediction=0.3)
    assert outputs(experiments)["svg"] != contents["svg"], "it shows the prediction"


def test_no_picture_of_missing_runs(runs_dir, experiments):
    path = save(recorded(VANILLA, 1, 0.1), runs_dir)
    examples.write({"prediction": TRUTH, "target": TRUTH}, path.with_name(examples.FILE_NAME))
    assert sorted(outputs(experiments)) == ["csv", "md"]


def test_runs_with_different_samples_are_not_shown_together(runs_dir, experiments):
    fill(runs_dir)
    path = save(recorded(KITI, 1, 0.1), runs_dir)
    examples.write({"prediction": TRUTH, "target": TRUTH + 1}, path.with_name(examples.FILE_NAME))
    with pytest.raises(RecordError, match="its runs show different samples"):
        outputs(experiments)


def test_a_missing_or_damaged_example_is_named(runs_dir, experiments):
    fill(runs_dir)
    path = save(recorded(KITI, 1, 0.1), runs_dir).with_name(examples.FILE_NAME)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RecordError, match=r"example .*example\.safetensors: .*run it again") as error:
        outputs(experiments)
    assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(RecordError, match="run it again"):
        outputs(experiments)


def test_it_is_redrawn_from_published_files(runs_dir, experiments, tmp_path, command):
    fill(runs_dir)
    assert command("paper/p", "--scale", "smoke", "--publish")[0] == 0
    kept = examples.read(experiments / "paper" / "records" / "examples-smoke.safetensors")
    assert len(kept) == 4, "prediction and target of the two runs shown, not of the other seed"
    os.rename(runs_dir, runs_dir.with_name("gone"))
    assert command("--rebuild", "--into", str(tmp_path / "again"))[0] == 0
    for path in (tmp_path / "again" / "paper" / "outputs").iterdir():
        assert path.read_bytes() == (experiments / "paper" / "outputs" / path.name).read_bytes()
    with pytest.raises(RecordError, match="nothing from run"):
        shown_examples.read(
            StoredRecord(recorded(KITI, 7, 0.1), committed=True, folder=experiments / "paper" / "records")
        )


def test_a_roll_out_keeps_the_last_frame_of_the_first_test_sample():
    class Next(torch.nn.Module):
        def forward(self, frames):
            return frames[:, -1] + 1

    task = OperatorRollout(Next(), torch.optim.Adam)
    given, target = torch.zeros(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    task.test_step((given, target), 1, 0)
    task.test_step((given, target), 0, 1)
    assert not task.example, "not another batch or the training set"
    task.test_step((given, target), 0, 0)
    assert torch.equal(task.example["prediction"], torch.full((4, 4), 5.0))
    assert torch.equal(task.example["target"], target[0, -1])
