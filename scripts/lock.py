"""Print requirements.lock: the exact versions of everything that `.[test]` installs and of kiti's build tools.

    python scripts/lock.py > requirements.lock

pip resolves them without installing. Packages that macOS does not need, such as CUDA's libraries, are marked with the
platform of this resolution; on other platforms pip chooses what they require.
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

# The build tools, also for editable installs: `make setup` builds without downloading anything.
BUILDERS = ("hatchling", "editables")

ELSEWHERE = {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"}


def locked(report: dict[str, Any], roots: list[str]) -> list[str]:
    """`name==version` of every package in pip's report except kiti, by name, with a marker if needed."""
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
    """The packages in `found` that `roots` require in `environment`."""
    waiting = [Requirement(root) for root in roots]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:  # needed only elsewhere
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
