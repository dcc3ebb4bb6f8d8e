"""Items have their choices and answer, in a fixed shuffled order; those that are wrong are dropped and counted."""

import json

from kiti.data.language.multiple_choice import Item, checked_items


def line(question: str, options: str, answer: str) -> str:
    return json.dumps({"question": question, "options": options, "answer": answer})


def test_an_item_is_parsed() -> None:
    lines = [
        line(" Which? ", "\nA. one\nor more \nB. two. A. b\nC. B. three", "B. two. A. b"),
        line("What?", "A. x\nB. y \nC. z", "C. z "),
    ]
    items, dropped = checked_items(lines, 3)
    assert sorted(items) == [
        Item("What?", ["x", "y", "z"], 2),
        Item("Which?", ["one\nor more", "two. A. b", "B. three"], 1),
    ]
    assert not dropped


def test_wrong_items_are_dropped_and_counted() -> None:
    good = line("good", "A. x\nB. y", "A. x")
    lines = [
        good,
        line("answer is not there", "A. x\nB. y", "A. z"),
        line("answer is another letter", "A. x\nB. y", "B. x"),
        line("answer is outside", "A. x\nB. y", "C. z"),
        line("three options", "A. x\nB. y\nC. z", "A. x"),
        line("options begin at C", "C. x\nD. y", "C. x"),
        line("ambiguous", "A. x\nB. x", "A. x"),
        good,
        line("good", "A. x\nB. other", "A. x"),
    ]
    items, dropped = checked_items(lines, 2)
    assert sorted(items) == [Item("good", ["x", "other"], 0), Item("good", ["x", "y"], 0)]
    expected = {"answer is not an option": 3, "not 2 options": 2, "two options are the answer": 1, "occurred before": 1}
    assert dropped == expected


def test_the_order_is_shuffled_and_fixed() -> None:
    lines = [line(str(n), "A. x\nB. y", "A. x") for n in range(100)]
    items, _ = checked_items(lines, 2)
    order = [int(item.question) for item in items]
    assert sorted(order) == list(range(100))
    assert order == [int(item.question) for item in checked_items(lines, 2)[0]]
    assert order[:5] == [23, 8, 11, 7, 48]
