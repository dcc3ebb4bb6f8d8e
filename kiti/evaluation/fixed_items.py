"""Which items of a task are evaluated: all, or a fixed choice of some."""

import hashlib
from collections.abc import Mapping


def fixed_items(sizes: Mapping[str, int], limit: int | None) -> dict[str, list[int]]:
    """The places of the chosen items by part of a task, in order; parts without any are left out.

    The choice is by a hash of part and place, so it is the same for every model, and that of a smaller limit lies
    within that of a larger one. The first items would be of few subjects.

    Args:
        sizes: number of items of each part, such as MMLU's subjects.
        limit: how many over all parts; None: all.
    """
    everything = [(part, place) for part, size in sizes.items() for place in range(size)]
    if limit is not None:
        everything = sorted(everything, key=lambda one: hashlib.sha256(f"{one[0]}/{one[1]}".encode()).digest())[:limit]
    chosen: dict[str, list[int]] = {}
    for part, place in sorted(everything):
        chosen.setdefault(part, []).append(place)
    return {part: chosen[part] for part in sizes if part in chosen}
