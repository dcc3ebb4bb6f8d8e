"""The costs of a table's rows: steps, samples, operations, hours, and what is not known."""

import csv
import io
import json

import pytest
import torch
import yaml
from table_cases import FIGURE, KITI, TABLE, VANILLA, recorded, save

from kiti.configuration.compose import compose
from kiti.planning.meta_step import Steps
from kiti.planning.row_costs import run_cost
from kiti.training.device import device_name


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_run_is_its_steps_and_its_evaluations():
    composed = compose(["experiment=fashion_ko", "scale=smoke", "data.n_train=50", "data.batch_size=16"])
    cost = run_cost(composed, Steps().of(composed))
    epochs, step = composed.checked.trainer.max_epochs, cost.step
    assert (cost.steps, cost.samples) == (4 * epochs, 50 * epochs)
    tested = composed.checked.data.n_test * (epochs + 1)  # after every epoch, and at the end
    expected = cost.samples * step.training_flops + tested * step.test_flops + 50 * step.train_eval_flops
    assert cost.flops == expected


def test_accumulated_batches_are_one_step():
    composed = compose(["experiment=burgers", "scale=smoke", "data.batch_size=4", "trainer.accumulate_grad_batches=3"])
    config = composed.checked
    batches = -(-config.data.n_train // config.data.batch_size)
    assert run_cost(composed, Steps().of(composed)).steps == config.trainer.max_epochs * -(-batches // 3)


def test_imagenet_is_that_of_the_paper_until_its_folder_is_there(tmp_path):
    overrides = ["experiment=imagenet_resnet50", f"data.path={tmp_path / 'imagenet'}"]
    cost = run_cost(composed := compose(overrides), Steps().of(composed))
    assert (cost.steps, cost.samples) == (300 * 625, 300 * 625 * 2048)
    for split, number in (("train", 5), ("val", 2)):
        for name in ("n01", "n02"):
            folder = tmp_path / "imagenet" / split / name
            folder.mkdir(parents=True)
            for image in range(number):
                (folder / f"{image}.JPEG").touch()
    cost = run_cost(composed := compose([*overrides, "data.batch_size=4"]), Steps().of(composed))
    assert (cost.steps, cost.samples) == (300 * 2, 300 * 8)


def test_the_columns_of_a_row(experiments, command):
    status, text, err = command("paper/t", "--scale", "smoke", "--plan", "--format", "csv", "--tflops", "0.001")
    assert (status, err) == (0, "")
    vanilla, kiti = rows_of(text)
    assert (vanilla["row"], vanilla["runs"], vanilla["seeds"]) == ("FNO", "3", "0 1 2")
    cost = run_cost(composed := compose([*VANILLA, "scale=smoke"]), Steps().of(composed))
    assert int(vanilla["parameters"]) == cost.step.parameters
    assert (int(vanilla["steps_per_run"]), int(vanilla["samples_per_run"])) == (cost.steps, cost.samples)
    assert float(vanilla["flops"]) == pytest.approx(3 * cost.flops)
    assert float(vanilla["device_hours"]) == pytest.approx(3 * cost.flops / 1e9 / 3600)
    assert float(kiti["peak_memory_mib"]) > float(vanilla["peak_memory_mib"])
    assert vanilla["hours_here"] == kiti["hours_here"] == ""


def test_hours_here_are_from_records_of_this_machine(runs_dir, experiments, command):
    here = device_name(torch.device("cpu")).rpartition(", ")[0]
    save(recorded(VANILLA, 0, 0.1, device_name=f"{here}, 7 threads", wall_seconds=100.0), runs_dir)
    save(recorded(VANILLA, 1, 0.1, device_name=f"{here}, 1 threads", wall_seconds=300.0), runs_dir)
    save(recorded(KITI, 0, 0.1, device_name="Some other CPU, 1 threads", wall_seconds=100.0), runs_dir)
    vanilla, kiti = rows_of(command("paper/t", "--scale", "smoke", "--plan", "--format", "csv")[1])
    assert float(vanilla["hours_here"]) == pytest.approx(3 * 200 / 3600)
    assert kiti["hours_here"] == ""
    text = command("paper/t", "--scale", "smoke", "--plan")[1]
    assert "Total: 6 runs" in text
    assert "0.167 hours here for the 1 of 2 rows with records" in text


def test_runs_that_two_rows_share_are_counted_once(experiments, command):
    again = {"group": "Burgers", "label": "FNO again", "run": ["experiment=burgers"]}
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": [*TABLE["rows"], again]}))
    text = command("paper/t", "--scale", "smoke", "--plan")[1]
    assert "Total: 6 runs" in text
    assert "Burgers, FNO again repeats Burgers, FNO" in text


def test_a_point_that_does_not_fit_is_shown_as_such(experiments, command):
    status, text, _ = command("paper/f", "--scale", "smoke", "--plan", "--format", "csv")
    assert status == 0
    by_row = {row["row"]: row for row in rows_of(text)}
    assert by_row[str(FIGURE["x"]["values"][0])]["unknown"] == ""
    assert "collision_heads=128 does not divide" in by_row["128"]["unknown"]
    assert by_row["128"]["parameters"] == ""
    assert "Total: 9 runs" in command("paper/f", "--scale", "smoke", "--plan")[1]


def test_a_batch_that_devices_cannot_share(experiments, command):
    status, text, _ = command("paper/t", "--scale", "smoke", "--plan", "--devices", "7", "--format", "csv")
    assert status == 0
    assert all("is not divisible by --devices 7" in row["unknown"] for row in rows_of(text))


def test_a_plan_writes_nothing(runs_dir, experiments, tmp_path, monkeypatch, command):
    monkeypatch.setenv("KITI_DATA_DIR", str(tmp_path / "data"))
    before = json.dumps(sorted(map(str, tmp_path.rglob("*"))))
    assert command("paper/t", "--scale", "smoke", "--plan")[0] == 0
    assert json.dumps(sorted(map(str, tmp_path.rglob("*")))) == before
