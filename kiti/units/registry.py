"""From a `_target_` to its declaration.

Those of kiti are every `*_keys.py` of the package; there is no list of them. A file that declares what it defines is
found too, at the price of importing it.
"""

from functools import cache
from importlib import import_module
from pathlib import Path

from kiti.units.keys import DECLARED, UnitKeys
from kiti.units.plugins import Plugin, enabled

PACKAGE = Path(__file__).parents[1]


class UndeclaredError(ValueError):
    """A `_target_` without a declaration, in one line."""


def keys_of(target: str) -> type[UnitKeys]:
    """The declaration that builds `target`. UndeclaredError, with a remedy, if there is none."""
    import_declarations()
    if target not in DECLARED:
        _import_home(target)
    if target not in DECLARED:
        raise UndeclaredError(
            f"{target} is not registered: no class of keys has builds = {target!r}; see docs/add-a-benchmark.md"
        )
    return DECLARED[target]


def plugin_of(target: str) -> Plugin | None:
    """The enabled plug-in that `target` belongs to."""
    return next((one for one in enabled() if target.startswith(f"{one.name}.")), None)


@cache
def import_declarations() -> None:
    """Import every `*_keys.py` of kiti; none imports torch."""
    for path in sorted(PACKAGE.rglob("*_keys.py")):
        import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))


def _import_home(target: str) -> None:
    """Import what may declare `target`: a module of kiti or an enabled plug-in, never anything else."""
    module = target.rpartition(".")[0]
    if plugin := plugin_of(target):
        plugin.load()
    elif module.startswith("kiti.") and PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py").is_file():
        import_module(module)
    elif not target.startswith("kiti."):
        raise UndeclaredError(f"{target} belongs to no enabled plug-in; --plugin <path of its Python file> enables one")
