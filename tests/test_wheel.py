"""A wheel built from this checkout, installed and used elsewhere as a user would."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from kiti.storage import records

ROOT = Path(__file__).parents[1]


def done(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def succeeded(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 0, process.stderr
    return process.stdout


@dataclass(frozen=True)
class Installed:
    """A venv with the wheel, and a working directory inside a git repository that is not kiti's."""

    bin: Path
    place: Path

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # A user's environment does not point to this checkout or to other run and data folders.
        ours = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "KITI_RUNS_DIR", "KITI_DATA_DIR"}
        env = {name: value for name, value in os.environ.items() if name not in ours} | {"OMP_NUM_THREADS": "1"}
        return done(self.bin / command, *arguments, cwd=self.place, env=env)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place = tmp_path_factory.mktemp("wheel")
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps")
    pip = (sys.executable, "-m", "pip")
    succeeded(done(*pip, "wheel", *quiet, "--no-build-isolation", "--wheel-dir", place / "built", ".", cwd=ROOT))
    [wheel] = (place / "built").glob("kiti-*.whl")
    assert wheel.stat().st_size < 5e6, "a few MB: no pictures, no runs"
    venv.create(place / "venv", with_pip=False)
    python = place / "venv" / "bin" / "python"
    succeeded(done(*pip, "--python", python, "install", *quiet, wheel, cwd=place))
    # Only now may the venv see this environment's packages: pip would find kiti there and install nothing.
    # Paths in a .pth file are searched, but .pth files there are not read, so an editable kiti stays hidden.
    [site] = (place / "venv").glob("lib/python*/site-packages")
    (site / "test_environment.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (place / "work").mkdir()
    succeeded(done("git", "init", cwd=place))
    return Installed(python.parent, place / "work")


@pytest.mark.slow
def test_the_installed_kiti_is_used(installed: Installed) -> None:
    output = succeeded(installed.run("python", "-c", "import kiti; print(kiti.__file__)"))
    package = Path(output.strip()).parent
    assert package.is_relative_to(installed.bin.parent)
    assert (package / "py.typed").exists()
    for sheet in sorted((ROOT / "experiments").glob("*/*.yaml")):
        assert (package / sheet.relative_to(ROOT)).read_bytes() == sheet.read_bytes()


@pytest.mark.slow
def test_help_lists_the_groups(installed: Installed) -> None:
    output = succeeded(installed.run("kiti-train", "--help"))
    assert re.search(r"^  residual +add, .*kiti", output, re.MULTILINE)


@pytest.mark.slow
def test_a_run_writes_its_record_in_the_working_directory(installed: Installed) -> None:
    succeeded(installed.run("kiti-train", "experiment=burgers", "scale=smoke"))
    [path] = installed.place.rglob("record.json")
    assert path.is_relative_to(installed.place / "runs" / "burgers")
    assert list((installed.place / "data").rglob("data.safetensors"))
    record = records.read(path)
    assert record.git.commit == "unknown", "the repository around the working directory is not kiti's"
    assert record.versions["kiti"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.slow
def test_a_committed_table_is_printed(installed: Installed) -> None:
    output = succeeded(installed.run("kiti-table", "kitinet/table4", "--scale", "laptop"))
    assert output == (ROOT / "experiments" / "kitinet" / "outputs" / "table4.laptop.md").read_text()


@pytest.mark.slow
def test_committed_outputs_are_rebuilt_elsewhere(installed: Installed) -> None:
    succeeded(installed.run("kiti-table", "kitinet/table7", "--rebuild", "--into", "again"))
    outputs = Path("kitinet") / "outputs"
    made = sorted((installed.place / "again" / outputs).iterdir())
    assert [path.name for path in made] == ["table7.laptop.csv", "table7.laptop.md", "table7.laptop.tex"]
    assert all(path.read_bytes() == (ROOT / "experiments" / outputs / path.name).read_bytes() for path in made)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("kitinet/table4", "--run", "--publish"), ("--rebuild",)])
def test_nothing_is_written_into_the_package(arguments: tuple[str, ...], installed: Installed) -> None:
    refused = installed.run("kiti-table", *arguments)
    assert refused.returncode == 2
    [line] = refused.stderr.splitlines()
    assert f"kiti-table: {arguments[-1]} would write into the installed package" in line


def test_the_citation_matches_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert citation["license"] == project["license"]
