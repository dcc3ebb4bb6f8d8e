"""The examples in KO's docstrings give what they show."""

import doctest

import pytest

from kiti.ko import gradient_collisions, optimizer, selection


@pytest.mark.parametrize("module", [gradient_collisions, optimizer, selection], ids=lambda module: module.__name__)
def test_examples(module):
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
