"""The source files behind a unit, and a digest of their contents.

The digest covers the syntax tree without docstrings: comments, layout and the Python version do not change it.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from kiti.units.registry import PACKAGE, plugin_of

# Packages whose code does not affect a unit's results.
_ELSEWHERE = {"", "configuration", "storage", "units", "report", "launching", "cli", "calibration", "evaluation"}
DIGITS = 12
_DOTTED = re.compile(r"[a-z]\w*(\.[a-z]\w*)+")


def files_of(target: str) -> dict[str, Path]:
    """The file that defines `target` and the files of kiti or its plug-in that it imports, by module name.

    Empty for targets from elsewhere, such as torch.optim.Adam.
    """
    plugin = plugin_of(target)
    if plugin is None and not target.startswith("kiti."):
        return {}
    root = plugin.path.parent if plugin else PACKAGE.parent
    top = plugin.name.partition(".")[0] if plugin else "kiti"
    found: dict[str, Path] = {}
    pending = [target]
    while pending:
        module, path = _module(pending.pop(), root)
        room = module.partition(".")[2].partition(".")[0]
        if path is None or module in found or (top == "kiti" and room in _ELSEWHERE):
            continue
        found[module] = path
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        pending += [name for name in _imports(_text(path), package) if name.split(".")[0] == top]
    return dict(sorted(found.items()))


def digest(files: dict[str, Path]) -> str:
    """One digest of several files, independent of their location."""
    lines = "".join(f"{module} {file_digest(path)}\n" for module, path in files.items())
    return hashlib.sha256(lines.encode()).hexdigest()[:DIGITS]


def file_digest(path: Path) -> str:
    """The digest of one file."""
    return source_digest(_text(path))


@cache
def source_digest(source: str) -> str:
    """The digest of a source text."""
    tree = ast.parse(source)
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()[:DIGITS]


def _text(path: Path) -> str:
    return _text_written(path, path.stat().st_mtime_ns)


@cache
def _text_written(path: Path, written: int) -> str:
    return path.read_text()


def _plain(node: Any) -> Any:
    """The tree as nested tuples. Empty fields are left out, as newer Pythons add some (type_params in 3.12)."""
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, ast.AST):
        return node
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, []) and name != "kind"}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _documented(node):
        fields["body"] = fields["body"][1:]
    return type(node).__name__, [(name, _plain(value)) for name, value in sorted(fields.items())]


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _module(name: str, root: Path) -> tuple[str, Path | None]:
    """The module that `name` is, or is defined in, and its path."""
    parts = name.split(".")
    while parts:
        base = root.joinpath(*parts)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return ".".join(parts), path
        parts.pop()
    return name, None


@cache
def _imports(source: str, package: str) -> tuple[str, ...]:
    """Dotted names that a source in `package` imports, including imports inside functions."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module.split(".") if node.module else [])])
            found += [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _DOTTED.fullmatch(node.value):
            found.append(node.value)  # for import_module
    return tuple(found)
