"""scripts/sweep_*.sh: the commands they would start, what they refuse, and two sweeps that are really run."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def sweep(swept, *arguments):
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    script = ROOT / "scripts" / f"sweep_{swept}.sh"
    return subprocess.run([str(script), *arguments], capture_output=True, text=True, env=environment)


def rows(runs_dir, name):
    with (runs_dir / "tables" / "sweep" / f"{name}.csv").open() as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def test_a_dry_run_prints_the_commands_and_writes_nothing(runs_dir):
    done = sweep("collision_heads", "burgers", "--scale", "smoke", "--seeds", "2", "--dry-run")
    assert done.returncode == 0, done.stderr
    train = "python -m kiti.train experiment=burgers"
    vanilla, *points = done.stdout.splitlines()
    assert vanilla == f"{train} scale=smoke seed=0"
    kiti = f"{train} residual=kiti residual.collision_heads"
    assert points[:2] == [f"{kiti}={heads} scale=smoke seed=0" for heads in (1, 2)]
    assert len(points) == 2 * 8 - 1  # collision_heads 1 to 64, and vanilla, for two seeds
    assert not runs_dir.exists()


def test_arguments_as_the_other_scripts_take_them(runs_dir):
    options = ("--scale", "smoke", "--seeds", "1")
    expected = sweep("coll_coef", "burgers", *options, "--dry-run").stdout
    assert expected.count("\n") == 28
    assert sweep("coll_coef", "--dry-run", "experiment=burgers", *options).stdout == expected
    done = sweep("coll_coef", "--only", "soft", "burgers")
    assert (done.returncode, done.stderr) == (2, "sweep_coll_coef.sh: --only: the experiment comes first\n")


@pytest.mark.parametrize("swept", ["coll_coef", "collision_heads"])
@pytest.mark.parametrize("arguments", [["nosuch"], ["nosuch", "--dry-run"], []])
def test_an_unknown_experiment_is_one_line_with_the_known_ones(swept, arguments, runs_dir):
    done = sweep(swept, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert "there are: airfoil, airfoil_euler, bert_boolq" in line
    assert not runs_dir.exists()


def test_overrides_reach_every_run(runs_dir):
    options = ("--scale", "smoke", "--seeds", "1", "--only", "kiti", "--dry-run")
    done = sweep("coll_coef", "burgers", *options, "model.width=4")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 10
    assert all(" model.width=4 scale=smoke " in line for line in done.stdout.splitlines())


def test_help_says_what_it_does():
    done = sweep("coll_coef", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("An experiment over coll_coef")
    assert "set -e" not in done.stdout


@pytest.mark.slow
def test_burgers_over_collision_heads(runs_dir):
    arguments = ("burgers", "--scale", "smoke", "--seeds", "2", "--jobs", "2")
    done = sweep("collision_heads", *arguments)
    assert done.returncode == 0, done.stderr
    found = rows(runs_dir, "collision_heads/burgers.smoke")
    assert list(found) == ["vanilla", *(f"kiti {2**n}" for n in range(7))]
    assert all(row["n"] == "2" for row in found.values())
    between = (found[f"kiti {2**n}"] for n in range(6))
    assert all(float(row["ci_low"]) < float(row["difference"]) < float(row["ci_high"]) for row in between)
    # A system of one particle has nothing to collide with.
    assert found["kiti 64"]["mean"] == found["vanilla"]["mean"]
    assert float(found["kiti 64"]["pairs_per_system"]) == 0
    assert float(found["kiti 1"]["pairs_per_system"]) > 0
    stem = runs_dir / "tables" / "sweep" / "collision_heads"
    assert sorted(path.suffix for path in stem.iterdir()) == [".csv", ".md", ".png", ".svg", ".tex"]
    assert sweep("collision_heads", *arguments, "--dry-run").stdout == ""


@pytest.mark.slow
def test_hard_collisions_over_coll_coef(runs_dir):
    done = sweep("coll_coef", "condensation_ko", "--scale", "smoke", "--seeds", "2", "--only", "hard", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    found = rows(runs_dir, "coll_coef/condensation_ko.smoke.hard")
    assert list(found) == ["vanilla", *(f"hard 0.{tenths}" for tenths in range(1, 10))]
    pairs = [float(row["pairs_per_system"]) for row in list(found.values())[1:]]
    assert pairs == sorted(pairs)
    assert 0 < pairs[-1] <= 10 * 9 / 2  # of ten neurons
