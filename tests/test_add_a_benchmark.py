"""docs/add-a-benchmark.md works: its files and commands, in a folder outside the repository."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kiti.units import plugins

PAGE = (Path(__file__).parents[1] / "docs" / "add-a-benchmark.md").read_text()
FILES = dict(re.findall(r"^```\w+ file=(\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = [
    line
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
RESIDUAL = {"signs.py", "conf/residual/signs.yaml"}
MODULES = {"kiti-train": "kiti.train", "kiti-table": "kiti.table"}


def lines(names: set[str]) -> int:
    return sum(1 for name in names for line in FILES[name].splitlines() if line.strip() and not line.startswith('"""'))


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    environment = {name: value for name, value in os.environ.items() if name != plugins.VARIABLE}
    places = {"KITI_RUNS_DIR": str(folder / "runs"), "KITI_DATA_DIR": str(folder / "data")}
    given = [sys.executable, "-m", MODULES[program], *arguments]
    return subprocess.run(given, capture_output=True, text=True, cwd=folder, env=environment | places, timeout=600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("a folder of mine")
    for name, content in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    return place


def test_it_is_as_short_as_it_claims() -> None:
    assert lines(set(FILES) - RESIDUAL) < 60
    assert lines(RESIDUAL) < 15
    assert f"in {lines(set(FILES) - RESIDUAL)} lines" in PAGE
    assert f"in {lines(RESIDUAL)}." in PAGE


@pytest.mark.slow
def test_every_command_of_the_page_works(folder: Path) -> None:
    outputs = [run(command, folder) for command in COMMANDS]
    for command, done in zip(COMMANDS, outputs, strict=True):
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert "test/relative_l2" in outputs[0].stdout
    assert "KITI-Dense" in outputs[1].stdout
    assert (folder / "experiments" / "mine" / "outputs" / "table1.paper.md").is_file()
    assert len((folder / "experiments" / "mine" / "records" / "advection-paper.jsonl").read_text().splitlines()) == 6
    # Its code is its revision: changed code means a different run.
    (folder / "advection.py").write_text(FILES["advection.py"].replace("torch.relu", "torch.tanh"))
    again = run(COMMANDS[0], folder)
    assert "finished already" not in again.stdout
    assert run(COMMANDS[0], folder).stdout.startswith("finished already")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("model.width=many", "model.width=many: input should be a valid integer"),
        ("model.depth=3", "model.depth: no such key"),
        ("residual=kiti residual.collision_heads=3", "residual.collision_heads=3 does not divide D=64"),
        ("task=classification", "differ in kind (Advection: pairs of functions, Dense"),
    ],
)
def test_its_errors_take_one_line(folder: Path, given: str, message: str) -> None:
    done = run(f"kiti-train --plugin advection.py experiment=advection {given}", folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"kiti-train: {message}") or message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_too_small_a_set_is_reported_in_one_line(folder: Path) -> None:
    (folder / "short.py").write_text(
        FILES["advection.py"]
        .replace("advection.", "short.")
        .replace('"advection"', '"short"')
        .replace("(self.n_train + self.n_test, 8", "(30, 8")
    )
    given = "experiment=advection data._target_=short.Advection data.n_train=20"
    done = run(f"kiti-train --plugin short.py --plugin advection.py {given}", folder)
    assert done.stderr.splitlines()[-1] == "kiti-train: data.n_test=50: the set has 10; choose at most that many"
    assert done.returncode == 2


@pytest.mark.slow
def test_a_model_without_a_seam_is_reported_in_one_line(folder: Path) -> None:
    text = (
        FILES["advection.py"]
        .replace("advection.", "seamless.")
        .replace("self.residual(h, self.branch(h))", "h + self.branch(h)")
    )
    seamless = "\n".join(line for line in text.splitlines() if "attach(" not in line)
    (folder / "seamless.py").write_text(seamless)
    common = "kiti-train --plugin advection.py --plugin seamless.py experiment=advection model._target_=seamless.Dense "
    done = run(common + "residual=kiti", folder)
    assert done.stderr.splitlines() == [
        "kiti-train: residual=kiti: seamless.Dense has no seam; where it adds x + v, it needs a module `residual()`; "
        "see docs/add-a-benchmark.md"
    ]
    (folder / "seamless.py").write_text(seamless.replace(", residual=Add", ""))
    done = run(common + "residual=kiti", folder)
    assert done.stderr.splitlines() == [
        "kiti-train: model._target_=seamless.Dense: its constructor takes no `residual`; see docs/add-a-benchmark.md"
    ]
