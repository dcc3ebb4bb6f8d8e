"""What is installed: the lock file matches pyproject.toml, and so do the lowest versions."""

import re
import tomllib
from pathlib import Path

import lock
import lowest_requirements
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(lock.__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
LOCKED = {requirement.name: requirement for requirement in map(Requirement, LINES)}


def pinned(name):
    [bound] = LOCKED[canonicalize_name(name)].specifier
    return bound.version


def requirements_of(project, extras):
    return list(lowest_requirements._requirements(project, extras))


def test_every_locked_version_is_exact_and_has_no_path():
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][\w.+!]*(; sys_platform == .*)?", line), line


def test_the_lock_satisfies_pyproject():
    needs = [*requirements_of(PROJECT["project"], ["test"]), *map(Requirement, PROJECT["build-system"]["requires"])]
    for need in [*needs, *map(Requirement, lock.BUILDERS)]:
        assert need.specifier.contains(pinned(need.name), prereleases=True), f"{need}: run `make lock`"


def package(name, version, *needs):
    return {"metadata": {"name": name, "version": version, "requires_dist": list(needs)}}


def test_platform_specific_packages_are_marked():
    report = {
        "environment": {
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": "x86_64",
            "python_version": "3.11",
        },
        "install": [
            package("kiti", "0.1.0", "Torch>=2", 'kiti[more]; extra == "test"', 'plots; extra == "more"'),
            package("torch", "2.14.1", 'cuda-toolkit[blas]; platform_system == "Linux"', 'old; python_version < "3.9"'),
            package("cuda_toolkit", "13.0", 'blas; extra == "blas"'),
            package("blas", "1.0"),
            package("plots", "3.0", 'fast; sys_platform != "emscripten"'),
            package("fast", "0.1"),
            package("builder", "1.0"),
        ],
    }
    marker = '; sys_platform == "linux" and platform_machine == "x86_64"'
    assert lock.locked(report, ["kiti[test]", "builder>=1"]) == [
        f"blas==1.0{marker}",
        "builder==1.0",
        f"cuda-toolkit==13.0{marker}",
        "fast==0.1",
        "plots==3.0",
        "torch==2.14.1",
    ]


def test_lowest_versions_include_nested_extras():
    project = {
        "name": "kiti",
        "dependencies": ["Some.Thing>=1.2,<3", "numpy>=2.0"],
        "optional-dependencies": {
            "plots": ["matplotlib~=3.10", "numpy>=2.1"],
            "test": ["kiti[plots]", "pytest==8.4"],
            "dev": ["pre-commit>=4.3"],
        },
    }
    assert lowest_requirements.lowest(project, []) == ["numpy==2.0", "some-thing==1.2"]
    assert lowest_requirements.lowest(project, ["test"]) == [
        "matplotlib==3.10",
        "numpy==2.1",
        "pytest==8.4",
        "some-thing==1.2",
    ]
    with pytest.raises(ValueError, match="no such extra; there are plots, test, dev"):
        lowest_requirements.lowest(project, ["tests"])
    project["dependencies"].append("rich<15")
    with pytest.raises(ValueError, match="rich<15: has no lower bound"):
        lowest_requirements.lowest(project, [])


def test_every_requirement_has_a_lower_bound(capsys):
    lowest_requirements.main(["dev"])
    printed = capsys.readouterr().out.splitlines()
    assert {line.split("==")[0] for line in printed} >= {"torch", "numpy", "pytest", "pre-commit", "types-pyyaml"}
