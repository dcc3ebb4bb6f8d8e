"""The steps that are kept with the sheets are those that are counted, and plans use them."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from script_cases import script
from table_cases import VANILLA

from kiti.configuration.compose import compose
from kiti.planning.kept_steps import FILE_NAME, KeptSteps, digest
from kiti.report import sheets

count_steps = script("count_steps")


def check(*names: str) -> str:
    """What differs."""
    found = count_steps.count(count_steps.configurations(names, sheets.EXPERIMENTS))
    return "\n".join(count_steps.differences(KeptSteps.of(sheets.EXPERIMENTS), names, found))


@pytest.mark.parametrize("name", ["kitinet/figure6", "ko/table1"])
def test_kept_steps_are_those_counted_now(name: str) -> None:
    assert check(name) == ""


@pytest.mark.slow
def test_all_kept_steps_are_those_counted_now() -> None:
    assert check(*sheets.names(sheets.EXPERIMENTS)) == ""


def test_every_sheet_is_kept() -> None:
    assert sorted(KeptSteps.of(sheets.EXPERIMENTS).sheets) == sheets.names(sheets.EXPERIMENTS)


def test_a_digest_changes_with_the_step_alone() -> None:
    composed = compose([*VANILLA, "scale=smoke"])
    same = compose([*VANILLA, "scale=smoke", "trainer.max_epochs=7", "seed=3"])
    assert digest(composed) == digest(same)
    assert digest(composed) != digest(compose([*VANILLA, "scale=smoke", "model.width=24"]))


def test_a_plan_shows_what_is_kept_without_torch(experiments: Path, runs_dir: Path) -> None:
    composed = compose([*VANILLA, "scale=smoke"])
    found = count_steps.count(count_steps.configurations(["paper/t"], experiments))
    kept = {key: count_steps.plain(step) for key, step in found.items()}
    kept[digest(composed)]["parameters"] = 4711
    content = {"torch": "2.0", "sheets": ["paper/t"], "steps": kept}
    (experiments / FILE_NAME).write_text(json.dumps(content))
    watched = "import sys; from kiti.table import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    command = ["paper/t", "--scale", "smoke", "--plan", "--format", "csv", "--experiments", str(experiments)]
    done = subprocess.run([sys.executable, "-c", watched, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert next(csv.DictReader(io.StringIO(done.stdout)))["parameters"] == "4711"


def test_another_cost_is_named(experiments: Path) -> None:
    found = count_steps.count(count_steps.configurations(["paper/t"], experiments))
    key, step = next(iter(found.items()))
    wrong = KeptSteps({**found, key: type(step)(1, 2.0, 3, 4, 5)}, frozenset({"paper/t"}), "2.0")
    assert count_steps.differences(KeptSteps(found, frozenset({"paper/t"})), ["paper/t"], found) == []
    [line] = count_steps.differences(wrong, ["paper/t"], found)
    assert line.startswith(f"{key}: ")
    assert line.endswith("with torch 2.0")
    assert count_steps.differences(KeptSteps(), ["paper/t"], {}) == ["paper/t: no step is kept"]


def test_a_damaged_file_is_one_line(experiments: Path, command) -> None:
    (experiments / FILE_NAME).write_text('{"steps": {')
    status, _, err = command("paper/t", "--scale", "smoke", "--plan")
    assert status == 2
    assert err.startswith(f"kiti-table: {experiments / FILE_NAME}: damaged")
    assert err.count("\n") == 1
