"""The GPUs that runs started side by side divide among them; found without importing torch or asking a driver."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> list[str]:
    """The GPUs this process may use, by the names that CUDA_VISIBLE_DEVICES takes: those it lists, else one for each
    of NVIDIA's device files."""
    if VISIBLE not in environment:
        found = [path for path in devices.glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()]
        return [str(number) for number in range(len(found))]
    names = [name.strip() for name in environment[VISIBLE].split(",")]
    ends = [number for number, name in enumerate(names) if name in {"", "-1"}]  # CUDA ignores what follows
    return names[: ends[0]] if ends else names


class Shares:
    """Which of the GPUs a run gets: one that the fewest others use."""

    def __init__(self, gpus: list[str]) -> None:
        self._users = Counter(dict.fromkeys(gpus, 0))

    def take(self) -> dict[str, str]:
        """The variables that show a run its GPU; none where there are no GPUs."""
        if not self._users:
            return {}
        gpu = min(self._users, key=self._users.__getitem__)
        self._users[gpu] += 1
        return {VISIBLE: gpu}

    def give_back(self, taken: Mapping[str, str]) -> None:
        """What `take` returned is free again."""
        self._users.subtract(taken.values())
