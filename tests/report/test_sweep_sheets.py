"""Sweeps of every experiment: what is run, what is refused in one line, and the table and figure of their records."""

import math

import pytest
from hub_commits import COMMITS
from table_cases import recorded, save

from kiti.configuration.compose import build_model
from kiti.configuration.explain import ConfigError
from kiti.report import publishing, sweeps
from kiti.report.sheets import VANILLA, SheetError
from kiti.report.table_runs import Archive, TableRun, plan
from kiti.report.tables import build, grid
from kiti.tasks.operator_learning_keys import OperatorLearningKeys

COEFFICIENTS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
NO_SEAM = ["condensation_ko"]
WITH_SEAMS = [experiment for experiment in sweeps.experiments() if experiment not in NO_SEAM]


@pytest.fixture
def needs(tmp_path):
    """Overrides by experiment, for those that do not compose without their data."""
    (tmp_path / "meta.json").touch()
    files = {"airfoil": [f"data.path={tmp_path}"], "burgers_mat": [f"data.path={tmp_path}/meta.json"]}
    return files | {experiment: [*commits] for experiment, commits in COMMITS.items()}


@pytest.mark.parametrize("experiment", sweeps.experiments())
def test_coll_coef_of_every_experiment(experiment, needs):
    spec, scale = sweeps.sheet(f"sweep/coll_coef/{experiment}", overrides=needs.get(experiment, []))
    assert [arm.name for arm in spec.arms] == ["kiti", "soft", "hard"][experiment in NO_SEAM :]
    assert all(arm.values == COEFFICIENTS for arm in spec.arms)
    runs = plan(spec.table(scale), scale)
    assert len(runs) == 1 + 9 * len(spec.arms)
    assert all(isinstance(run, TableRun) for run in runs.values())
    assert len({run.composed.hash for run in runs.values() if isinstance(run, TableRun)}) == len(runs)


@pytest.mark.parametrize("experiment", WITH_SEAMS)
def test_collision_heads_of_every_experiment_with_seams(experiment, needs):
    import torch

    spec, scale = sweeps.sheet(f"sweep/collision_heads/{experiment}", overrides=needs.get(experiment, []))
    [arm] = spec.arms
    assert arm.features
    powers = [2**n for n in range(20) if all(size % 2**n == 0 for size in arm.features.values())]
    assert arm.values == powers
    assert len(powers) > 1
    *_, most = plan(spec.table(scale), scale).values()
    assert isinstance(most, TableRun)
    with torch.device("meta"):
        build_model(most.composed)


def test_the_default_scale_is_laptop_where_there_is_one():
    assert sweeps.sheet("sweep/coll_coef/burgers")[1] == "laptop"
    assert sweeps.sheet("sweep/coll_coef/condensation_fc")[1] == "paper"


def test_vanilla_is_the_network_without_collisions():
    spec, scale = sweeps.sheet("sweep/coll_coef/burgers", "smoke", seeds=2)
    table = spec.table(scale)
    vanilla, first, *_ = table.rows
    assert (vanilla.label, vanilla.run) == (VANILLA, ["experiment=burgers"])
    assert first.run == ["experiment=burgers", "residual=kiti", "residual.coll_coef=0.1"]
    assert table.rows[10].run == ["experiment=burgers", "collision=soft", "collision.coll_coef=0.1"]
    assert all(row.against == [VANILLA] for row in table.rows[1:])
    assert spec.scales["smoke"].seeds == [0, 1]
    assert spec.metric.key == "test/relative_l2"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sweep/coll_coef/nosuch", {}, "no experiment 'nosuch'; there are: airfoil, airfoil_euler, bert_boolq"),
        ("sweep/coll_coef/../burgers", {}, "no experiment '../burgers'; there are: airfoil"),
        ("sweep/coll_coef", {}, "no experiment ''; there are: airfoil"),
        ("sweep/dt/burgers", {}, "there are: sweep/coll_coef/EXPERIMENT, sweep/collision_heads/EXPERIMENT"),
        ("sweep/coll_coef/condensation_fc", {"scale": "laptop"}, "has no scale 'laptop'; it has: paper, smoke"),
        ("sweep/coll_coef/burgers", {"only": ["Heat"]}, "has no Heat; there are: kiti, soft, hard"),
        ("sweep/collision_heads/burgers", {"only": ["soft"]}, "KO has no collision_heads"),
        ("sweep/collision_heads/condensation_ko", {}, "the model of condensation_ko has no seam"),
        ("sweep/coll_coef/condensation_ko", {"only": ["kiti"]}, "the model of condensation_ko has no seam"),
    ],
)
def test_what_is_refused_in_one_line(name, options, message):
    with pytest.raises(SheetError) as error:
        sweeps.sheet(name, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_overrides_belong_to_every_run():
    spec, scale = sweeps.sheet("sweep/collision_heads/cifar_kitinet", "smoke", overrides=["model.depth=50"])
    assert spec.title == "cifar_kitinet over collision_heads model.depth=50"
    runs = plan(spec.table(scale), scale)
    assert all("model.depth=50" in overrides for overrides in runs)
    assert spec.arms[0].values == [2**n for n in range(9)]  # D = 256 at an eighth of the width


def test_an_experiment_without_its_data_is_asked_for_them():
    with pytest.raises(ConfigError, match=r"^data\.path: missing; give it as data\.path=<value>$"):
        sweeps.sheet("sweep/coll_coef/burgers_mat")


def test_a_task_without_a_metric_is_named(monkeypatch):
    monkeypatch.setattr(OperatorLearningKeys, "metric", None)
    with pytest.raises(SheetError, match="OperatorLearningKeys declares no `metric`"):
        sweeps.sheet("sweep/coll_coef/burgers", "smoke")


def filled(runs_dir, tmp_path):
    """A sweep of Burgers at smoke, D = 64 and collision_heads = 8, of whose 28 rows four have records."""
    for seed in range(2):
        save(recorded(["experiment=burgers"], seed, 0.2 + 0.01 * seed, collisions=None), runs_dir)
        kiti = ["experiment=burgers", "residual=kiti", "residual.coll_coef=0.3"]
        partners = {f"layers.{n}.residual": {"partners": 0.5 * n, "energy_ratio": 1.0} for n in range(4)}
        save(recorded(kiti, seed, 0.1 + 0.013 * seed, collisions=partners), runs_dir)
        hard = ["experiment=burgers", "collision=hard", "collision.coll_coef=0.7"]
        of_ko = {"ko": {"fc1.weight": 0.25}, "ko_pairs": {"fc1.weight": 12.0 + seed}}
        save(recorded(hard, seed, 0.3, collisions=None, **of_ko), runs_dir)
        soft = ["experiment=burgers", "collision=soft", "collision.coll_coef=0.9"]
        save(recorded(soft, seed, math.nan, collisions=None, ko={"fc1.weight": 5.0}), runs_dir)
    spec, scale = sweeps.sheet("sweep/coll_coef/burgers", "smoke", seeds=2)
    table = spec.table(scale)
    return spec, build("sweep/coll_coef/burgers", table, scale, plan(table, scale), Archive.of_paper(tmp_path))


def test_pairs_a_system_and_intervals(runs_dir, tmp_path):
    _, table = filled(runs_dir, tmp_path)
    lines = {line.filled.row.label: line for line in table.lines}
    assert lines["kiti 0.3"].filled.pairs == pytest.approx((0 + 0.5 + 1.0 + 1.5) / 4 * 8 / 2)
    assert lines["hard 0.7"].filled.pairs == pytest.approx(12.5)
    assert lines["hard 0.7"].filled.gradient_change == pytest.approx(0.25)
    assert math.isnan(lines["soft 0.9"].filled.pairs)
    assert math.isnan(lines[VANILLA].filled.pairs)
    comparison = lines["kiti 0.3"].comparison
    assert comparison is not None
    assert comparison.difference == pytest.approx(-0.0985)
    assert comparison.low < comparison.difference < comparison.high


def test_table_and_figure(runs_dir, tmp_path):
    spec, table = filled(runs_dir, tmp_path)
    contents = publishing.outputs(spec, table)
    assert sorted(contents) == ["csv", "md", "png", "svg", "tex"]
    assert contents == publishing.outputs(spec, table)
    header, *rows = contents["csv"].decode().splitlines()
    assert header.endswith(",config_hash,pairs_per_system,energy_ratio,gradient_change,marks")
    [hard] = [row for row in rows if ",hard 0.7," in row]
    assert hard.endswith(",12.5,,0.25,")
    assert "nan (2 diverged)" in contents["md"].decode()
    assert contents["png"].startswith(b"\x89PNG")
    hard = ["experiment=burgers", "collision=hard", "collision.coll_coef=0.7"]
    save(recorded(hard, 0, 0.3, collisions=None, ko={"fc1.weight": 0.25}, ko_pairs={"fc1.weight": 40.0}), runs_dir)
    again = sweeps.sheet("sweep/coll_coef/burgers", "smoke", seeds=2)[0].table("smoke")
    rebuilt = build(table.name, again, "smoke", plan(again, "smoke"), Archive.of_paper(tmp_path))
    assert publishing.outputs(spec, rebuilt)["svg"] != contents["svg"], "it shows the recorded pairs"


def test_a_narrow_terminal_keeps_the_interval_and_the_pairs(runs_dir, tmp_path):
    import io

    from rich.console import Console

    from kiti.report import formats

    _, table = filled(runs_dir, tmp_path)
    narrow = Console(width=80, file=io.StringIO())
    formats.show(grid(table), narrow)
    text = narrow.file.getvalue().split("•")[0]
    assert max(map(len, text.splitlines())) <= 80
    assert "3 pairs, energy ×" in text
    assert "verdict" not in text, "points of a sweep are no primary comparisons"
