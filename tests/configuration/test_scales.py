"""A run's scale is the one whose file was merged, or there is one line that says why not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub_commits import COMMITS

from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF, EXPERIMENTS
from kiti.configuration.scales import ScaleError
from kiti.report.sheets import TableSpec
from kiti.report.table_runs import plan
from kiti.storage import records
from kiti.units import plugins

BURGERS_HAS = "burgers has laptop, paper, smoke"
ALONE = f"this file follows from experiment and scale; give scale=<option> alone, {BURGERS_HAS}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("experiment=condensation_fc scale=laptop", "scale=laptop: condensation_fc has no such scale; it has paper, s"),
        ("experiment=condensation_fc scale=nosuch", "scale=nosuch: condensation_fc has no such scale; it has paper, s"),
        ("experiment=imagenet_resnet50 scale=laptop", "scale=laptop: imagenet_resnet50 has no such scale; it has pap"),
        ("experiment=burgers_mat scale=smoke", "scale=smoke: burgers_mat has no such scale; it has paper"),
        ("experiment=burgers scale=nosuch trainer.max_epochs=3", "has no such scale; it has laptop, paper, smoke"),
        ("experiment=burgers scale=../scale/laptop", "scale=../scale/laptop: burgers has no such scale"),
        ("experiment=burgers scale=laptop.yaml", "scale=laptop.yaml: burgers has no such scale"),
        ("experiment=burgers scale=[laptop,smoke]", "experiment and scale are one option each"),
        ("experiment=burgers ~scale", "experiment and scale are one option each"),
        (
            "experiment=../experiment/burgers scale=laptop",
            "experiment=../experiment/burgers: no such option; there",
        ),
        ("experiment=burgers.yaml scale=laptop", "experiment=burgers.yaml: no such option; there are airfoil, "),
        ("experiment=scale/burgers_laptop scale=laptop", "experiment=scale/burgers_laptop: no such option; there are"),
        ("experiment=[burgers,heat] scale=laptop", "give one experiment=<option>; there are airfoil, "),
        ("~experiment scale=laptop", "give one experiment=<option>; there are airfoil, "),
        ("experiment={a:1} scale=laptop", "experiment=<option> is missing; there are airfoil, "),
        ("experiment=burgers experiment/scale=nosuch scale=smoke", f"experiment/scale=nosuch: {ALONE}"),
        ("experiment=burgers experiment/scale=burgers_laptop", f"experiment/scale=burgers_laptop: {ALONE}"),
        ("experiment=burgers experiment/scale=burgers_laptop scale=smoke", f"experiment/scale=burgers_laptop: {ALONE}"),
        ("experiment=burgers ~experiment/scale scale=smoke", f"~experiment/scale: {ALONE}"),
        ("experiment=burgers experiment/scale=[burgers_laptop,heat_laptop] scale=laptop", ALONE),
        ("experiment=burgers +experiment/scale=burgers_laptop scale=smoke", "Multiple values for experiment/scale"),
        (
            "experiment=burgers scale=smoke +experiment/scale@_global_=heat_laptop",
            "experiment/scale@_global_: merged",
        ),
        ("experiment=burgers scale=smoke +experiment@_global_=burgers", "experiment@_global_: merged a second time"),
        ("experiment=burgers scale=smoke +scale@_global_=laptop", "scale@_global_: merged a second time"),
    ],
)
def test_another_scale_than_the_one_asked_for_is_refused(overrides: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose(overrides.split())
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_file_of_the_scale_may_be_named_too() -> None:
    named = compose(["experiment=burgers", "scale=smoke", "experiment/scale=burgers_smoke"])
    assert named.config == compose(["experiment=burgers", "scale=smoke"]).config


FILES = sorted(path.stem for path in (CONF / "experiment" / "scale").glob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_every_file_belongs_to_a_scale_that_differs_from_the_paper(name: str, tmp_path: Path) -> None:
    experiment, scale = name.rsplit("_", 1)
    (tmp_path / "meta.json").touch()
    needed = [f"data.path={tmp_path}"] if experiment == "airfoil" else COMMITS.get(experiment, [])
    smaller, paper = (compose([f"experiment={experiment}", f"scale={s}", *needed]) for s in (scale, "paper"))
    assert (smaller.experiment, smaller.scale) == (experiment, scale)
    assert smaller.hash != paper.hash


RECORDS = sorted(EXPERIMENTS.glob("*/records/*.jsonl"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_committed_record_has_the_scale_it_says(path: Path) -> None:
    """Its overrides give its experiment and scale today, and so does its file's name."""
    found = {
        (r.experiment, r.scale, tuple(o for o in r.overrides if o[:5] != "seed=")) for r in records.read_lines(path)
    }
    assert {f"{experiment}-{scale}" for experiment, scale, _ in found} == {path.stem}
    for experiment, scale, overrides in found:
        composed = compose(overrides)
        assert (composed.experiment, composed.scale) == (experiment, scale)


def test_no_sheet_may_leave_out_a_row_for_want_of_a_scale() -> None:
    """`may_not_compose` is for points of a sweep that do not exist at a small scale."""
    row = {"group": "a", "label": "b", "run": ["experiment=condensation_fc"], "may_not_compose": True}
    scales, metrics = {"laptop": {"seeds": [0]}, "smoke": {"seeds": [0]}}, [{"key": "test/mse", "label": "MSE"}]
    sheet = TableSpec.model_validate(
        {"kind": "table", "title": "t", "scales": scales, "metrics": metrics, "rows": [row]}
    )
    assert len(plan(sheet, "smoke")) == 1
    with pytest.raises(ConfigError, match=r"row a/b: scale=laptop: condensation_fc has no such scale"):
        plan(sheet, "laptop")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The conf/ of an enabled plug-in, which has experiments and scales of its own."""
    (tmp_path / "mine.py").touch()
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "mine.py"))
    return tmp_path / "conf"


def write(conf: Path, **files: dict[str, object]) -> None:
    for name, content in files.items():
        path = conf / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# @package _global_\n{yaml.safe_dump(content)}")


def test_a_plug_in_adds_experiments_and_scales(plugin: Path) -> None:
    write(
        plugin,
        experiment__mine={"defaults": ["burgers"], "experiment": "mine"},
        experiment__sub__other={"defaults": ["/experiment/burgers"], "experiment": "sub/other"},
        experiment__scale__mine_laptop={"defaults": ["burgers_laptop"], "trainer": {"max_epochs": 7}},
        experiment__scale__sub__other_smoke={"trainer": {"max_epochs": 5}},
        experiment__scale__condensation_fc_laptop={"trainer": {"max_epochs": 9}},
    )
    laptop = compose(["experiment=mine", "scale=laptop"])
    assert (laptop.experiment, laptop.scale, laptop.checked.trainer.max_epochs) == ("mine", "laptop", 7)
    assert laptop.config["data"]["n_train"] == 500
    assert compose(["experiment=mine"]).checked.trainer.max_epochs == 1000
    assert compose(["experiment=sub/other", "scale=smoke"]).checked.trainer.max_epochs == 5
    assert compose(["experiment=condensation_fc", "scale=laptop"]).checked.trainer.max_epochs == 9
    for experiment, has in (("mine", "laptop, paper"), ("sub/other", "paper, smoke")):
        for scale in {"laptop", "smoke", "nosuch"} - set(has.split(", ")):
            with pytest.raises(ConfigError, match=f"scale={scale}: {experiment} has no such scale; it has {has}"):
                compose([f"experiment={experiment}", f"scale={scale}"])


@pytest.mark.parametrize(
    ("experiment", "scale", "message"),
    [
        ({}, {}, "experiment=mine: the YAML of this option must say `experiment: mine`, not `experiment: burgers`"),
        ({"experiment": "other"}, {}, "must say `experiment: mine`, not `experiment: other`"),
        ({"experiment": "mine"}, {"scale": "smoke"}, "must say `scale: laptop`, not `scale: smoke`"),
        ({"experiment": "mine"}, {"experiment": "burgers"}, "must say `experiment: mine`, not `experiment: burgers`"),
    ],
)
def test_a_plug_in_that_names_itself_otherwise_than_its_file_is_refused(
    plugin: Path, experiment: dict[str, object], scale: dict[str, object], message: str
) -> None:
    settings = {"trainer": {"max_epochs": 3}}
    write(
        plugin, experiment__mine={"defaults": ["burgers"]} | experiment, experiment__scale__mine_laptop=settings | scale
    )
    with pytest.raises(ScaleError) as error:
        compose(["experiment=mine", "scale=laptop"])
    assert message in str(error.value)


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """kiti-train in another process, whose last line of output says whether it imported torch."""
    program = f"""if True:
        import sys
        sys.argv = ["kiti-train", *{list(arguments)!r}]
        from kiti.train import main
        try:
            main()
        finally:
            print("torch" in sys.modules)
    """
    places = {"KITI_RUNS_DIR": str(tmp_path / "runs"), "KITI_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | places)


LACKING = "kiti-train: scale={}: condensation_fc has no such scale; it has paper, smoke"


@pytest.mark.parametrize(("scale", "flags"), [("laptop", []), ("nosuch", []), ("laptop", ["--cfg", "job"])])
def test_the_command_says_it_in_one_line_before_it_imports_torch(tmp_path: Path, scale: str, flags: list[str]) -> None:
    done = run(tmp_path, "experiment=condensation_fc", f"scale={scale}", *flags)
    assert done.stderr.splitlines() == [LACKING.format(scale)]
    assert done.stdout.splitlines() == ["False"]
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_sweep_trains_each_scale_at_its_own_settings(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "experiment=burgers", "scale=smoke,laptop", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    found = {record.scale: record for record in map(records.read, (tmp_path / "runs").glob("*/*/*/record.json"))}
    assert {scale: record.config["data"]["n_train"] for scale, record in found.items()} == {"smoke": 40, "laptop": 500}


@pytest.mark.slow
def test_a_sweep_trains_no_scale_that_the_experiment_lacks(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "experiment=condensation_fc", "scale=smoke,laptop", "trainer.max_epochs=1")
    assert done.returncode != 0
    assert LACKING.format("laptop").removeprefix("kiti-train: ") in done.stderr
    [record] = map(records.read, (tmp_path / "runs").glob("*/*/*/record.json"))
    assert record.scale == "smoke"
