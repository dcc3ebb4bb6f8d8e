"""Predictors without a network, measured without training: what a run on the same data records."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from kiti.cli.train_command import train
from kiti.configuration.compose import compose
from kiti.storage import records

SCRIPT = Path(__file__).parents[2] / "scripts" / "trivial_predictors.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trivial_predictors", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_finds_what_a_run_records(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["experiment=navier_stokes", "scale=smoke", f"data_dir={tmp_path / 'data'}", f"runs_dir={tmp_path / 'runs'}"]
    script.main([*run, "seed=1", "--into", str(tmp_path / "found.jsonl")])
    [line] = map(json.loads, (tmp_path / "found.jsonl").read_text().splitlines())
    assert (line["experiment"], line["scale"], line["seed"]) == ("navier_stokes", "smoke", 1)
    assert {name.rsplit("_", 1)[0] for name in line["metrics"] if name.endswith("_mse")} == {
        f"trivial/{name}" for name in ("persistence", "extrapolation", "target_mean", "ridge", "laminar")
    }
    printed = dict(one.split() for one in capsys.readouterr().out.splitlines())
    assert {name: pytest.approx(float(value), rel=1e-5) for name, value in printed.items()} == line["metrics"]

    recorded = {}
    for residual in ("add", "kiti"):
        composed = compose([*run, "seed=1", f"residual={residual}"])
        train(composed)
        record = records.read(composed.run_dir / records.FILE_NAME)
        recorded[residual] = {name: value for name, value in record.metrics.items() if name.startswith("trivial/")}
        assert record.data.identity == line["data"]["recipe"]
    assert recorded["add"] == recorded["kiti"] == line["metrics"]


def test_data_without_predictors_are_named(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main(["experiment=nothing"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
