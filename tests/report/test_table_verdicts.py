"""What decides in a table: families, margins, trivial predictors, planned seeds; and how much collided."""

import csv
import io

import pytest
import yaml
from table_cases import KITI, TABLE, VANILLA, build, lines_of, markdown, recorded, save

from kiti.report import tables


def test_a_family_is_corrected_together_and_others_get_no_verdict(runs_dir, experiments):
    """Two comparisons with p about .03 each are better alone, and undecided together."""
    vanilla, kiti = (row | {"published": digits} for row, digits in zip(TABLE["rows"], ("0.1", "0.2"), strict=True))
    vanilla, kiti = ({key: row[key] for key in row if key != "published"} for row in (vanilla, kiti))
    other = kiti | {"label": "other", "run": [*KITI[:2], "residual.collision_heads=4"]}
    metrics = [{"key": "test/relative_l2", "label": "relative L2"}]
    described = TABLE | {"metrics": metrics, "rows": [vanilla, kiti, other]}
    for seed, (a, b) in enumerate([(0.011, 0.010), (0.02, 0.019), (0.012, 0.013)]):
        save(recorded(VANILLA, seed, 0.2), runs_dir)
        save(recorded(KITI, seed, 0.2 - a), runs_dir)
        save(recorded(other["run"], seed, 0.2 - b), runs_dir)

    def verdicts(primary):
        (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(described | {"primary": primary}))
        return {line.filled.row.label: (line.verdict, line.p_corrected) for line in build("paper/t", experiments).lines}

    alone = verdicts(["KITI-FNO"])
    assert alone["KITI-FNO"][0] == "better"
    assert alone["other"][0] == ""
    together = verdicts(["KITI-FNO", "other"])
    least = min(line.comparison.p for line in build("paper/t", experiments).lines if line.comparison)
    assert min(together[row][1] for row in ("KITI-FNO", "other")) == pytest.approx(2 * least)
    assert together["KITI-FNO"][0] == "undecided"
    assert together["other"][0] == "undecided"


def test_a_row_declares_the_difference_that_does_not_matter(runs_dir, experiments):
    vanilla, kiti = TABLE["rows"]
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.2), runs_dir)
        save(recorded(KITI, seed, 0.19 + 0.001 * seed), runs_dir)

    def verdict(**changes):
        (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": [vanilla, kiti | changes]}))
        return lines_of(build("paper/t", experiments))["KITI-FNO", "test/relative_l2", "FNO"].verdict

    assert verdict() == "equivalent"  # within half of the printed 23.5 %
    assert verdict(margin=0.01) == "better"


def test_the_best_of_several_trivial_predictors_is_shown(runs_dir, experiments):
    keys = {"test/relative_l2": ["test/relative_l2", "train/relative_l2"]}
    trivial = {"group": "Burgers", "label": "best trivial", "run": VANILLA, "keys": keys, "only_keys": True}
    metrics = [metric | {"must_beat_by": 0.5} for metric in TABLE["metrics"]]
    rows = [trivial, TABLE["rows"][0] | {"must_beat": "best trivial"}, TABLE["rows"][1]]
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": rows, "metrics": metrics}))
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.2 + 0.01 * seed), runs_dir)
        save(recorded(KITI, seed, 0.01 + 0.001 * seed), runs_dir)
    found = lines_of(build("paper/t", experiments))
    assert found["best trivial", "test/relative_l2", ""].summary.mean == pytest.approx(0.105)
    assert not found["FNO", "test/relative_l2", ""].learnt
    assert found["KITI-FNO", "test/relative_l2", "FNO"].verdict == "not learnt"


def test_the_result_rests_on_the_planned_seeds_and_leaves_the_pilot_out(runs_dir, experiments):
    scales = {"smoke": {"seeds": [0, 1], "planned": {"Burgers": 3}}}
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"scales": scales}))
    for seed in range(5):
        save(recorded(VANILLA, seed, 0.2 if seed > 1 else 9.0), runs_dir)
        save(recorded(KITI, seed, 0.1 + 0.001 * seed), runs_dir)
    table = build("paper/t", experiments)
    line = lines_of(table)["FNO", "test/relative_l2", ""]
    assert sorted(line.filled.records) == [2, 3, 4]
    assert line.summary.mean == pytest.approx(0.2)
    assert any(note.startswith("Seeds: Burgers 2–4, as calculated from a pilot of seeds 0, 1") for note in table.notes)


def test_how_much_collided_stands_under_the_result_and_what_is_odd_is_marked(runs_dir, experiments):
    modules = {
        "layers.0": {"partners": 0.01, "pairs": 0.04, "particles": 8.0, "energy_ratio": 1.01},
        "layers.1": {"partners": 0.02, "pairs": 0.08, "particles": 8.0, "energy_ratio": 2.49},
    }
    for seed in range(2):
        save(recorded(VANILLA, seed, 0.2, collisions={}), runs_dir)
        save(recorded(KITI, seed, 0.1 + 0.01 * seed, collisions=modules), runs_dir)
    table = build("paper/t", experiments)
    [short] = [row for row in markdown(table).splitlines() if "KITI-FNO" in row and "<br>" in row]
    label = short.strip("|").split("|")[1].strip()
    almost = "! almost no collisions (0.06 pairs a system)"
    assert label == f"KITI-FNO<br>0.06 pairs, energy ×1.75<br>{almost}<br>! energy ×2.5"
    assert "layers.0 0.04 ×1.01, layers.1 0.08 ×2.49." in markdown(table)
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(tables.to_csv(table)))}
    assert (lines["KITI-FNO"]["pairs_per_system"], lines["KITI-FNO"]["energy_ratio"]) == ("0.06", "1.75")
    assert lines["KITI-FNO"]["marks"] == "almost no collisions (0.06 pairs a system); energy ×2.5"
    assert lines["FNO"]["energy_ratio"] == lines["FNO"]["marks"] == ""


@pytest.mark.parametrize(
    ("draw", "said"), [("fixed", "the same samples for all seeds"), ("per_seed", "each seed draws its own")]
)
def test_the_page_says_whether_seeds_share_their_data(experiments, draw, said):
    rows = [row | {"run": [*row["run"], f"data.draw={draw}"]} for row in TABLE["rows"]]
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": rows}))
    [note] = [note for note in build("paper/t", experiments).notes if note.startswith("Data (burgers): ")]
    assert said in note
