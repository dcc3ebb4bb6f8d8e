"""Sentences drawn from templates in the notation of Home Assistant's intents.

turn on [the] (light|lamp)[s] in {area}      [optional], (either|or), (both;in any order), {list}, <rule>
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r"[\[\]()|;]|<[^<>]+>|\{[^{}]+\}|[^\[\]()|;<>{}]+")
_CLOSING = {"(": ")", "[": "]"}


class TemplateError(ValueError):
    """A template that cannot be parsed, or that names an unknown list or rule, in one line."""


@dataclass(frozen=True)
class _Group:
    """Parts that all follow one another ("all"), one of which is chosen ("one"), or that come in any order ("any")."""

    how: str
    parts: tuple["_Group | str", ...]


class Templates:
    """Draws sentences; `lists` and `rules` are those of an intents file, `words` fills the lists that have no values.

    Raises TemplateError, in `draw`, for a template that is not in the notation.
    """

    def __init__(
        self, lists: Mapping[str, Mapping[str, Any]], rules: Mapping[str, str], words: Mapping[str, Sequence[str]]
    ) -> None:
        self.lists = lists
        self.rules = rules
        self.words = words

    def draw(self, template: str, number: int) -> list[str]:
        """Up to `number` different sentences of `template`, the same ones each time."""
        group, chance = _parsed(template), random.Random(template)
        drawn: dict[str, None] = {}
        for _ in range(20 * number):
            sentence = " ".join(self._text(group, chance).split())
            if sentence:
                drawn.setdefault(sentence)
            if len(drawn) == number:
                break
        return list(drawn)

    def _text(self, part: _Group | str, chance: random.Random) -> str:
        if isinstance(part, _Group):
            if part.how == "one":
                return self._text(chance.choice(part.parts), chance)
            if part.how == "all":
                return "".join(self._text(one, chance) for one in part.parts)
            parts = list(part.parts)
            chance.shuffle(parts)
            return " ".join(self._text(one, chance) for one in parts)
        if part.startswith("<"):
            return self._text(_parsed(_known(self.rules, part[1:-1], "rule")), chance)
        if part.startswith("{"):
            return self._value(part[1:-1].partition(":")[0], chance)
        return part

    def _value(self, name: str, chance: random.Random) -> str:
        if name in self.words:
            return chance.choice(self.words[name])
        values = _known(self.lists, name, "list")
        if span := values.get("range"):
            return str(chance.randrange(span["from"], span["to"] + 1, span.get("step", 1)))
        if "values" not in values:
            raise TemplateError(f"the list {{{name}}} has no values; give it words")
        return self._text(_parsed(chance.choice(values["values"])["in"]), chance)


def _known(names: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in names:
        raise TemplateError(f"there is no {what} {name!r}")
    return names[name]


def _parsed(template: str) -> _Group:
    tokens = _TOKEN.findall(template)
    if "".join(tokens) != template:
        raise TemplateError(f"{template!r} is not a template: a < or {{ is not closed")
    group, rest = _alternatives(tokens, "", template)
    assert not rest
    return group


def _alternatives(tokens: list[str], closing: str, template: str) -> tuple[_Group, list[str]]:
    """The group up to its closing bracket, and what follows it."""
    options: list[_Group] = []
    parts: list[_Group | str] = []
    separators = set()
    while tokens:
        token, tokens = tokens[0], tokens[1:]
        if token in {"|", ";"}:
            separators.add(token)
            options.append(_Group("all", tuple(parts)))
            parts = []
        elif token in _CLOSING:
            inner, tokens = _alternatives(tokens, _CLOSING[token], template)
            parts.append(_Group("one", (inner, "")) if token == "[" else inner)
        elif token in _CLOSING.values():
            if token != closing:
                raise TemplateError(f"{template!r} is not a template: {token} without its opening bracket")
            break
        else:
            parts.append(token)
    else:
        if closing:
            raise TemplateError(f"{template!r} is not a template: {closing} is missing")
    options.append(_Group("all", tuple(parts)))
    if len(separators) > 1:
        raise TemplateError(f"{template!r} is not a template: | and ; in one pair of brackets")
    how = "any" if ";" in separators else "one" if "|" in separators else "all"
    return _Group(how, tuple(options)), tokens
