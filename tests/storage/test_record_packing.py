"""What is packed comes apart as it was."""

import pytest

from kiti.storage.record_packing import packed, unpacked

VALUES = [
    [1],
    [1, 1],
    [1, True],
    [1, 1.0],
    [None, None, 0],
    [{"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5, "d": 3}}],
    [{"a": 1}, {"b": 1}],
    [{"a": 1}, 2],
    [{"all": [1]}, {"all": [2]}],
    [{"each": {"keys": 1}}, {"each": {"keys": 2}}],
    [[1, 2], [1, 3]],
    [{}, {}],
]


@pytest.mark.parametrize("values", VALUES)
def test_there_and_back(values):
    again = unpacked(packed(values), len(values))
    assert again == values
    assert [type(value) for value in again] == [type(value) for value in values]


def test_what_is_shared_is_said_once():
    assert packed(VALUES[5]) == {"keys": {"a": {"all": 1}, "b": {"keys": {"c": {"each": [2, 5]}, "d": {"all": 3}}}}}


@pytest.mark.parametrize("columns", [{"each": [1, 2]}, {"other": 1}, {"keys": {"a": {"each": [1]}}}, 3])
def test_what_is_not_packed_so_is_refused(columns):
    with pytest.raises((ValueError, TypeError)):
        unpacked(columns, 3)
