"""Print requirements.lock: the exact version of everything that `.[test]` brings, and of what builds kiti.

    python scripts/lock.py > requirements.lock

pip resolves them and installs nothing. What macOS does without, as CUDA's libraries, is marked with the platform it was
resolved on: elsewhere pip takes what that platform asks for.
"""

import json
import platform
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EXTRA = "test"

# What hatchling builds with, and for an editable install: `make setup` builds without fetching anything.
BUILDERS = ("hatchling", "editables")

ELSEWHERE = {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"}


def locked(report: dict[str, Any], roots: list[str]) -> list[str]:
    """`name==version` of every package in pip's report but kiti itself, by name, with a marker where one is due."""
    found = {canonicalize_name(item["metadata"]["name"]): item["metadata"] for item in report["install"]}
    here = report["environment"]
    everywhere = set(_reached(found, roots, {**here, **ELSEWHERE}))
    marker = f'; sys_platform == "{here["sys_platform"]}" and platform_machine == "{here["platform_machine"]}"'
    return [
        f"{name}=={metadata['version']}{'' if name in everywhere else marker}"
        for name, metadata in sorted(found.items())
        if name != "kiti"
    ]


def _reached(found: dict[str, Any], roots: list[str], environment: dict[str, str]) -> Iterator[str]:
    """The packages among `found` that `roots` lead to in `environment`."""
    waiting = [Requirement(root) for root in roots]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:  # needed elsewhere only
            continue
        yield name
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                asked = {**environment, "extra": extra}
                needs = map(Requirement, found[name].get("requires_dist", []))
                waiting += [need for need in needs if need.marker is None or need.marker.evaluate(asked)]


def main() -> None:
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    roots = [f"kiti[{EXTRA}]", *backend, *BUILDERS]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    done = subprocess.run([*pip, f".[{EXTRA}]", *roots[1:]], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    python = ".".join(platform.python_version_tuple()[:2])
    print(f"# Made by `make lock` with Python {python} on {platform.system()} {platform.machine()}.")
    print("# `make setup` installs these versions. Change pyproject.toml, not this file.")
    print(*locked(json.loads(done.stdout), roots), sep="\n")


if __name__ == "__main__":
    main()
