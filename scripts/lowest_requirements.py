"""Print the lowest versions that pyproject.toml allows, one `name==version` per line: constraints for pip.

    python scripts/lowest_requirements.py [EXTRA ...] > lowest.txt

Includes the requirements of the extras, and of kiti's own extras that they name.
"""

import argparse
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

# Operators that set a lower bound and allow it.
BOUNDS = (">=", "==", "~=")


def lowest(project: dict[str, Any], extras: list[str]) -> list[str]:
    """`name==version` of every requirement, by name. Raises ValueError for a missing lower bound or extra."""
    bounds: dict[str, Version] = {}
    for requirement in _requirements(project, extras):
        named = [Version(bound.version) for bound in requirement.specifier if bound.operator in BOUNDS]
        if not named:
            raise ValueError(f"{requirement}: has no lower bound; give one with >=")
        name = canonicalize_name(requirement.name)
        bounds[name] = max(named + ([bounds[name]] if name in bounds else []))
    return [f"{name}=={version}" for name, version in sorted(bounds.items())]


def _requirements(project: dict[str, Any], extras: list[str]) -> Iterator[Requirement]:
    yield from map(Requirement, project["dependencies"])
    waiting, seen = list(extras), set()
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in project["optional-dependencies"]:
            raise ValueError(f"{extra!r}: no such extra; there are {', '.join(project['optional-dependencies'])}")
        for requirement in map(Requirement, project["optional-dependencies"][extra]):
            if canonicalize_name(requirement.name) == canonicalize_name(project["name"]):
                waiting += requirement.extras
            else:
                yield requirement


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="an extra whose requirements to include")
    extras = parser.parse_args(argv).extras
    try:
        print(*lowest(tomllib.loads(PYPROJECT.read_text())["project"], extras), sep="\n")
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
