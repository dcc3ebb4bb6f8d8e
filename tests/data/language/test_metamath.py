"""Of a Metamath database the comments are left, as paragraphs, by section, each once."""

from kiti.data.language.metamath import comments, sections

DATABASE = r"""$( Contents of this header: 1. Recent label changes $)
$( Declare the symbols. $)
  $c ( ) -> wff $.
$(
#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*
            Propositional calculus
#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*

  It is about ` -> `
  and more.

  A second paragraph. $)
  $( If ` ph ` and
     ` ps ` , then so.  (Contributed by NM, 30-Sep-1992.)  (Proof shortened by
     Wolf Lammen, 8-Jan-2013.)  (New usage is discouraged.) $)
  ax-1 $a |- ( ph -> ps ) $.
  $( If ` ph ` and ` ps ` , then so.  (Contributed by A B, 1-Jan-2000.) $)
  $( @{ @( Old. @) ax-2 @a |- ph @. @} $)
  $( <HTML> <TABLE> </TABLE> </HTML> $)
  $( x $p |- ph $= ? $. $)
$(
=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-
        Negation (see ~ ax-3 )
=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-=-
$)
  $( Not (as in (1) by A). $)
$( $t htmldef "(" as "("; $)
"""


def test_comments_are_cleaned() -> None:
    assert list(comments(DATABASE)) == [
        ("Declare the symbols.", False),
        ("Propositional calculus\nIt is about ` -> ` and more.\nA second paragraph.", True),
        ("If ` ph ` and ` ps ` , then so.", False),
        ("Negation (see ~ ax-3 )", True),
        ("Not (as in (1) by A).", False),
    ]


def test_a_section_has_its_heading_and_comments() -> None:
    assert list(sections(DATABASE)) == [
        "Declare the symbols.\n",
        "Propositional calculus\nIt is about ` -> ` and more.\nA second paragraph.\n\n"
        "If ` ph ` and ` ps ` , then so.\n",
        "Negation (see ~ ax-3 )\n\nNot (as in (1) by A).\n",
    ]
    assert list(sections("$c a $.")) == []
