"""What printed numbers of language models say by themselves: recalculated, and as the notes of the tables say it."""

import math
from pathlib import Path
from statistics import fmean

import pytest
import yaml
from scipy import stats

from kiti.report.printed_gains import (
    TEST_ITEMS,
    Gain,
    accuracy_of_error,
    binomial_error,
    gain,
    pooled,
    stouffer,
)
from kiti.report.sheets import EXPERIMENTS

ROOT = Path(__file__).parents[2]
SHEETS = {
    "table1": EXPERIMENTS / "kitinet" / "table1.yaml",
    "table2": EXPERIMENTS / "kitinet" / "table2.yaml",
    "table6": EXPERIMENTS / "ko" / "table6.yaml",
}
PAIRING = "pairing by item would"


def printed(paper, name):
    return yaml.safe_load((EXPERIMENTS / paper / "printed" / f"{name}.yaml").read_text())


def note(name):
    """The note of a sheet, on one line."""
    return " ".join(yaml.safe_load(SHEETS[name].read_text())["note"].split())


@pytest.fixture(scope="module")
def table1():
    """The gains of KITINet's Table 1 in points, by model and benchmark."""
    found = {}
    for model, networks in printed("kitinet", "accuracies").items():
        for benchmark, ours in networks["kiti"].items():
            found[model, benchmark] = gain(*map(float, ours), *map(float, networks["vanilla"][benchmark]))
    return found


@pytest.fixture(scope="module")
def table2():
    """KITINet's perplexity over the vanilla one, by model and set."""
    return {
        (model, name): float(ours) / float(networks["vanilla"][name])
        for model, networks in printed("kitinet", "perplexities").items()
        for name, ours in networks["kiti"].items()
    }


@pytest.fixture(scope="module")
def table6():
    """The gains of KO's Table 6 with binomial errors, as shares, by model and benchmark."""

    def accuracy(digits, benchmark):
        return float(digits), binomial_error(float(digits), TEST_ITEMS[benchmark])

    return {
        (model, benchmark): gain(*accuracy(ours, benchmark), *accuracy(optimizers["vanilla"][benchmark], benchmark))
        for model, optimizers in printed("ko", "accuracies").items()
        for benchmark, ours in optimizers["soft"].items()
        if benchmark != "Avg"
    }


def test_no_gain_of_table_1_reaches_1_2_standard_errors(table1):
    gains = {cell: one.z for cell, one in table1.items() if one.gain > 0}
    losses = {cell: one.z for cell, one in table1.items() if one.gain <= 0}
    assert (len(gains), len(losses)) == (19, 1)
    best, largest = max(gains.items(), key=lambda one: one[1])
    [(lost, smallest)] = losses.items()
    assert largest < 1.2
    assert (best, lost) == (("GPT2-xl", "MMLU"), ("GPT2-medium", "MMLU"))
    text = note("table1")
    assert f"none of the {len(gains)} gains reaches 1.2, the largest being {largest:.2f} (GPT2-xl, MMLU)" in text
    assert f"the one loss is {smallest:.2f} (GPT2-medium, MMLU)" in text
    assert PAIRING in text


def test_table_1_over_its_cells(table1):
    every = list(table1.values())
    mean = pooled(every)
    assert mean.gain == pytest.approx(0.335)
    text = note("table1")
    assert f"Over the {len(every)} cells the mean gain is +{mean.gain:.3f} points, z {mean.z:.1f}" in text
    assert f"Stouffer's z is {stouffer(every):.1f}." in text
    assert (f"{mean.z:.1f}", f"{stouffer(every):.1f}") == ("1.1", "1.3")


def test_printed_errors_of_arc_c_are_those_of_other_accuracies():
    items = TEST_ITEMS["ARC_C"]
    smaller = [printed("kitinet", "accuracies")[model] for model in ("GPT2", "GPT2-medium")]
    errors = [networks[name]["ARC_C"][1] for networks in smaller for name in ("vanilla", "kiti")]
    low, high = (100 * accuracy_of_error(float(one) / 100, items) for one in (min(errors), max(errors)))
    assert f"{min(errors)} to {max(errors)}, are those of accuracies of {low:.1f} to {high:.1f} %" in note("table1")
    values = [float(networks[name]["ARC_C"][0]) for networks in smaller for name in ("vanilla", "kiti")]
    assert min(values) > high


@pytest.mark.parametrize("benchmark", ["MMLU", "ARC_E", "HellaSwag", "WinoGrande"])
def test_other_printed_errors_are_the_binomial_ones(benchmark):
    """To the digits printed, and 0.02 more for MMLU, whose error lm-eval takes by subject."""
    for networks in printed("kitinet", "accuracies").values():
        for cells in networks.values():
            value, error = map(float, cells[benchmark])
            expected = 100 * binomial_error(value / 100, TEST_ITEMS[benchmark])
            assert error == pytest.approx(expected, abs=0.025 if benchmark == "MMLU" else 0.016)


def test_table_2_has_15_signs_of_16_and_no_errors(table2):
    for networks in printed("kitinet", "perplexities").values():
        assert all(isinstance(digits, str) for cells in networks.values() for digits in cells.values())
    lower = {cell: 1 - ratio for cell, ratio in table2.items() if ratio < 1}
    [(other, higher)] = [(cell, ratio) for cell, ratio in table2.items() if ratio >= 1]
    text = note("table2")
    assert other == ("GPT2-medium", "GSM8K")
    assert f"{len(lower)} of {len(table2)} signs favour KITINet" in text
    low, high = (f"{100 * share:.1f}" for share in (min(lower.values()), max(lower.values())))
    assert f"by {low} to {high} % of the perplexity" in text
    assert f"GPT2-medium on GSM8K, is {100 * (higher - 1):.1f} % higher" in text
    assert "prints no errors" in text
    assert PAIRING in text


def test_table_6_by_binomial_errors(table6):
    text = note("table6")
    by_z = sorted(table6.items(), key=lambda one: -one[1].z)
    assert by_z[0][0] == ("Qwen2-1.5B", "WinoGrande")
    assert f"the largest z of the {len(table6)} gains is {by_z[0][1].z:.1f} (Qwen2-1.5B, WinoGrande)" in text
    assert f"no other is above {math.ceil(10 * by_z[1][1].z) / 10:.1f}" in text
    for model, told in (("Qwen2-0.5B", "gain 1.4 points, z 1.9"), ("Qwen2-1.5B", "and 1.65, z 2.2")):
        mean = pooled([one for (of, _), one in table6.items() if of == model])
        assert f"{told} ({model})" in text
        assert f"{100 * mean.gain:.4g}" in told
        assert told.endswith(f"{mean.z:.1f}")
    assert PAIRING in text


def test_printed_averages_of_table_6_are_those_of_its_cells():
    for optimizers in printed("ko", "accuracies").values():
        for cells in optimizers.values():
            mean = fmean(float(digits) for name, digits in cells.items() if name != "Avg")
            assert float(cells["Avg"]) == pytest.approx(mean, abs=0.00051)


@pytest.mark.parametrize(
    ("sheet", "paper", "name", "labels"),
    [
        ("table1", "kitinet", "accuracies", {"vanilla": "vanilla", "KITI": "kiti"}),
        ("table2", "kitinet", "perplexities", {"vanilla": "vanilla", "KITI": "kiti"}),
        ("table6", "ko", "accuracies", {"none": "vanilla", "soft": "soft"}),
    ],
)
def test_sheets_have_the_printed_digits(sheet, paper, name, labels):
    found = {
        (row["group"], labels[row["label"]]): row["published"]
        for row in yaml.safe_load(SHEETS[sheet].read_text())["rows"]
        if "published" in row
    }
    values = {
        (model, network): {key: cell if isinstance(cell, str) else cell[0] for key, cell in cells.items()}
        for model, networks in printed(paper, name).items()
        for network, cells in networks.items()
    }
    assert found == values


def test_independent_gains_pool_as_by_hand():
    gains = [gain(3.0, 3.0, 1.0, 4.0), gain(1.0, 0.0, 0.0, 1.0)]
    assert gains == [Gain(2.0, 5.0), Gain(1.0, 1.0)]
    assert pooled(gains) == Gain(1.5, math.sqrt(26) / 2)
    assert stouffer(gains) == pytest.approx((0.4 + 1.0) / math.sqrt(2))
    assert stouffer(gains) == pytest.approx(
        stats.combine_pvalues(stats.norm.sf([0.4, 1.0]), method="stouffer").statistic
    )
    for combine in (pooled, stouffer):
        with pytest.raises(ValueError, match="no gains"):
            combine([])


def test_binomial_errors_and_back():
    assert binomial_error(0.5, 100) == pytest.approx(0.05)
    assert binomial_error(0.3, 50) == pytest.approx(stats.binom(50, 0.3).std() / 50)
    assert accuracy_of_error(binomial_error(0.2, 1172), 1172) == pytest.approx(0.2)
    with pytest.raises(ValueError, match=r"1\.5 is not an accuracy"):
        binomial_error(1.5, 10)
    with pytest.raises(ValueError, match=r"on 100 items no accuracy has a standard error of 0\.06"):
        accuracy_of_error(0.06, 100)
