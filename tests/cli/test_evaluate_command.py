"""kiti-eval tests what was trained: the recorded configuration, its precision, its very weights."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kiti.cli import evaluate_command
from kiti.cli.train_command import train
from kiti.configuration import recorded_run
from kiti.configuration.compose import Composed, compose
from kiti.configuration.locations import CONF
from kiti.storage import records

RUN = ["experiment=burgers", "scale=smoke", "residual=kiti", "trainer.precision=64-true", "data.n_test=12"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Composed:
    place = tmp_path_factory.mktemp("trained")
    composed = compose([*RUN, f"runs_dir={place}/runs", f"data_dir={place}/data"])
    train(composed)
    # Places are overrides of a real command line, which has none here.
    path = composed.run_dir / records.FILE_NAME
    record = records.read(path)
    records.write(replace(record, overrides=RUN, places=[f"data_dir={place}/data"]), composed.run_dir)
    return composed


@pytest.fixture
def run_dir(trained: Composed, tmp_path: Path) -> Path:
    return shutil.copytree(trained.run_dir, tmp_path / "seed-0")


def evaluated(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["kiti-eval", *map(str, arguments)])
    try:
        evaluate_command.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def evaluations(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "evaluations.jsonl").read_text().splitlines()]


def test_it_finds_what_was_recorded_though_conf_has_changed(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    for path in (tmp_path / "conf" / "experiment").rglob("burgers*.yaml"):
        path.unlink()
    option = tmp_path / "conf" / "data" / "burgers.yaml"
    changed = "".join(line for line in option.read_text().splitlines(True) if not line.startswith(("n_test", "grid")))
    option.write_text(changed + "n_test: 7\ngrid: 512\n")
    monkeypatch.setattr(recorded_run, "CONF", tmp_path / "conf")
    record_before = (run_dir / records.FILE_NAME).read_bytes()
    assert evaluated(monkeypatch, run_dir) == 0
    record = records.read(run_dir / records.FILE_NAME)
    [found] = evaluations(run_dir)
    tested = {name: value for name, value in record.metrics.items() if name.startswith("test/")}
    assert found["metrics"] == tested, "to the last bit: in double precision, as it was trained"
    assert found["precision"] == "64-true"
    assert found["config_hash"] == record.config_hash
    assert found["weights"] == record.weights
    assert "torch" in found["versions"]
    assert (run_dir / records.FILE_NAME).read_bytes() == record_before


def test_evaluations_are_kept_one_a_line(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated(monkeypatch, run_dir, "data.test_resolution=128") == 0
    assert "(recorded: " in capsys.readouterr().out
    assert evaluated(monkeypatch, run_dir) == 0
    first, second = evaluations(run_dir)
    assert first["overrides"] == ["data.test_resolution=128"]
    assert second["overrides"] == []
    assert first["metrics"] != second["metrics"]


def test_damage_is_one_line_and_status_2(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record, weights = run_dir / "record.json", run_dir / "weights.safetensors"
    whole = record.read_text(), weights.read_bytes()
    for path, content, complaint in (
        (weights, whole[1][:-1] + b"x", "their checksum is not the record's"),
        (weights, b"", "their checksum is not the record's"),
        (record, whole[0].replace('"n_test": 12', '"n_test": 13'), "edited or damaged"),
        (record, whole[0][:500], "Invalid JSON"),
        (record, "", "Invalid JSON"),
    ):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert evaluated(monkeypatch, run_dir) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("kiti-eval: ")
        assert complaint in line
        assert str(path) in line
        record.write_text(whole[0])
        weights.write_bytes(whole[1])
    weights.unlink()
    assert evaluated(monkeypatch, run_dir) == 2
    assert "No such file" in capsys.readouterr().err
    assert not (run_dir / "evaluations.jsonl").exists()


def test_an_override_that_does_not_fit_is_one_line(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for override, complaint in (
        ("data.nosuch=1", "data.nosuch: no such key"),
        ("data=nosuch", "nosuch"),
        ("model.width=24", "of another shape"),
        ("data.n_test=0", "data.n_test=0"),
    ):
        assert evaluated(monkeypatch, run_dir, override) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert complaint in line
