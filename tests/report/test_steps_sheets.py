"""Sheets of steps to a value: what is refused, and their table and figure from records."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from rich.console import Console
from table_cases import KITI, TABLE, VANILLA, build, folder_of, lines_of, recorded, save

from kiti.report import formats, publishing, sheets, tables
from kiti.report.sheets import SheetError
from kiti.storage.records import RecordError

VANILLA_ROW = {"group": "GPT-2", "label": "vanilla", "run": VANILLA}
KITI_ROW = {"group": "GPT-2", "label": "KITI", "run": KITI, "against": "vanilla", "claimed": {"steps": "0.80"}}
SHEET = {
    "kind": "steps_to_value",
    "title": "Steps to the final validation loss",
    "scales": {"smoke": {"seeds": 6}},
    "metric": {"key": "val/loss", "label": "validation loss, nats"},
    "ratios": ["steps", "tokens", "time"],
    "primary": ["KITI"],
    "rows": [VANILLA_ROW, KITI_ROW],
}


@pytest.fixture
def experiments(tmp_path):
    return folder_of(tmp_path, s=SHEET)


def metrics_of(speed=1.0, tokens=4096.0, seed=0):
    steps = np.arange(25, 1001, 25)
    return {"train/tokens_per_step": tokens} | {
        f"val/loss@{step}": 2 + 0.001 * seed + 4 / math.sqrt(1 + speed * step / 10) for step in steps.tolist()
    }


def fill(runs_dir, seeds=6, tokens=4096.0, **changes):
    """KITI takes 0.8 of the steps, each of which is 1.5 times as long."""
    for seed in range(seeds):
        save(recorded(VANILLA, seed, 0.1, metrics=metrics_of(seed=seed), wall_seconds=100.0), runs_dir)
        kiti = {"metrics": metrics_of(1.25, tokens, seed), "wall_seconds": 150.0}
        save(recorded(KITI, seed, 0.1, **(kiti | changes)), runs_dir)


def written(experiments):
    sheet = sheets.load("paper/s", experiments)
    return publishing.outputs(sheet, build("paper/s", experiments))


def rows_of(experiments):
    text = tables.to_csv(build("paper/s", experiments))
    return {(row["row"], row["ratio_of"]): row for row in csv.DictReader(io.StringIO(text))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": SHEET["metric"] | {"higher_is_better": None}}, "requires higher_is_better: true or false"),
        ({"metric": {"label": "loss"}}, "metric.key: Field required"),
        ({"rows": [VANILLA_ROW, KITI_ROW | {"against": "add"}]}, "against 'add', which is not another row"),
        ({"rows": [VANILLA_ROW]}, "GPT-2: no row with `against`, so there is no baseline"),
        ({"rows": [VANILLA_ROW | {"claimed": {"steps": "0.8"}}, KITI_ROW]}, "claimed requires a row in `against`"),
        ({"rows": [VANILLA_ROW, KITI_ROW | {"claimed": {"steps": "20 %"}}]}, "could not convert string to float"),
        ({"ratios": ["time"]}, "row GPT-2/KITI: claimed: steps; the ratios are time"),
        ({"ratios": ["epochs"]}, "'steps', 'tokens' or 'time'"),
        ({"ratios": ["time", "time"]}, "has one of them twice"),
        (
            {"rows": [VANILLA_ROW, KITI_ROW, KITI_ROW | {"label": "noise", "against": "KITI"}]},
            "row GPT-2/noise: against 'KITI', which is not a baseline",
        ),
        ({"rows": [VANILLA_ROW, KITI_ROW, KITI_ROW]}, "duplicate row GPT-2/KITI"),
        ({"rows": [VANILLA_ROW, KITI_ROW | {"must_beat": "vanilla"}]}, "must_beat: Extra inputs are not permitted"),
        ({"rows": [VANILLA_ROW, KITI_ROW | {"run": {"paper": KITI}}]}, "run is given for paper; the scales are smoke"),
    ],
)
def test_a_mistake_in_the_yaml_is_reported_in_one_line(experiments, change, message):
    (experiments / "paper" / "s.yaml").write_text(yaml.safe_dump(SHEET | change))
    with pytest.raises(SheetError) as error:
        sheets.load("paper/s", experiments)
    assert message in str(error.value)
    assert "s.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratios": ["steps"]}, "ratios require exactly one metric, with its `last`"),
        ({"rows": [TABLE["rows"][0] | {"claimed": {"steps": "0.8"}}]}, "only a sheet of kind steps_to_value"),
        ({"metrics": [TABLE["metrics"][0] | {"scales": ["laptop"]}]}, "scales: laptop; the scales are smoke"),
    ],
)
def test_a_plain_table_has_no_ratios(experiments, change, message):
    (experiments / "paper" / "s.yaml").write_text(yaml.safe_dump(TABLE | change))
    with pytest.raises(SheetError, match=message):
        sheets.load("paper/s", experiments)


def test_known_ratios_of_steps_tokens_and_time(runs_dir, experiments):
    fill(runs_dir)
    rows = rows_of(experiments)
    assert list(rows) == [
        *(("vanilla, itself", "steps"), ("vanilla, other seeds", "steps")),
        *(("KITI", "steps tokens"), ("KITI", "time")),
    ]
    steps, time = rows["KITI", "steps tokens"], rows["KITI", "time"]
    assert float(steps["median"]) == pytest.approx(0.8, abs=1e-3)
    assert float(time["median"]) == pytest.approx(1.2, abs=1e-3)
    assert (steps["reached"], steps["n"], steps["ahead"], steps["p"]) == ("6", "6", "6", "0.03125")
    assert (steps["verdict"], time["verdict"]) == ("fewer steps", ""), "it claims steps alone"
    assert (steps["claimed"], time["claimed"]) == ("0.80", "")
    assert float(rows["vanilla, itself", "steps"]["median"]) == 1
    others = rows["vanilla, other seeds", "steps"]
    assert (others["reached"], others["n"]) == ("15", "30")
    assert float(steps["final_mean"]) == pytest.approx(2.0025 + 4 / math.sqrt(126))


def test_tokens_have_their_own_line_where_a_step_has_more_of_them(runs_dir, experiments):
    fill(runs_dir, tokens=6144.0)
    rows = rows_of(experiments)
    assert float(rows["KITI", "steps"]["median"]) == pytest.approx(0.8, abs=1e-3)
    assert float(rows["KITI", "tokens"]["median"]) == pytest.approx(1.2, abs=1e-3)
    assert (rows["KITI", "steps"]["verdict"], rows["KITI", "tokens"]["verdict"]) == ("fewer steps", "")


def test_files_and_their_figure(runs_dir, experiments):
    fill(runs_dir)
    contents = written(experiments)
    assert sorted(contents) == ["csv", "md", "png", "svg", "tex"]
    assert contents == written(experiments), "the bootstrap draws the same numbers"
    text = contents["md"].decode()
    [line] = [line for line in text.splitlines() if "| KITI" in line and "tokens" in line]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("GPT-2", "KITI", "steps, tokens", "0.80 [0.80, 0.80]", "6 of 6", "6 of 6", "0.80", "fewer steps")
    ]
    assert "two-sided sign test" in text
    assert "two-sided paired t-test" not in text
    assert "Published numbers come from the paper's own protocol and are not comparable" in text
    fill(runs_dir, metrics=metrics_of(1.5))
    assert written(experiments)["svg"] != contents["svg"], "it shows the recorded values"


def test_a_value_that_is_not_reached_is_counted(runs_dir, experiments):
    fill(runs_dir, metrics=metrics_of(0.9))
    row = rows_of(experiments)["KITI", "steps tokens"]
    assert (row["reached"], row["n"], row["median"], row["ci_high"]) == ("0", "6", ">1", ">1")
    assert row["verdict"] == "more steps"
    assert ">1.00 [>1.00, >1.00]" in written(experiments)["md"].decode()


def test_rows_of_a_family_are_corrected_together(runs_dir, experiments):
    """Six seeds give p = .031, which is not below .05 twice over."""
    fill(runs_dir)
    noise = KITI_ROW | {"label": "noise"}
    described = SHEET | {"rows": [VANILLA_ROW, KITI_ROW, noise], "primary": ["KITI", "noise"]}
    (experiments / "paper" / "s.yaml").write_text(yaml.safe_dump(described))
    row = rows_of(experiments)["KITI", "steps tokens"]
    assert (row["p"], row["p_corrected"], row["verdict"]) == ("0.03125", "0.0625", "undecided")


def test_three_seeds_are_too_few(runs_dir, experiments):
    fill(runs_dir, seeds=3)
    assert rows_of(experiments)["KITI", "steps tokens"]["verdict"] == "too few seeds to tell"


def test_diverged_runs_have_no_verdict(runs_dir, experiments):
    fill(runs_dir)
    lost = recorded(KITI, 2, 0.1, metrics=metrics_of(1.25) | {"val/loss@500": math.nan}, state="diverged")
    save(lost, runs_dir)
    row = rows_of(experiments)["KITI", "steps tokens time"]
    assert (row["verdict"], row["median"]) == ("diverged (seed 2): no verdict", "")
    save(recorded(VANILLA, 1, 0.1, metrics=metrics_of() | {"val/loss@1000": math.inf}, state="diverged"), runs_dir)
    assert rows_of(experiments)["vanilla", "steps"]["verdict"] == "diverged (seed 1): no verdict"
    assert rows_of(experiments)["KITI", "steps tokens time"]["verdict"] == "diverged (seeds 1, 2): no verdict"
    assert written(experiments)["png"].startswith(b"\x89PNG")


def test_times_of_different_devices_are_not_compared(runs_dir, experiments):
    fill(runs_dir, device_name="Another CPU")
    rows = rows_of(experiments)
    assert rows["KITI", "time"]["verdict"] == "other devices: no verdict"
    assert rows["KITI", "steps tokens"]["verdict"] == "fewer steps"


def test_missing_runs(runs_dir, experiments):
    assert {row["verdict"] for row in rows_of(experiments).values()} == {"not run"}
    assert b"| not run" in written(experiments)["md"]
    fill(runs_dir)
    (experiments / "paper" / "s.yaml").write_text(
        yaml.safe_dump(SHEET | {"rows": [VANILLA_ROW, KITI_ROW | {"not_run": {"smoke": "too dear"}}]})
    )
    assert rows_of(experiments)["KITI", "steps tokens time"]["verdict"] == "not run: too dear"


def test_what_a_record_lacks_is_named_in_one_line(runs_dir, experiments):
    fill(runs_dir)
    without = {key: value for key, value in metrics_of().items() if key != "train/tokens_per_step"}
    save(recorded(KITI, 5, 0.1, metrics=without), runs_dir)
    with pytest.raises(RecordError, match=r"seed 5: no metric 'train/tokens_per_step', which the ratio of tokens"):
        written(experiments)
    unknown = SHEET | {"metric": {"key": "val/los", "label": "loss"}}
    (experiments / "paper" / "s.yaml").write_text(yaml.safe_dump(unknown))
    with pytest.raises(RecordError, match=r"no curve of 'val/los'; there are: val/loss"):
        build("paper/s", experiments)


def test_it_is_published_and_rebuilt(runs_dir, experiments, command, tmp_path):
    fill(runs_dir)
    status, text, errors = command("paper/s", "--scale", "smoke", "--publish")
    assert (status, errors) == (0, "")
    assert "| KITI " in text
    assert command("--rebuild", "--into", str(tmp_path / "again"))[0] == 0
    for path in (tmp_path / "again" / "paper" / "outputs").iterdir():
        original = experiments / "paper" / "outputs" / path.name
        assert path.suffix == ".md" or path.read_bytes() == original.read_bytes()


def test_a_narrow_terminal_breaks_no_interval(runs_dir, experiments):
    fill(runs_dir)
    narrow = Console(width=80, file=io.StringIO())
    formats.show(tables.grid(build("paper/s", experiments)), narrow)
    shown = narrow.file.getvalue().split("•")[0]
    assert "0.80 [0.80, 0.80]" in shown
    assert all(word in shown for word in ("fewer", "steps", "claimed"))
    assert max(map(len, shown.splitlines())) <= 80


def test_a_table_may_show_the_last_values_of_a_curve(runs_dir, tmp_path):
    """The mean of the last two, in percent; metrics that exist only at another scale are left out."""
    metrics = [
        {"key": "val/loss", "label": "final loss", "last": 2, "factor": 100},
        {"key": "test/mse", "label": "MSE", "scales": ["paper"]},
    ]
    rows = [{key: value for key, value in row.items() if key != "published"} for row in TABLE["rows"]]
    scales = TABLE["scales"] | {"paper": {"seeds": 1}}
    experiments = folder_of(tmp_path / "table", t=TABLE | {"metrics": metrics, "rows": rows, "scales": scales})
    falling = {"val/loss@10": 9.0, "val/loss@20": 3.0, "val/loss@30": 1.0}
    save(replace(recorded(VANILLA, 0, 0.1), metrics=falling), runs_dir)
    lines = lines_of(build("paper/t", experiments))
    assert list(lines) == [("FNO", "val/loss", ""), ("KITI-FNO", "val/loss", "FNO")]
    assert lines["FNO", "val/loss", ""].summary.mean == 200
