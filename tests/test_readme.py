"""The README: its length, its Python, its commands, its links."""

import re
import shlex
from pathlib import Path

import pytest

from kiti.configuration.compose import compose
from kiti.report import sheets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = ("results", "findings", "in-your-model", "other-trainers", "sweeps")
PAGES = ("README.md", *(f"docs/{page}.md" for page in DOCS))


def commands(program: str) -> list[list[str]]:
    """The arguments of every indented line that starts with `program`, without its comment."""
    lines = re.findall(rf"^    (?:\S.* )?{program} (.*)$", README, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def single_values(override: str) -> str:
    """The first value of a sweep: a=1,2 becomes a=1."""
    return override.split(",")[0]


def test_has_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


def test_every_command_exists() -> None:
    assert all(commands(program) for program in ("kiti-train", "kiti-table", "kiti-eval", "kiti-calibrate"))


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_runs(block: str) -> None:
    names: dict[str, object] = {}
    exec(block, names)
    assert names


@pytest.mark.parametrize("program", ["kiti-train", "-m kiti.train", "kiti-calibrate"])
def test_training_commands_compose(program: str) -> None:
    found = commands(program)
    assert found
    for arguments in found:
        if "-m" in arguments:
            arguments = [single_values(one) for one in arguments if one != "-m" and not one.startswith("hydra/")]
        compose(arguments, "calibrate" if program == "kiti-calibrate" else "train")


def test_evaluation_commands_compose() -> None:
    for _, *overrides in commands("kiti-eval"):
        compose(["experiment=burgers", *overrides])


def test_table_commands_name_tables_scales_and_problems() -> None:
    known = sheets.names(sheets.EXPERIMENTS)
    for name, *options in commands("kiti-table"):
        assert name in known
        sheet = sheets.load(name, sheets.EXPERIMENTS)
        if "--scale" in options:
            assert options[options.index("--scale") + 1] in sheet.scales
        if "--only" in options:
            rest = options[options.index("--only") + 1 :]
            problems = rest[: next((at for at, one in enumerate(rest) if one.startswith("--")), len(rest))]
            assert set(problems) <= {row.group for row in sheet.rows}


def test_switches_list_every_option() -> None:
    for group in ("residual", "collision"):
        (listed,) = re.findall(rf"^    {group}=(.*?) +#", README, re.MULTILINE)
        assert set(listed.split(" | ")) == {path.stem for path in (ROOT / "conf" / group).glob("[a-z]*.yaml")}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    folder = (ROOT / page).parent
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (folder / link).exists()] == []
    paths = re.findall(r"`((?:kiti|conf|scripts|benchmarks|experiments|tests)/[\w./-]*)", text)
    assert [path for path in paths if "<" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_and_modules_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module
