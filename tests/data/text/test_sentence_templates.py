"""Sentences drawn from templates: all of them come from the grammar, and always the same ones are drawn."""

import pytest

from kiti.data.text.sentence_templates import TemplateError, Templates

LISTS = {"colour": {"values": [{"in": "red"}, {"in": "(dark|light) blue"}]}, "percent": {"range": {"from": 1, "to": 2}}}
TEMPLATES = Templates({**LISTS, "free": {"wildcard": True}}, {"the": "(the|my)"}, {"room": ["kitchen"]})


@pytest.mark.parametrize(
    ("template", "sentences"),
    [
        ("turn on", {"turn on"}),
        ("[please] stop", {"stop", "please stop"}),
        ("light[s] (on|off)", {"light on", "lights on", "light off", "lights off"}),
        ("<the> {room}", {"the kitchen", "my kitchen"}),
        ("{colour:name}", {"red", "dark blue", "light blue"}),
        ("{percent}%", {"1%", "2%"}),
        ("(a;b)", {"a b", "b a"}),
        ("([in] here;to {percent}[ %])", None),
    ],
)
def test_sentences_come_from_the_grammar(template: str, sentences: set[str] | None) -> None:
    drawn = TEMPLATES.draw(template, 10)
    assert drawn == TEMPLATES.draw(template, 10)
    assert len(set(drawn)) == len(drawn) <= 10
    if sentences is None:
        assert {"here to 1", "to 2 % in here"} <= set(TEMPLATES.draw(template, 100))
    else:
        assert set(drawn) == sentences
    assert len(TEMPLATES.draw(template, 1)) == 1


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("(a|b", r"\) is missing"),
        ("a]", "] without its opening bracket"),
        ("(a|b;c)", r"\| and ; in one pair"),
        ("<the", "a < or { is not closed"),
        ("{nothing}", "there is no list 'nothing'"),
        ("<nothing>", "there is no rule 'nothing'"),
        ("{free}", "has no values; give it words"),
    ],
)
def test_what_is_not_a_template_is_refused(template: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        TEMPLATES.draw(template, 1)
