"""Each rule that decides a claim, on made-up outputs with known answers."""

import pydantic
import pytest
from claim_cases import MadeUp, decided, line

from kiti.report.claims.answers import Word, combined, judged
from kiti.report.claims.claim_sheet import Rule
from kiti.report.claims.comparisons import share_interval
from kiti.report.claims.measured import slope_and_interval
from kiti.report.claims.sweep_best import best_and_draws
from kiti.report.sheets import SheetError

SEEN, NOT_SEEN, UNDECIDED, NOT_RUN = Word


@pytest.fixture
def made_up(tmp_path):
    return MadeUp(tmp_path)


def answer(made_up, **rule):
    return pydantic.TypeAdapter(Rule).validate_python(rule).answer(made_up.evidence)


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


def test_a_mean_within_limits(made_up):
    rule = {"rule": "level", "sheet": "table1", "metrics": ["test/error"], "groups": ["A"], "rows": ["ours"]}
    assert answer(made_up, **rule, most=1).word is NOT_RUN
    made_up.output([line(mean=0.5, std=0.1)])  # the interval is 0.5 ± 0.248
    assert answer(made_up, **rule, most=1).word is SEEN
    assert answer(made_up, **rule, least=0.6).word is UNDECIDED
    assert answer(made_up, **rule, least=0.8, most=0.9).word is NOT_SEEN
    with pytest.raises(pydantic.ValidationError, match="least or most"):
        answer(made_up, **rule)


def test_what_collides_in_training(made_up):
    rule = {"rule": "in_training", "sheet": "table1", "rows": ["ours"], "groups": ["A"]}
    config = {"residual": {"collision_heads": 8}}
    made_up.output([line()])
    for seed, partners in enumerate((0.1, 0.11, 0.12)):
        found = {"a": {"partners": partners, "energy_ratio": 2 + partners}, "b": {"partners": 0.1, "energy_ratio": 1.0}}
        made_up.records("oursA", [0.0] * (seed + 1), config=config, collisions=found)
    pairs = answer(made_up, **rule, quantity="pairs", features=160, least=0.5, most=2)
    assert pairs.word is SEEN
    assert answer(made_up, **rule, quantity="energy", most=1.01).word is NOT_SEEN
    with pytest.raises(pydantic.ValidationError, match="features"):
        answer(made_up, **rule, quantity="pairs", most=1)


def test_a_longer_step(made_up):
    rule = {"rule": "longer", "benchmark": "step", "variant": "soft", "most": 0.1}
    assert answer(made_up, **rule).word is NOT_RUN
    for low, high, word in ((0.01, 0.09, SEEN), (0.05, 0.2, UNDECIDED), (0.2, 0.3, NOT_SEEN)):
        one = {"variant": "soft", "longer": low, "longer_lowest": low, "longer_highest": high}
        made_up.json("benchmarks/step.json", {"device_name": "CPU", "cases": [{"case": "net", "variants": [one]}]})
        assert answer(made_up, **rule).word is word
    with pytest.raises(SheetError, match="no case other"):
        answer(made_up, **rule, cases=["other"])


def test_memory(made_up):
    rule = {"rule": "memory", "benchmark": "ko", "variant": "hard", "over": "soft"}
    assert answer(made_up, **rule).word is NOT_RUN
    for peaks, word in (([2] * 6, SEEN), ([2, 2, 2, 1, 1, 1], UNDECIDED), ([0.5] * 6, NOT_SEEN)):
        cases = [
            {"case": str(number), "collisions": {"soft": {"peak_bytes": 1}, "hard": {"peak_bytes": peak}}}
            for number, peak in enumerate(peaks)
        ]
        made_up.json("benchmarks/ko.json", {"device_name": "CPU", "cases": cases})
        assert answer(made_up, **rule).word is word
    assert answer(made_up, **rule, at_most=0.05).word is SEEN


def test_time_against_heads(made_up):
    rule = {
        "rule": "scaling",
        "benchmark": "c",
        "model": "m",
        "implementation": "literal",
        "coll_coef": 0.5,
        "scale": 1.0,
    }
    assert answer(made_up, **rule, most=-1).word is NOT_RUN
    for power, word in ((-1.1, SEEN), (-0.5, NOT_SEEN)):
        cases = [
            {
                "model": "m",
                "coll_coef": 0.5,
                "scale": 1.0,
                "collision_heads": heads,
                "particles": 9,
                "systems": 2,
                "implementations": {"literal": {"median_s": 2 * heads**power * (1 + 0.01 * (heads % 3))}},
            }
            for heads in (1, 2, 4, 8)
        ]
        made_up.json("benchmarks/c.json", {"device_name": "CPU", "cases": cases})
        assert answer(made_up, **rule, most=-1).word is word
    slope, low, high = slope_and_interval([1, 2, 4], [1, 2, 4])
    assert (slope, low, high) == pytest.approx((1, 1, 1))


def test_counted_operations(made_up):
    rule = {
        "rule": "counted",
        "page": "cost.md",
        "where": {"network": "ours"},
        "part": "+ collisions (2)",
        "whole": "MACs",
    }
    assert answer(made_up, **rule, claimed="0.18").word is NOT_RUN
    page = "# Cost\n\n| network | MACs | + collisions | + collisions |\n|---|---|---|---|\n| ours | 100 | 9 | 0.181 |\n"
    (made_up.root / "p/outputs/cost.md").write_text(page)
    assert answer(made_up, **rule, claimed="0.18").word is SEEN
    assert answer(made_up, **rule, claimed="0.19").word is NOT_SEEN


def test_simulations(made_up):
    rule = {
        "rule": "simulated",
        "page": "t.md",
        "cases": "a/b",
        "where": {"kind": "soft"},
        "quantity": "mean",
        "error": "error",
    }
    assert answer(made_up, **rule, most=0).word is NOT_RUN
    for means, word in (((-1, -2), SEEN), ((-1, -0.1), UNDECIDED), ((-1, 1), NOT_SEEN), ((-1, None), NOT_SEEN)):
        cases = [{"kind": "soft", "mean": mean, "error": 0.1} for mean in means] + [
            {"kind": "hard", "mean": 9, "error": 1}
        ]
        made_up.json("theory/lab.json", {"a": {"b": cases}})
        assert answer(made_up, **rule, most=0).word is word
    with pytest.raises(SheetError, match="has no x"):
        answer(made_up, **(rule | {"quantity": "x"}), most=0)
