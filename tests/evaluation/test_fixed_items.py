"""The same items for every model."""

from kiti.evaluation.fixed_items import fixed_items

SIZES = {"anatomy": 40, "geometry": 3, "history": 60}


def test_without_a_limit_all_are_taken() -> None:
    assert fixed_items(SIZES, None) == {part: list(range(size)) for part, size in SIZES.items()}
    assert fixed_items(SIZES, 1000) == fixed_items(SIZES, None)


def test_a_smaller_choice_lies_within_a_larger_one() -> None:
    chosen = {
        limit: {(part, at) for part, each in fixed_items(SIZES, limit).items() for at in each} for limit in (5, 20, 50)
    }
    assert [len(each) for each in chosen.values()] == [5, 20, 50]
    assert chosen[5] < chosen[20] < chosen[50]
    assert {part for part, _ in chosen[50]} == set(SIZES), "not the first ones"


def test_the_choice_stays_as_it_is() -> None:
    assert fixed_items({"a": 10, "b": 1}, 3) == fixed_items({"b": 1, "a": 10}, 3)
    assert fixed_items({"a": 100}, 4) == {"a": [2, 68, 70, 72]}, "results depend on it"
    assert all(fixed_items(SIZES, 1).values()), "no part without items"
