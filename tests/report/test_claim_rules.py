"""Each rule that decides a claim, on made-up outputs with known answers."""

import pytest
from claim_cases import MadeUp, answer, decided, line

from kiti.report.claims.answers import Word, combined, judged
from kiti.report.claims.comparisons import share_interval
from kiti.report.claims.sweep_best import best_and_draws
from kiti.report.sheets import SheetError

SEEN, NOT_SEEN, UNDECIDED, NOT_RUN = Word


@pytest.fixture
def made_up(tmp_path):
    return MadeUp(tmp_path)


@pytest.mark.parametrize(
    ("parts", "need", "word"),
    [
        ([SEEN, SEEN], "all", SEEN),
        ([SEEN, NOT_SEEN], "all", NOT_SEEN),
        ([SEEN, UNDECIDED], "all", UNDECIDED),
        ([SEEN, NOT_RUN], "all", UNDECIDED),
        ([NOT_SEEN, NOT_RUN], "all", NOT_SEEN),
        ([NOT_RUN, NOT_RUN], "all", NOT_RUN),
        ([SEEN, SEEN, UNDECIDED], "most", SEEN),
        ([SEEN, UNDECIDED], "most", UNDECIDED),
        ([SEEN, NOT_SEEN], "most", NOT_SEEN),
        ([SEEN, NOT_SEEN], "any", SEEN),
        ([NOT_SEEN, NOT_SEEN], "any", NOT_SEEN),
        ([NOT_SEEN, NOT_RUN], "any", UNDECIDED),
    ],
)
def test_parts_combine(parts, need, word):
    assert combined(parts, need) is word


def test_an_interval_is_within_limits_outside_or_neither():
    assert judged(1, 2, None, 2) is SEEN
    assert judged(1, 3, None, 2) is UNDECIDED
    assert judged(2.1, 3, None, 2) is NOT_SEEN
    assert judged(float("nan"), float("nan"), 0, 1) is UNDECIDED


VERDICTS = {"rule": "verdicts", "sheet": "table1", "rows": ["ours"]}


def test_verdicts(made_up):
    assert answer(made_up, **VERDICTS).word is NOT_RUN
    made_up.output([decided("better"), decided("better", "B")])
    found = answer(made_up, **VERDICTS)
    assert (found.word, found.basis, found.source) == (SEEN, "laptop, n 3", "p/outputs/table1.laptop.md")
    assert found.numbers == "A -1.00 [-1.50, -0.50] (better); B -1.00 [-1.50, -0.50] (better)"
    made_up.output([decided("better"), decided("undecided", "B", stand_in="toys")])
    assert answer(made_up, **VERDICTS).word is UNDECIDED
    assert answer(made_up, **VERDICTS).basis == "laptop, stand-in, n 3"
    assert answer(made_up, **VERDICTS, need="any").word is SEEN
    made_up.output([decided("better"), decided("equivalent", "B")])
    assert answer(made_up, **VERDICTS).word is NOT_SEEN
    assert answer(made_up, **VERDICTS, wants=["better", "equivalent"]).word is SEEN
    made_up.output([decided("better")])  # the other was not run
    assert answer(made_up, **VERDICTS).word is UNDECIDED


def test_the_papers_own_scale_comes_first_once_it_has_numbers(made_up):
    made_up.output([decided("better"), decided("better", "B")])
    made_up.output([line(n=0, seeds="", paired_n=0)], scale="paper")
    assert answer(made_up, **VERDICTS).basis == "laptop, n 3"
    made_up.output([decided("worse"), decided("worse", "B")], scale="paper")
    assert answer(made_up, **VERDICTS).word is NOT_SEEN


def test_comparisons_that_are_not_primary_are_corrected_together(made_up):
    rule = VERDICTS | {"rows": ["control"]}
    numbers = {"difference": -1.0, "ci_low": -1.5, "ci_high": -0.5}
    made_up.output([line("control", group, p=0.03, primary="no", **numbers) for group in "AB"])
    assert answer(made_up, **rule).word is UNDECIDED
    made_up.output([line("control", group, p=0.02, primary="no", **numbers) for group in "AB"])
    assert answer(made_up, **rule).word is SEEN


@pytest.mark.parametrize("rule", [{"rows": ["none"]}, {"groups": ["C"]}, {"metrics": ["x"]}, {"against": "control"}])
def test_a_name_that_is_not_there(made_up, rule):
    with pytest.raises(SheetError, match="has no"):
        answer(made_up, **(VERDICTS | rule))


def test_outputs_without_todays_columns(made_up):
    made_up.output([decided("better"), decided("better", "B")])
    path = made_up.root / "p/outputs/table1.laptop.csv"
    path.write_text(path.read_text().replace("ci_low", "lower"))
    with pytest.raises(SheetError, match="--rebuild"):
        answer(made_up, **VERDICTS)


def test_the_share_of_signs(made_up):
    rule = {"rule": "share", "sheet": "table1", "rows": ["ours"]}
    assert answer(made_up, **rule).word is NOT_RUN
    made_up.output([decided("undecided"), decided("undecided", "B")])
    assert answer(made_up, **rule).word is UNDECIDED  # two of two are too few
    made_up.output([decided("undecided")])
    assert answer(made_up, **rule).numbers == "1 of 2 comparisons run"
    assert share_interval(6, 6) == pytest.approx((0.5407, 1), abs=1e-4)
    assert share_interval(19, 20) == pytest.approx((0.7513, 0.9987), abs=1e-4)
    assert share_interval(0, 6) == pytest.approx((0, 0.4593), abs=1e-4)


def test_a_printed_effect(made_up):
    rule = {"rule": "effect", "sheet": "table1", "rows": ["ours"], "groups": ["A"]}
    for cells, word in (
        ({"verdict": "better"}, SEEN),
        ({"verdict": "undecided", "half": 2}, UNDECIDED),
        ({"verdict": "better", "difference": -3.0}, NOT_SEEN),  # better, but by more than printed
        ({"verdict": "undecided", "difference": 0.0}, NOT_SEEN),
        ({"verdict": "worse", "difference": 1.0}, NOT_SEEN),
        ({"verdict": "not learnt", "difference": 1.0}, UNDECIDED),
    ):
        made_up.output([decided(**cells)])
        assert answer(made_up, **rule).word is word


def test_rows_of_different_problems(made_up):
    pair = [{"group": "A", "row": "ours"}, {"group": "B", "row": "base"}]
    rule = {"rule": "apart", "sheet": "table1", "metric": "test/error", "pairs": [pair]}
    assert answer(made_up, **rule).word is NOT_RUN
    made_up.output([line(), line("base", "B", "")])
    made_up.records("oursA", [1.0, 1.1, 1.2])
    made_up.records("baseB", [2.0, 2.1, 2.3])
    assert answer(made_up, **rule).word is SEEN  # errors: less is better
    assert answer(made_up, **(rule | {"pairs": [pair[::-1]]})).word is NOT_SEEN
    made_up.records("baseB", [2.0, 0.1, 1.3])
    assert answer(made_up, **rule).word is UNDECIDED


def test_the_mean_gain_over_problems(made_up):
    rule = {"rule": "mean_gain", "sheet": "table1", "rows": ["ours"]}
    assert answer(made_up, **rule).word is NOT_RUN
    made_up.output([one for group in "AB" for one in (line(group=group), line("base", group, ""))])
    for group, gain in (("A", 1.0), ("B", 2.0)):
        made_up.records(f"base{group}", [5.0, 6.0, 7.0])
        made_up.records(f"ours{group}", [5.0 - gain, 6.0 - gain - 0.1, 7.0 - gain + 0.1])
    assert answer(made_up, **rule).word is SEEN
    assert answer(made_up, **rule, claimed="1.5").word is SEEN
    assert answer(made_up, **rule, claimed="0.5").word is NOT_SEEN
    assert answer(made_up, **rule, above=2).word is NOT_SEEN


def test_equal_numbers_of_parameters(made_up):
    rule = {"rule": "same_parameters", "sheet": "table1", "rows": ["ours"], "groups": ["A"]}
    made_up.output([line(), line("base", "A", "")])
    made_up.records("oursA", [1.0] * 3)
    made_up.records("baseA", [1.0] * 3)
    assert answer(made_up, **rule).word is SEEN
    made_up.records("oursA", [1.0] * 3, parameters=1001)
    assert answer(made_up, **rule).word is NOT_SEEN


CURVES = {"sheet": "table1", "groups": ["A"], "rows": ["ours"], "against": "base", "quantity": "rho/fc"}


def courses(made_up, ours, base):
    made_up.output([line(), line("base", "A", "")])
    for name, seeds in (("oursA", ours), ("baseA", base)):
        made_up.records(
            name, [{f"rho/fc@{epoch}": value for epoch, value in zip((1, 2, 4), one, strict=True)} for one in seeds]
        )


def test_the_area_between_curves(made_up):
    rule = CURVES | {"rule": "gap", "runs": "below"}
    assert answer(made_up, **rule).word is NOT_RUN
    courses(made_up, [[0.1, 0.1, 0.1], [0.1, 0.2, 0.2], [0.2, 0.2, 0.1]], [[0.5, 0.5, 0.5]] * 3)
    assert answer(made_up, **rule).word is SEEN
    assert answer(made_up, **(rule | {"runs": "above"})).word is NOT_SEEN
    # By trapezoids over epochs 1, 2 and 4 the gap is (1 * 0 + 2 * -0.1) / 3 in each seed.
    courses(made_up, [[0.5, 0.5, 0.3]] * 3, [[0.5, 0.5, 0.5]] * 3)
    assert answer(made_up, **rule).numbers == "A ours -0.06667 [-0.06667, -0.06667]"
    assert answer(made_up, **rule, epochs=[1, 2]).word is UNDECIDED


def test_epochs_to_a_value(made_up):
    rule = CURVES | {"rule": "reaches", "value": 0.9}
    assert answer(made_up, **rule).word is NOT_RUN
    courses(made_up, [[0.1, 0.9, 1.0]] * 6, [[0.1, 0.5, 0.9]] * 6)
    made_up.output([line(seeds="0 1 2 3 4 5"), line("base", "A", "", seeds="0 1 2 3 4 5")])
    found = answer(made_up, **rule)
    assert (found.word, found.numbers) == (SEEN, "A ours: epoch 2 against 4, earlier in 6, later in 0 of 6")
    courses(made_up, [[0.1, 0.2, 0.3]] * 3, [[0.1, 0.2, 0.3]] * 3)
    assert answer(made_up, **rule).word is UNDECIDED  # neither reaches it


def test_best_values_of_two_sweeps(made_up):
    rule = {"rule": "best_values", "sheets": ["sweep", "sweep2"], "metric": "test/error"}
    assert answer(made_up, **rule).word is NOT_RUN
    for name, best in (("sweep", "0.1"), ("sweep2", "0.2")):
        made_up.output([line(point, config_hash=f"{name}-{point}") for point in ("0.1", "0.2")], name)
        for point in ("0.1", "0.2"):
            made_up.records(f"{name}-{point}", [1.0, 1.1, 1.2] if point == best else [2.0, 2.1, 2.2])
    assert answer(made_up, **rule).word is SEEN
    assert answer(made_up, **(rule | {"sheets": ["sweep", "sweep"]})).word is NOT_SEEN
    best, draws = best_and_draws({0.1: {0: 1.0, 1: 3.0}, 0.2: {0: 2.0, 1: 2.5}}, 0)
    assert best == 0.1 or best == 0.2
    assert set(draws) == {0.1, 0.2}


def test_steps_to_a_value(made_up):
    rule = {"rule": "steps_ratio", "sheet": "steps", "rows": ["ours"], "of": "steps", "claimed": "0.80"}
    assert answer(made_up, **rule).word is NOT_RUN
    cells = {"problem": "A", "row": "ours", "ratio_of": "steps tokens", "n": 6, "stand_in": ""}
    for low, high, verdict, word in (
        ("0.7", "0.9", "fewer steps", SEEN),
        ("0.7", "0.9", "undecided", UNDECIDED),
        ("0.9", ">1", "fewer steps", NOT_SEEN),
        ("0.5", "0.7", "fewer steps", NOT_SEEN),
        ("0.7", ">1", "more steps", NOT_SEEN),
        ("", "", "too few seeds to tell", UNDECIDED),
    ):
        made_up.output([cells | {"median": "0.8", "ci_low": low, "ci_high": high, "verdict": verdict}], "steps")
        assert answer(made_up, **rule).word is word
    assert answer(made_up, **(rule | {"of": "time"})).word is NOT_RUN
    with pytest.raises(SheetError, match="no ratio of tokens"):
        answer(made_up, **(rule | {"of": "tokens"}))
