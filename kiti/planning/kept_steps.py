"""What steps cost, counted once and kept with the sheets in steps.json, so that the plan of a sheet needs no torch.

scripts/count_steps.py writes the file, and with --check counts again and compares; a test does that.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from kiti.configuration import identity
from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.planning.costs import Step
from kiti.planning.kinds import kind_of
from kiti.report.sheets import SheetError

FILE_NAME = "steps.json"


@dataclass(frozen=True)
class KeptSteps:
    """Steps on one device by the digest of their kind, or why there is none.

    Attributes:
        sheets: names of those whose steps are all here.
        torch: the version that counted.
    """

    steps: Mapping[str, Step | ConfigError] = field(default_factory=dict)
    sheets: frozenset[str] = frozenset()
    torch: str = ""

    @classmethod
    def of(cls, root: Path) -> "KeptSteps":
        """Those of a folder of sheets; none without the file. Raises SheetError if it is damaged."""
        path = root / FILE_NAME
        if not path.exists():
            return cls()
        try:
            kept = json.loads(path.read_text())
            return cls(
                {key: _step(one) for key, one in kept["steps"].items()}, frozenset(kept["sheets"]), kept["torch"]
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SheetError(f"{path}: damaged, {error!r}; python scripts/count_steps.py writes it") from None

    def find(self, composed: Composed) -> Step | ConfigError | None:
        """None if it was not counted."""
        return self.steps.get(digest(composed))

    def text(self) -> str:
        """The content of the file."""
        steps = {digest: plain(step) for digest, step in sorted(self.steps.items())}
        return json.dumps({"torch": self.torch, "sheets": sorted(self.sheets), "steps": steps}, indent=1) + "\n"


def digest(composed: Composed) -> str:
    """Of all that a step on one device depends on, the revisions of the units' code included."""
    parts = [kind_of(composed).step, identity.revisions(composed.checked)]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def plain(step: Step | ConfigError) -> dict[str, Any]:
    """As the file has it."""
    return {"unknown": str(step)} if isinstance(step, ConfigError) else asdict(step)


def _step(kept: dict[str, Any]) -> Step | ConfigError:
    return ConfigError(kept["unknown"]) if "unknown" in kept else Step(**kept)
