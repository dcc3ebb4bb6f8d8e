"""docs/readings.md: it has every code in use, every switch has an effect, index and list match the text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_commits import COMMITS
from omegaconf import DictConfig, OmegaConf

from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "readings.md"
HEADING = re.compile(r"^### ([AP]\d{1,2}) (.+)$", re.MULTILINE)
CODE = re.compile(r"\b[AP]\d{1,2}\b")
# Before a code: an opening parenthesis, "reading", or "readings" and other codes.
REFERENCE = re.compile(r"\([^()]*$|\b[Rr]eadings?[\s#]+(?:[AP]\d{1,2}(?:,|[\s#]+and|[\s#])[\s#]*)*$")
OTHER = {"A2", "P2"}  # not a reading: a recipe of "ResNet strikes back", an axis of a shape
UNRESOLVED = re.compile(r"\b[Ss]pec (?:[AP]?\d[\d.]*)")
FIXED, REPORTED = "none yet", "nothing to turn"


@dataclass(frozen=True)
class Reading:
    code: str
    title: str
    default: str
    switch: str

    @property
    def link(self) -> str:
        anchor = re.sub(r"[^\w -]", "", f"{self.code} {self.title}".lower()).replace(" ", "-")
        return f"[{self.code}](#{anchor})"

    @property
    def is_fixed(self) -> bool:
        return self.switch.startswith(FIXED)

    @property
    def switches(self) -> list[str]:
        return [] if self.is_fixed else re.findall(r"`([^`]+)`", self.switch)


@cache
def readings() -> list[Reading]:
    """All readings, in the order of their codes."""
    parts = HEADING.split(DOCUMENT.read_text())[1:]
    found = []
    for code, title, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        fields = {name: re.findall(rf"^- \*\*{name}\.\*\* (.+)$", text, re.MULTILINE) for name in ("Default", "Switch")}
        assert all(len(lines) == 1 for lines in fields.values()), f"{code}: one line of Default and one of Switch"
        assert "- **Paper.** " in text, f"{code}: what the paper says"
        found.append(Reading(code, title, fields["Default"][0], fields["Switch"][0]))
    return sorted(found, key=lambda reading: (reading.code[0], int(reading.code[1:])))


def index() -> str:
    head = ["| code | question | default | switch |", "|---|---|---|---|"]
    cells = ([reading.link, reading.title, reading.default, reading.switch] for reading in readings())
    return "\n".join([*head, *("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in cells)])


def fixed() -> str:
    return "\n".join(f"- {reading.link} {reading.title}" for reading in readings() if reading.is_fixed)


def section(title: str) -> str:
    """The text under a second-level heading."""
    return re.split(r"^## .+\n", DOCUMENT.read_text().split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0].strip()


def sources() -> Iterator[tuple[Path, str]]:
    for folder in ("kiti", "conf", "experiments", "benchmarks", "scripts", "tests", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".yaml", ".md"} and path not in (DOCUMENT, Path(__file__)):
                yield path, path.read_text()
    yield ROOT / "README.md", (ROOT / "README.md").read_text()


def test_every_code_has_exactly_one_heading() -> None:
    for letter in "AP":
        codes = [reading.code for reading in readings() if reading.code[0] == letter]
        assert codes == [f"{letter}{i}" for i in range(1, len(codes) + 1)]


def test_every_used_code_resolves() -> None:
    known = {reading.code for reading in readings()}
    lost = []
    for path, text in [*sources(), (DOCUMENT, DOCUMENT.read_text())]:
        for found in CODE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            place = f"{path.relative_to(ROOT)}:{line}: {found[0]}"
            if found[0] not in known:
                lost.append(f"{place} is no reading")
            elif path != DOCUMENT and found[0] not in OTHER and not is_reference(text, found.start()):
                lost.append(f"{place} stands neither in parentheses nor after 'reading'")
    assert not lost, "\n".join(lost)


def is_reference(text: str, at: int) -> bool:
    before = text[max(0, at - 400) : at]
    return bool(REFERENCE.search(before))


@pytest.mark.parametrize(
    ("text", "referred"),
    [
        ("the sum (A7)", True),
        ("(Table 6, A7)", True),
        ("Reading A7 is", True),
        ("readings A1, A2 and A7", True),
        ("# see reading\n# A7", True),
        ("column A7 of (a table)", False),
    ],
)
def test_a_reference_is_in_parentheses_or_follows_the_word(text: str, referred: bool) -> None:
    assert is_reference(text, text.index("A7")) == referred


def test_no_reference_points_outside_the_repository() -> None:
    found = [f"{path.relative_to(ROOT)}: {old}" for path, text in sources() for old in UNRESOLVED.findall(text)]
    assert not found, "\n".join(found)


def test_the_index_matches_the_text() -> None:
    assert section("Index") == index()


def test_the_final_list_holds_the_readings_without_a_switch() -> None:
    assert section("Readings without a switch") == fixed()
    for reading in readings():
        assert reading.is_fixed or reading.switches or reading.switch == REPORTED, reading.code


SWITCHES = sorted({switch for reading in readings() for switch in reading.switches})
NOT_HERE = {"airfoil", "burgers_mat", *COMMITS}  # which need downloaded files
EXPERIMENTS = sorted({path.stem for path in (CONF / "experiment").glob("*.yaml")} - NOT_HERE)


def in_yaml(key: str) -> list[str]:
    """The options of the group that have the key `group.key…`; [""] for a root key."""
    group, *path = key.split(".")
    files = {p.stem: p for p in (CONF / group).glob("*.yaml")} if (CONF / group).is_dir() else {"": CONF / "train.yaml"}
    path = path if (CONF / group).is_dir() else [group, *path]
    return [option for option, file in sorted(files.items()) if option[:1] != "_" and has(loaded(file), path)]


def loaded(file: Path) -> dict[str, Any]:
    """A YAML of conf/, merged over those it inherits from."""
    node = yaml.safe_load(file.read_text())
    bases = [
        base for base in node.get("defaults", ()) if isinstance(base, str) and base.startswith("_") and base != "_self_"
    ]
    return {key: value for base in bases for key, value in loaded(file.with_name(f"{base}.yaml")).items()} | node


def has(node: Any, path: list[str]) -> bool:
    for step in path:
        if not isinstance(node, dict) or step not in node:
            return False
        node = node[step]
    return True


@cache
def composed(experiment: str, *overrides: str) -> DictConfig | None:
    try:
        return compose([f"experiment={experiment}", *overrides]).node
    except ConfigError:
        return None


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_has_an_effect(switch: str) -> None:
    """Some experiment and option accepts each value; the first is the default."""
    key, _, values = switch.partition("=")
    if (CONF / key).is_dir():
        for option in values.split("|"):
            assert (CONF / key / f"{option}.yaml").is_file(), f"{key} has no option {option!r}"
        return
    options = in_yaml(key)
    assert options, f"no YAML of conf/ has {key}"
    group = key.split(".")[0]
    chosen = [(f"{group}={option}",) for option in options] if group in ("residual", "collision") else [()]
    cases = [(experiment, *overrides) for overrides in chosen for experiment in EXPERIMENTS]
    for value in values.split("|") if values else []:
        whole = (case for case in cases if key_of(case, key) is not MISSING)
        assert any(composed(*case, f"{key}={value}") for case in whole), f"nothing accepts {key}={value}"
    if values:
        default = OmegaConf.create(f"first: {values.split('|')[0]}").first
        assert any(key_of(case, key) == default for case in cases), f"{default} is not the default of any experiment"


MISSING = object()


def key_of(case: tuple[str, ...], key: str) -> Any:
    """The value of a key in that experiment, or MISSING."""
    node = composed(*case)
    return MISSING if node is None else OmegaConf.select(node, key, default=MISSING)
