"""A schema 1 record becomes schema 2 with the hash of the current configuration; measured values do not change."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from script_cases import script

from kiti.configuration.compose import compose
from kiti.storage import records

migrate_records = script("migrate_records")
RUN = ["experiment=condensation_ko", "scale=paper", "collision=soft"]


def old_record(seed: int) -> dict:
    """As kiti wrote it before units had names: old import paths, fewer keys, two with other names."""
    composed = compose([*RUN, f"seed={seed}"])
    config = json.loads(json.dumps(composed.config))
    for group, old in {
        "data": "kiti.data.sine_sum.SineSumData",
        "model": "kiti.models.chain.Chain",
        "task": "kiti.tasks.regression.Regression",
        "residual": "kiti.residual.Add",
        "collision": "kiti.ko.KO",
        "optimizer": "torch.optim.Adam",
        "trainer": "pytorch_lightning.Trainer",
        "logger": "kiti.logs.csv",
    }.items():
        del config[group]["unit"]
        config[group]["_target_"] = old
    config["collision"] |= {"params": config["collision"].pop("neurons"), "seed": seed, "_partial_": True}
    config["gas"] = config.pop("collision_defaults")
    config["callbacks"] = {"progress": {"_target_": "kiti.progress.Progress"}}
    del config["averaging"], config["gas"]["system_axis"]
    return {
        "schema": 1,
        "experiment": "condensation_ko",
        "scale": "paper",
        "seed": seed,
        "config_hash": "27d14ffe2b44",
        "config": config,
        "overrides": [*RUN, "gas.coll_coef=0.5", "data_dir=/home/me"],
        "git": {"commit": "c" * 40, "dirty": False, "diff": ""},
        "versions": {"torch": "2.15.0"},
        "data": {"content": "d", "split": "train 80, test 1000", "stand_in": None, "recipe": "r"},
        "device": "cpu",
        "device_name": "Some CPU",
        "precision": "32-true",
        "world_size": 1,
        "started": "2026-11-22T16:29:26+00:00",
        "wall_seconds": 0.7,
        "train_samples_per_second": 100.0,
        "peak_memory_mib": 1.0,
        "parameters": 2901,
        "flops_per_sample": 5600.0,
        "metrics": {"test/mse": 1.25, "rho": None if seed else 0.5},
        "collisions": None,
        "implementations": None,
        "ko": {"fc": 0.1},
        "replicas": 100,
    }


def test_committed_records_and_examples(tmp_path: Path) -> None:
    folder = tmp_path / "ko" / "records"
    folder.mkdir(parents=True)
    path = folder / "condensation_ko-paper.jsonl"
    path.write_text("".join(json.dumps(old_record(seed)) + "\n" for seed in range(2)))
    save_file({"27d14ffe2b44/seed-0/prediction": np.ones(3)}, folder / "examples-paper.safetensors")
    hashes = migrate_records.migrate_committed(path)
    migrate_records.migrate_examples(folder / "examples-paper.safetensors", hashes)
    composed = compose(RUN)
    found = records.read_lines(path)
    assert [record.config_hash for record in found] == [composed.hash] * 2
    assert [record.state for record in found] == ["finished", "diverged"]
    first = found[0]
    for key in first.config.keys() - {"callbacks"}:
        assert first.config[key] == composed.config[key], key
    assert first.config["callbacks"].keys() == composed.config["callbacks"].keys()
    assert first.overrides == [*RUN, "collision_defaults.coll_coef=0.5"]
    assert first.metrics == old_record(0)["metrics"]
    assert (first.wall_seconds, first.replicas, first.ko) == (0.7, 100, {"fc": 0.1})
    assert first.fingerprint is None
    assert set(load_file(folder / "examples-paper.safetensors")) == {f"{composed.hash}/seed-0/prediction"}
    content = path.read_bytes()
    assert migrate_records.migrate_committed(path) == {composed.hash: composed.hash}
    assert path.read_bytes() == content


def test_a_local_run_moves_to_its_new_hash(tmp_path: Path) -> None:
    old = tmp_path / "condensation_ko" / "27d14ffe2b44" / "seed-0"
    old.mkdir(parents=True)
    (old / "weights.safetensors").write_bytes(b"weights")
    (old / "record.json").write_text(json.dumps(old_record(0)))
    migrate_records.migrate_run(old / "record.json")
    new = tmp_path / "condensation_ko" / compose(RUN).hash / "seed-0"
    assert records.read(new / "record.json").config_hash == compose(RUN).hash
    assert (new / "weights.safetensors").read_bytes() == b"weights"
    assert not old.exists()


def test_an_unrecognised_run_is_left_alone(tmp_path: Path, capsys) -> None:
    path = tmp_path / "condensation_ko" / "27d14ffe2b44" / "seed-0" / "record.json"
    path.parent.mkdir(parents=True)
    broken = old_record(0)
    broken["config"]["data"]["d"] = "five"
    path.write_text(json.dumps(broken))
    migrate_records.migrate_run(path)
    assert "unchanged" in capsys.readouterr().err
    assert json.loads(path.read_text())["schema"] == 1
