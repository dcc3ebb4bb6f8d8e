"""Cutting loses nothing, cuts at headings and statements, and leaves no short document that could be joined."""

from kiti.data.language.cutting import joined, sections, statements

PAGE = """.. _label:

*****
Title
*****

Some text.
More
===
than a title is this line, as the rule is shorter.

Section
-------

   Indented
   --------

=====  =====
a      b
=====  =====

Second
~~~~~~
"""
MODULE = '''"""A module."""

import os


def one():
    x = 1

    return x

class Two:

    def three(self): ...
'''


def test_a_page_is_cut_at_its_headings() -> None:
    pieces = list(sections(PAGE))
    assert "".join(pieces) == PAGE
    assert [piece.splitlines()[0] for piece in pieces] == [".. _label:", "*****", "Section", "Second"]


def test_a_module_is_cut_at_its_statements() -> None:
    pieces = statements(MODULE)
    assert "".join(pieces) == MODULE
    assert [piece.splitlines()[0] for piece in pieces] == ['"""A module."""', "import os", "def one():", "class Two:"]


def test_pieces_are_joined_until_there_is_enough() -> None:
    assert joined(["aaa\n", "b\n", "ccc\n", "dd\n"], 4) == ["aaa\n", "b\nccc\ndd\n"]
    assert joined(["aaa\n", "bbbbb\n", "c\n"], 9) == ["aaa\nbbbbb\nc\n"]
    assert joined(["a\n"], 100) == ["a\n"]
    assert joined(["\n", " \n"], 1) == []
    assert joined([], 1) == []
