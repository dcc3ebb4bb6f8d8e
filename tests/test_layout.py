"""The layout: few files per folder, unique names, layered imports, a docstring in each package."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KITI = ROOT / "kiti"

# From the bottom up. A package imports only from the lines above its own.
LAYERS = (
    {"units", "storage", "pde"},
    {"collision"},
    {"residual", "ko", "residual_keys"},
    {"seams"},
    {"neurons", "models", "data"},
    {"tasks"},
    {"configuration"},
    {"training", "report", "calibration", "evaluation"},
    {"launching", "planning", "exporting"},
    {"cli"},
    {"train", "evaluate", "table", "calibrate", "export"},
)
# Packages on one line are independent, except for these imports. Training writes records without knowing the tables
# built from them.
TOGETHER = {("models", "neurons"), ("data", "models")}
# These report a wrong command line within a second.
NO_TORCH = ("configuration", "storage", "units")


def package_of(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    """The modules of kiti that a file imports, as dotted names, those under TYPE_CHECKING too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "kiti" else {node.module}
    return {name for name in found if name.startswith("kiti.")}


def files() -> list[Path]:
    return sorted(path for path in KITI.rglob("*.py") if path != KITI / "__init__.py")


def test_folders_hold_few_files() -> None:
    assert len(list(KITI.glob("*.py"))) <= 8


def test_no_file_name_occurs_twice() -> None:
    names = Counter(path.name for path in KITI.rglob("*.py") if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(KITI)))
def test_imports_follow_the_layers(path: Path) -> None:
    own = path.relative_to(KITI).parts[0].removesuffix(".py")
    layer = {name: level for level, names in enumerate(LAYERS) for name in names}
    for module in imports(path):
        other = package_of(module)
        assert other in layer, f"{path}: imports {module}, a package that tests/test_layout.py does not list"
        if other != own:
            lower = layer[other] < layer[own]
            assert lower or (own, other) in TOGETHER, f"{path}: {own} may not import {module}"


def test_every_package_has_a_docstring() -> None:
    for package in sorted(KITI.rglob("__init__.py")):
        described = ast.get_docstring(ast.parse(package.read_text()))
        assert described, package
        if package.parent.parent == KITI:
            assert "mport" in described, f"{package}: say what it may import"


@pytest.mark.parametrize("name", NO_TORCH)
def test_fast_modules_do_not_import_torch(name: str) -> None:
    for path in (KITI / name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [one for one in names if one.split(".")[0] in {"torch", "pytorch_lightning"}], path
