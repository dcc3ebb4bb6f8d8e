"""Rules on levels, benchmarks, counted cost and simulations, on made-up numbers with known answers."""

import pydantic
import pytest
from claim_cases import MadeUp, answer, line

from kiti.report.claims.answers import Word
from kiti.report.claims.measured import slope_and_interval
from kiti.report.sheets import SheetError

SEEN, NOT_SEEN, UNDECIDED, NOT_RUN = Word


@pytest.fixture
def made_up(tmp_path):
    return MadeUp(tmp_path)


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
