"""Many plain values that are much alike as one: what they share is said once, the rest by column.

[{"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5, "d": 3}}]
{"keys": {"a": {"all": 1}, "b": {"keys": {"c": {"each": [2, 5]}, "d": {"all": 3}}}}}
"""

from collections.abc import Sequence
from typing import Any

Plain = Any
"""What JSON can say."""


def packed(values: Sequence[Plain]) -> dict[str, Plain]:
    """At least one value -> what `unpacked` takes apart again."""
    first = values[0]
    if all(value == first and type(value) is type(first) for value in values):
        return {"all": first}
    if all(isinstance(value, dict) and list(value) == list(first) for value in values):
        return {"keys": {key: packed([value[key] for value in values]) for key in first}}
    return {"each": list(values)}


def unpacked(columns: dict[str, Plain], count: int) -> list[Plain]:
    """The `count` values. ValueError where they are not so many, or this is not what `packed` makes."""
    match columns:
        case {"all": value}:
            return [value] * count
        case {"each": list(values)} if len(values) == count:
            return values
        case {"keys": dict(parts)}:
            apart = {key: unpacked(part, count) for key, part in parts.items()}
            return [{key: values[row] for key, values in apart.items()} for row in range(count)]
        case _:
            raise ValueError(f"no columns of {count} values")
