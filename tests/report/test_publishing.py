"""Committed records and outputs: published, updated, and rebuilt byte for byte from records alone."""

import json
import os
import shutil

import yaml
from table_cases import TABLE, VANILLA, fill_figure, recorded, save

from kiti.report import publishing, sheets, tables
from kiti.report.table_runs import Archive, plan
from kiti.storage import records


def test_publishing_and_rebuilding(runs_dir, experiments, tmp_path, command):
    fill_figure(runs_dir)
    for name in ("paper/f", "paper/t"):
        status, _, errors = command(name, "--scale", "smoke", "--publish")
        assert (status, errors) == (0, "")
    assert sorted(path.name for path in (experiments / "paper").iterdir()) == ["f.yaml", "outputs", "records", "t.yaml"]
    assert sorted(path.name for path in (experiments / "paper" / "outputs").iterdir()) == [
        *("f.smoke.csv", "f.smoke.md", "f.smoke.png", "f.smoke.svg"),
        *("t.smoke.csv", "t.smoke.md", "t.smoke.tex"),
        *("verdicts.png", "verdicts.svg"),
    ]
    lines = (experiments / "paper" / "records" / "burgers-smoke.jsonl").read_text().splitlines()
    # collision_heads=8 is also the table's KITI-FNO: 3 configurations of 3 seeds.
    assert len({(json.loads(line)["config_hash"], json.loads(line)["seed"]) for line in lines}) == len(lines) == 9
    assert "Runs: 6 (0 local, 6 committed)" in (experiments / "paper" / "outputs" / "t.smoke.md").read_text()

    os.rename(runs_dir, runs_dir.with_name("gone"))
    status, listed, _ = command("--rebuild", "--into", str(tmp_path / "again"))
    assert status == 0
    assert len(listed.splitlines()) == 9
    for path in (tmp_path / "again" / "paper" / "outputs").iterdir():
        assert path.read_bytes() == (experiments / "paper" / "outputs" / path.name).read_bytes()


def test_publishing_updates_outputs_that_share_records(runs_dir, experiments, command):
    fill_figure(runs_dir)
    for name in ("paper/f", "paper/t"):
        assert command(name, "--scale", "smoke", "--publish")[0] == 0
    before = (experiments / "paper" / "outputs" / "f.smoke.csv").read_bytes()
    save(recorded(VANILLA, 0, 0.9), runs_dir)
    assert command("paper/t", "--scale", "smoke", "--publish")[0] == 0
    assert (experiments / "paper" / "outputs" / "f.smoke.csv").read_bytes() != before


def test_several_tables_at_once(runs_dir, experiments, command):
    (experiments / "paper" / "u.yaml").write_text(yaml.safe_dump(TABLE | {"title": "Another table"}))
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.2 + 0.02 * seed), runs_dir)
    status, text, _ = command("paper/t", "paper/u", "paper/t", "--scale", "smoke", "--publish")
    assert status == 0
    assert [line for line in text.splitlines() if line.startswith("# ")] == [
        "# A table (scale smoke)",
        "# Another table (scale smoke)",
    ]
    assert len((experiments / "paper" / "records" / "burgers-smoke.jsonl").read_text().splitlines()) == 3
    assert {path.name for path in (experiments / "paper" / "outputs").glob("*.md")} == {"t.smoke.md", "u.smoke.md"}
    shutil.rmtree(runs_dir)
    status, _, stderr = command("paper/t", "paper/u", "--scale", "smoke", "--publish")
    assert (status, stderr.count("\n")) == (2, 1)
    assert "paper/t at scale smoke, paper/u at scale smoke: all records are committed already" in stderr


def test_publishing_nothing_is_an_error(runs_dir, experiments, command):
    status, _, stderr = command("paper/t", "--scale", "smoke", "--publish")
    assert status == 2
    assert "no records on this machine; create them with --run" in stderr


def test_committed_outputs_rebuild_identically(tmp_path):
    """`make tables` changes nothing: committed outputs match their records under the current code and config."""
    publishing.rebuild(sheets.EXPERIMENTS, tmp_path)
    committed = sheets.committed(sheets.EXPERIMENTS)
    assert bool(committed) == any(sheets.EXPERIMENTS.glob("*/records/*.jsonl"))
    for name, scale in committed:
        beside = sheets.outputs_stem(name, sheets.EXPERIMENTS)
        kept = {path.name for path in beside.parent.glob(f"{beside.name}.{scale}.*")}
        rebuilt = {
            path.name: path for path in sheets.outputs_stem(name, tmp_path).parent.glob(f"{beside.name}.{scale}.*")
        }
        assert kept == set(rebuilt)
        for file, path in rebuilt.items():
            original = (beside.parent / file).read_bytes()
            if path.suffix in {".png", ".svg"}:  # fonts differ from machine to machine
                assert len(original) > 10_000
                assert path.suffix == ".svg" or original.startswith(b"\x89PNG")
            else:
                assert path.read_bytes() == original, f"{beside.parent / file}: run `make tables` and look at the diff"


def test_every_committed_record_is_used_by_a_committed_output():
    used = set()
    for name, scale in sheets.committed(sheets.EXPERIMENTS):
        spec = sheets.load(name, sheets.EXPERIMENTS).table(scale)
        archive = Archive.of_paper((sheets.EXPERIMENTS / name).parent, local=False)
        table = tables.build(name, spec, scale, plan(spec, scale), archive)
        used |= {(line.filled.config_hash, seed) for line in table.lines for seed in line.filled.records}
    files = sheets.EXPERIMENTS.glob("*/records/*.jsonl")
    assert {(record.config_hash, record.seed) for file in files for record in records.read_lines(file)} == used
