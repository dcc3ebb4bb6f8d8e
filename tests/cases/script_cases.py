"""Files of scripts/ and benchmarks/ as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    """The script `name` from whichever folder has it, freshly executed."""
    [path] = [path for folder in ("scripts", "benchmarks") if (path := ROOT / folder / f"{name}.py").exists()]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
