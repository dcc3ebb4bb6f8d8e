"""From records to published | ours | verdict: what a table shows and what it refuses."""

import csv
import io
import math
from dataclasses import replace

import pytest
import yaml
from table_cases import KITI, TABLE, VANILLA, build, lines_of, markdown, recorded, save

from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.data.burgers_keys import BurgersKeys
from kiti.report import tables
from kiti.report.table_runs import aggregate, require_same_data
from kiti.storage import records
from kiti.storage.records import RecordError


def test_a_table_compares_by_seed(runs_dir, experiments):
    for seed, (ours, baseline) in enumerate([(0.10, 0.20), (0.11, 0.22), (0.09, 0.20)]):
        save(recorded(KITI, seed, ours), runs_dir)
        save(recorded(VANILLA, seed, baseline), runs_dir)
    table = build("paper/t", experiments)
    text = markdown(table)

    line = lines_of(table)["KITI-FNO", "test/relative_l2", "FNO"]
    assert line.verdict == "better"
    assert line.comparison.difference == pytest.approx(-0.32 / 3)
    assert line.printed == pytest.approx(0.00166 / 0.00217 - 1)
    assert line.margin == pytest.approx(-line.printed / 2)
    [row] = [row for row in text.splitlines() if "KITI-FNO" in row and "<br>" in row]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        *("Burgers: relative L2", "KITI-FNO<br>energy ×1.1", "0.00166<br>Δ -23.5 %", "0.100 ± 0.010<br>(n=3)"),
        *("-51.6 %<br>[-58.6, -44.7]", "9.1 %", "better"),
    ]
    [row] = [row for row in text.splitlines() if "KITI-FNO" in row and "-0.107" in row]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        *("Burgers", "KITI-FNO", "relative L2", "0.00166", "0.100 ± 0.010 (n=3)", "FNO"),
        *("-0.107 [-0.121, -0.092]", "-51.6 %", "-23.5 %", "9.1 %", "12 %", "<0.001", "<0.001"),
        *("better", "–", "1.1", "–", "smoke", "–"),
    ]
    assert "data.n_train 40 (1000)" in text
    assert "not comparable with numbers at scale smoke" in text
    assert "Runs: 6 (6 local, 0 committed)" in text
    assert "commit cccccccccc; on Some CPU; torch 2.11.0" in text


def test_missing_runs_are_reported(runs_dir, experiments):
    save(recorded(VANILLA, 1, 0.1), runs_dir)
    lines = lines_of(build("paper/t", experiments))
    assert lines["FNO", "test/mse", ""].summary.n == 1
    text = markdown(build("paper/t", experiments))
    [short] = [row for row in text.splitlines() if "KITI-FNO" in row and "<br>" in row]
    assert short.count("not run") == 1
    [full] = [row for row in text.splitlines() if "KITI-FNO" in row and "MSE" in row]
    assert full.count("not run") == 2
    save(recorded(KITI, 1, 0.2), runs_dir)
    assert "one seed: no verdict" in markdown(build("paper/t", experiments))


def test_a_seed_outside_the_list_does_not_count(runs_dir, experiments):
    save(recorded(VANILLA, 0, 0.1), runs_dir)
    save(recorded(VANILLA, 9, 0.9), runs_dir)
    assert lines_of(build("paper/t", experiments))["FNO", "test/relative_l2", ""].summary.n == 1


def test_a_diverged_seed_is_shown(runs_dir, experiments):
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.2), runs_dir)
        save(recorded(KITI, seed, math.nan if seed == 1 else 0.1), runs_dir)
    text = markdown(build("paper/t", experiments))
    assert "(n=2, 1 diverged)" in text
    assert "diverged (seed 1): no verdict" in text


def test_a_local_record_takes_precedence_over_the_committed_one(runs_dir, experiments):
    committed = [recorded(VANILLA, seed, 0.5) for seed in (0, 1)]
    records.publish(committed, experiments / "paper" / "records" / "burgers-smoke.jsonl")
    save(recorded(VANILLA, 1, 0.1), runs_dir)
    table = build("paper/t", experiments)
    found = lines_of(table)["FNO", "test/relative_l2", ""].filled
    assert {seed: (one.committed, one.record.metrics["test/relative_l2"]) for seed, one in found.records.items()} == {
        0: (True, 0.5),
        1: (False, 0.1),
    }
    assert "Runs: 2 (1 local, 1 committed)" in markdown(table)
    alone = lines_of(build("paper/t", experiments, local=False))["FNO", "test/relative_l2", ""]
    assert alone.summary.mean == 0.5


def test_records_of_two_configurations_are_not_averaged(runs_dir):
    ours, other = (recorded([*KITI, f"residual.coll_coef={c}"], seed, 0.1) for seed, c in enumerate((0.5, 0.25)))
    with pytest.raises(RecordError) as error:
        aggregate([ours, other], "test/mse")
    for part in (ours.config_hash, other.config_hash, "residual.coll_coef: 0.5 and 0.25"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_record_in_another_configurations_folder_is_refused(runs_dir, experiments):
    stray = recorded([*KITI, "residual.coll_coef=0.25"], 0, 0.1)
    records.write(stray, compose([*KITI, "scale=smoke", "seed=0"]).run_dir)
    with pytest.raises(RecordError, match=rf"seed-0/record.json: belongs to configuration {stray.config_hash}"):
        build("paper/t", experiments)
    misplaced = recorded(KITI, 4, 0.1)
    records.write(misplaced, compose([*KITI, "scale=smoke", "seed=0"]).run_dir)
    with pytest.raises(RecordError, match=r"seed-0/record.json: belongs to burgers, seed 4"):
        build("paper/t", experiments)


@pytest.mark.parametrize("what", ["content", "split"])
def test_records_of_different_data_are_not_compared(runs_dir, experiments, what):
    save(recorded(VANILLA, 0, 0.1), runs_dir)
    ours = recorded(KITI, 0, 0.1)
    save(replace(ours, data=replace(ours.data, **{what: "another"})), runs_dir)
    with pytest.raises(RecordError, match=f"{what} .* and another"):
        build("paper/t", experiments)


def test_data_of_one_recipe_compare_across_processors(runs_dir, experiments):
    base, ours = recorded(VANILLA, 0, 0.1), recorded(KITI, 0, 0.1)
    save(replace(base, data=replace(base.data, recipe="a")), runs_dir)
    save(replace(ours, data=replace(ours.data, recipe="a", content="another")), runs_dir)
    build("paper/t", experiments)


PER_SEED = "data.draw=per_seed"


def drawn(overrides, seed, content):
    record = recorded([*overrides, PER_SEED], seed, 0.1)
    return replace(record, data=replace(record.data, recipe=content))


def test_data_drawn_per_seed_must_agree_within_a_seed():
    same = [drawn(run, seed, f"recipe of {seed}") for seed in (0, 1) for run in (VANILLA, KITI)]
    require_same_data(same, "run it again")
    with pytest.raises(RecordError, match="content recipe of 1 and another"):
        require_same_data([*same[:3], drawn(KITI, 1, "another")], "run it again")


def test_fixed_data_must_agree_over_all_seeds():
    one, other = recorded(VANILLA, 0, 0.1), recorded(VANILLA, 1, 0.1)
    other = replace(other, data=replace(other.data, content="another"))
    with pytest.raises(RecordError, match="content d1 and another"):
        require_same_data([one, other], "run it again")


@pytest.mark.parametrize("turn", [1, -1])
def test_fixed_data_are_not_compared_with_data_drawn_per_seed(turn):
    both = [recorded(VANILLA, 0, 0.1), drawn(KITI, 1, "recipe of 1")][::turn]
    with pytest.raises(RecordError, match=r"data.draw is (fixed and per_seed|per_seed and fixed); run it again"):
        require_same_data(both, "run it again")


def test_a_missing_metric_is_named(runs_dir):
    with pytest.raises(RecordError, match=r"no metric 'test/accuracy'; it has: test/relative_l2"):
        aggregate([recorded(VANILLA, 0, 0.1)], "test/accuracy")


def test_several_printed_metrics_and_one_that_is_neither_good_nor_bad(runs_dir, experiments):
    metrics = [m | {"published": True, "higher_is_better": None} for m in TABLE["metrics"]]
    digits = [{"relative L2": "0.1", "MSE": "0.2"}, {"relative L2": "0.3"}]
    rows = [row | {"published": printed} for row, printed in zip(TABLE["rows"], digits, strict=True)]
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"metrics": metrics, "rows": rows}))
    for seed in range(3):
        save(recorded(KITI, seed, 0.10 + 0.01 * seed), runs_dir)
        save(recorded(VANILLA, seed, 0.20 + 0.02 * seed), runs_dir)
    table = build("paper/t", experiments)
    line = lines_of(table)["KITI-FNO", "test/relative_l2", "FNO"]
    assert line.verdict == "equivalent"  # the printed difference is +200 %, the margin half of that
    assert line.printed == pytest.approx(2.0)
    other = lines_of(table)["KITI-FNO", "test/mse", "FNO"]
    assert math.isnan(other.printed)
    assert other.verdict == "lower"
    cells = [[cell.strip() for cell in row.split("|")] for row in markdown(table).splitlines()]
    # Of the full view, whose first column is the problem alone.
    printed = {(row[2], row[3]): row[4] for row in cells if len(row) > 5 and row[1] == "Burgers"}
    assert printed == {
        ("FNO", "relative L2"): "0.1",
        ("FNO", "MSE"): "0.2",
        ("KITI-FNO", "relative L2"): "0.3",
        ("KITI-FNO", "MSE"): "–",
    }


def test_a_change_is_printed_without_values(runs_dir, experiments):
    plain = {key: value for key, value in TABLE["rows"][0].items() if key != "published"}
    kiti = {key: value for key, value in TABLE["rows"][1].items() if key != "published"}
    rows = [plain, kiti | {"published_relative": -0.068, "against": ["FNO", "other"]}, plain | {"label": "other"}]
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": rows}))
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.2 + 0.02 * seed), runs_dir)
        save(recorded(KITI, seed, 0.2 + 0.03 * seed), runs_dir)
    table = build("paper/t", experiments)
    lines = {(line.filled.row.label, line.metric.key, line.against): line for line in table.lines}
    assert lines["KITI-FNO", "test/relative_l2", "FNO"].printed == -0.068
    assert math.isnan(lines["KITI-FNO", "test/relative_l2", "other"].printed)
    assert math.isnan(lines["KITI-FNO", "test/mse", "FNO"].printed)
    assert "Δ -6.8 %" in markdown(table)
    assert any("not comparable" in note for note in table.notes)


def test_a_row_may_show_another_metric_of_a_run(runs_dir, experiments):
    trivial = {"group": "Burgers", "label": "trivial", "run": VANILLA, "keys": {"test/mse": "train/relative_l2"}}
    rows = [trivial, TABLE["rows"][0] | {"against": "trivial"}]
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": rows, "primary": []}))
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.2 + 0.02 * seed), runs_dir)
    table = build("paper/t", experiments)
    shown = {line.filled.row.label: line.summary.mean for line in table.lines if line.metric.key == "test/mse"}
    assert shown == {"trivial": pytest.approx(0.11), "FNO": pytest.approx(0.0487, abs=1e-4)}
    found = {(row["row"], row["metric"]) for row in csv.DictReader(io.StringIO(tables.to_csv(table)))}
    assert ("trivial", "train/relative_l2") in found


@pytest.mark.parametrize(("trivial_is", "expected"), [("train/relative_l2", "not learnt"), ("test/mse", "better")])
def test_no_verdict_on_networks_that_do_not_beat_the_trivial_predictor(runs_dir, experiments, trivial_is, expected):
    """In these records the training error is half the test error, and the MSE its square, here above it."""
    keys = {"test/relative_l2": trivial_is, "test/mse": trivial_is}
    trivial = {"group": "Burgers", "label": "trivial", "run": VANILLA, "keys": keys}
    vanilla, kiti = TABLE["rows"]
    rows = [trivial, vanilla | {"must_beat": "trivial"}, kiti]
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": rows}))
    for seed in range(3):
        save(recorded(VANILLA, seed, 1.3 + 0.02 * seed), runs_dir)
        save(recorded(KITI, seed, 0.7 + 0.021 * seed), runs_dir)
    lines = csv.DictReader(io.StringIO(tables.to_csv(build("paper/t", experiments))))
    found = {(line["row"], line["metric"]): line["verdict"] for line in lines}
    assert found["FNO", "test/relative_l2"] == ("not learnt" if expected == "not learnt" else "")
    assert found["KITI-FNO", "test/relative_l2"] == expected
    assert found["trivial", trivial_is] == ""


def test_a_row_that_does_not_exist_at_a_scale_says_why(runs_dir, experiments):
    other = {"group": "Burgers", "label": "other", "run": ["experiment=burgers", "model.width=4"]}
    rows = [*TABLE["rows"], other | {"not_run": {"smoke": "only at scale=paper"}}]
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": rows}))
    lines = csv.DictReader(io.StringIO(tables.to_csv(build("paper/t", experiments))))
    verdicts = {line["row"]: line["verdict"] for line in lines}
    assert verdicts["other"] == "not run: only at scale=paper"
    assert verdicts["FNO"] == "not run"


def test_problems_with_different_metrics_and_runs_that_differ_by_scale(runs_dir, experiments):
    rows = [
        TABLE["rows"][0],
        {"group": "Other", "label": "FNO", "run": {"smoke": KITI}, "published": "16.4"},
    ]
    rmse = {"key": "train/relative_l2", "label": "RMSE", "published": True, "of": ["Other"]}
    metrics = [metric | {"of": ["Burgers"]} for metric in TABLE["metrics"]] + [rmse]
    (experiments / "paper" / "t.yaml").write_text(
        yaml.safe_dump(TABLE | {"rows": rows, "metrics": metrics, "primary": []})
    )
    save(recorded(VANILLA, 0, 0.2), runs_dir)
    save(recorded(KITI, 0, 0.1), runs_dir)
    found = [
        (line.filled.row.group, line.metric.label, line.summary.mean) for line in build("paper/t", experiments).lines
    ]
    assert found == [("Burgers", "relative L2", 0.2), ("Burgers", "MSE", pytest.approx(0.04)), ("Other", "RMSE", 0.05)]
    written = list(csv.DictReader(io.StringIO(tables.to_csv(build("paper/t", experiments)))))
    assert [row["published"] for row in written] == ["0.00217", "", "16.4"]


def test_a_row_that_does_not_compose_is_named(experiments):
    rows = [TABLE["rows"][0] | {"run": ["experiment=burgers", "residual=kitti"]}]
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": rows, "primary": []}))
    with pytest.raises(ConfigError, match=r"row Burgers/FNO: .*kitti"):
        build("paper/t", experiments)


def test_records_of_different_code_get_a_footnote(runs_dir, experiments):
    """With the same revision they are averaged; a footnote says that their sources differ."""
    for seed, fingerprint in enumerate(({"data": "a1", "model": "m1"}, {"data": "b2", "model": "m1"}, None)):
        save(recorded(VANILLA, seed, 0.1 + 0.01 * seed, fingerprint=fingerprint), runs_dir)
    table = build("paper/t", experiments)
    assert [note for note in table.notes if note.startswith("Code:")] == [
        "Code: the records of data=burgers come from 3 versions of its source, of one revision: a1 (1), b2 (1), "
        "unknown (1).",
        "Code: the records of model=fno1d come from 2 versions of its source, of one revision: m1 (2), unknown (1).",
    ]


def test_records_of_the_same_code_get_no_footnote(runs_dir, experiments):
    for fingerprint, overrides in ((None, VANILLA), ({"data": "a1"}, VANILLA)):
        for seed in range(3):
            save(recorded(overrides, seed, 0.1 + 0.01 * seed, fingerprint=fingerprint), runs_dir)
        assert not [note for note in build("paper/t", experiments).notes if note.startswith("Code:")]


def test_records_of_another_revision_are_not_averaged(runs_dir, experiments, monkeypatch):
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.1 + 0.01 * seed), runs_dir)
    committed = [recorded(VANILLA, seed, 0.1) for seed in range(3)]
    committed[0] = replace(committed[0], config=committed[0].config | {"logger": {}})  # does not affect a result
    records.publish(committed, experiments / "paper" / "records" / "burgers-smoke.jsonl")
    monkeypatch.setattr(BurgersKeys, "revision", 2)
    table = build("paper/t", experiments)
    assert lines_of(table)["FNO", "test/relative_l2", ""].summary.n == 0
    [note] = [note for note in table.notes if note.startswith("Not used:")]
    assert note.startswith("Not used: 3 records of other revisions (data 1, ")
