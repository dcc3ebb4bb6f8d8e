"""kiti-table --run: which runs a table lacks, what it reads, and what it says of them."""

import textwrap
from dataclasses import replace

import pytest
import yaml
from record_cases import make_record
from table_cases import save

from kiti.cli.table_command import main
from kiti.configuration.compose import compose
from kiti.configuration.identity import revisions
from kiti.launching import launch as launching
from kiti.launching.launch import Run
from kiti.report.table_runs import TableRun
from kiti.storage import records

# Replaces kiti.train: writes a record with the error 0.1 + seed, unless told to fail on this seed.
TRAIN = textwrap.dedent(
    """
    import os, shutil, sys
    from pathlib import Path
    assignments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    seed = int(assignments["seed"])
    with open(os.environ["FAKE_STARTS"], "a") as starts:
        starts.write(" ".join(sys.argv[1:]) + "\\n")
    if os.environ.get("FAKE_FAILS") == str(seed):
        sys.exit("RuntimeError: out of luck")
    made = Path(os.environ["FAKE_RECORDS"]) / f"{assignments.get('residual', 'add')}-{seed}"
    target = Path(made.read_text())
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made.with_suffix(".json"), target)
    """
)
TABLE = {
    "kind": "table",
    "title": "A table",
    "scales": {"smoke": {"seeds": [0, 1]}},
    "primary": ["KITI"],
    "metrics": [{"key": "test/mse", "label": "MSE"}],
    "rows": [
        {"group": "B", "label": "FNO", "run": ["experiment=burgers", "residual=add"]},
        {"group": "B", "label": "KITI", "run": ["experiment=burgers", "residual=kiti"], "against": "FNO"},
    ],
}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """An experiments folder with the table `p/t`, and a kiti.train that writes prepared records. Returns its starts."""
    (tmp_path / "experiments" / "p").mkdir(parents=True)
    (tmp_path / "experiments" / "p" / "t.yaml").write_text(yaml.safe_dump(TABLE))
    monkeypatch.setenv("KITI_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("FAKE_RECORDS", str(tmp_path / "prepared"))
    monkeypatch.setenv("FAKE_STARTS", str(tmp_path / "starts"))
    for residual in ("add", "kiti"):
        for seed in (0, 1):
            composed = compose(["experiment=burgers", f"residual={residual}", "scale=smoke", f"seed={seed}"])
            record = make_record(
                seed,
                config_hash=composed.hash,
                config=composed.config,
                revisions=revisions(composed.checked),
                metrics={"test/mse": 0.1 + seed},
            )
            prepared = tmp_path / "prepared" / f"{residual}-{seed}"
            records.write(record, tmp_path).rename(tmp_path / "one.json")
            prepared.parent.mkdir(exist_ok=True)
            (tmp_path / "one.json").rename(prepared.with_suffix(".json"))
            prepared.write_text(str(composed.run_dir / "record.json"))
    fake = tmp_path / "fake.py"
    fake.write_text(TRAIN)
    start = launching._run

    def fake_run(cell, seed):
        run = start(cell, seed)
        assert run.command[:2] == ("-m", "kiti.train")
        return Run(run.name, (str(fake), *run.command[2:]), run.run_dirs, run.log)

    monkeypatch.setattr(launching, "_run", fake_run)
    return lambda: (tmp_path / "starts").read_text().splitlines() if (tmp_path / "starts").exists() else []


def kiti_table(tmp_path, *arguments):
    with pytest.raises(SystemExit) as exit_info:
        main(["p/t", "--scale", "smoke", "--experiments", str(tmp_path / "experiments"), *arguments])
    return exit_info.value.code


def test_kiti_table_runs_only_what_is_missing(tmp_path, trained, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_FAILS", "1")
    assert kiti_table(tmp_path, "--run", "--jobs", "2") == 1
    output = capsys.readouterr()
    assert len(trained()) == 4
    assert "experiment=burgers residual=add scale=smoke seed=0" in trained()
    failures = [line for line in output.err.splitlines() if line.startswith("failed: burgers residual=")]
    assert len(failures) == 2
    assert all("RuntimeError: out of luck (log: " in line for line in failures)
    assert "one seed: no verdict" in output.out

    monkeypatch.delenv("FAKE_FAILS")
    assert kiti_table(tmp_path, "--run") == 0
    assert sorted(line.split()[-1] for line in trained()[4:]) == ["seed=1", "seed=1"]
    output = capsys.readouterr()
    assert "undecided" in output.out
    assert "[2/2]" in output.err
    outputs = sorted(path.name for path in (tmp_path / "runs" / "tables" / "p").iterdir())
    assert outputs == ["t.smoke.csv", "t.smoke.md", "t.smoke.tex"]
    assert (tmp_path / "runs" / "tables" / "p" / "t.smoke.md").read_text() == output.out

    assert kiti_table(tmp_path, "--run") == 0
    assert len(trained()) == 6


def test_without_run_it_only_reads(tmp_path, trained):
    assert kiti_table(tmp_path) == 0
    assert trained() == []
    assert not (tmp_path / "runs").exists()


def test_a_committed_record_is_not_a_local_run(tmp_path, trained, capsys):
    prepared = [records.read(path) for path in sorted((tmp_path / "prepared").glob("*.json"))]
    records.publish(prepared, tmp_path / "experiments" / "p" / "records" / "burgers-smoke.jsonl")
    assert kiti_table(tmp_path) == 0
    assert "Runs: 4 (0 local, 4 committed)" in capsys.readouterr().out
    assert kiti_table(tmp_path, "--run") == 0
    assert len(trained()) == 4
    assert "Runs: 4 (4 local, 0 committed)" in capsys.readouterr().out


def test_a_damaged_local_record_is_named_and_run_again(tmp_path, trained, capsys):
    assert kiti_table(tmp_path, "--run") == 0
    capsys.readouterr()
    [path, *_] = sorted((tmp_path / "runs").rglob("record.json"))
    whole = path.read_text()
    for damaged in (
        "",
        whole[:100],
        whole.replace('"seed": 0', '"seed": 7'),
        whole.replace('"n_train": 40', '"n_train": 41'),
    ):
        assert damaged != whole
        path.write_text(damaged)
        assert kiti_table(tmp_path) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert str(path) in line
    before = len(trained())
    assert kiti_table(tmp_path, "--run") == 0
    assert len(trained()) == before + 1
    assert path.read_text() == whole


def test_seeds_that_one_process_can_train_share_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("KITI_RUNS_DIR", str(tmp_path / "runs"))
    one = ("experiment=condensation_fc", "scale=paper")
    other = ("experiment=burgers", "scale=smoke")
    cells = {overrides: TableRun(overrides, compose(overrides), (0, 1, 2, 3)) for overrides in (one, other)}
    finished = cells[one].composed
    of_run = {"config_hash": finished.hash, "config": finished.config, "revisions": revisions(finished.checked)}
    save(make_record(2, experiment="condensation_fc", metrics={"test/mse": 0.1}, **of_run), tmp_path / "runs")
    for seed, content in ((0, ""), (1, "{}")):  # damaged, so they are run again
        damaged = cells[one].run_dir(seed) / "record.json"
        damaged.parent.mkdir(parents=True)
        damaged.write_text(content)
    found = launching.missing_runs(cells)
    output = [(run.command[2], run.command[4:], len(run.run_dirs)) for run in found]
    assert output == [
        ("experiment=condensation_fc", ("seed=0", "replicas=2"), 2),
        ("experiment=burgers", ("seed=0",), 1),
        ("experiment=burgers", ("seed=1",), 1),
        ("experiment=burgers", ("seed=2",), 1),
        ("experiment=condensation_fc", ("seed=3",), 1),
        ("experiment=burgers", ("seed=3",), 1),
    ]
    with_more = {overrides: replace(cell, seeds=(0, 1, 2, 3, 4)) for overrides, cell in cells.items()}
    more = launching.missing_runs({one: replace(cells[one], seeds=(3,))}, with_more)
    assert [run.command[4:] for run in more if run.command[2] == one[0]] == [
        ("seed=3", "replicas=2"),
        ("seed=0", "replicas=2"),
    ], "runs of one configuration for two tables are trained together"
    assert found[0].run_dirs == (cells[one].run_dir(0), cells[one].run_dir(1))
    in_batches = ("experiment=condensation_fc", "scale=smoke")  # whose order depends on the seed
    apart = launching.missing_runs({in_batches: TableRun(in_batches, compose(in_batches), (0, 1))})
    assert [run.command[4:] for run in apart] == [("seed=0",), ("seed=1",)]
