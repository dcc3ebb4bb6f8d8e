"""How a table is written: CSV, LaTeX, terminal, and significant digits."""

import csv
import io
import math

import pytest
import yaml
from rich.console import Console
from table_cases import KITI, TABLE, VANILLA, build, recorded, save

from kiti.configuration.compose import compose
from kiti.report import formats, tables
from kiti.storage import records


def test_csv_holds_the_numbers(runs_dir, experiments):
    for seed in range(2):
        save(recorded(KITI, seed, 0.1 + seed), runs_dir)
        save(recorded(VANILLA, seed, 0.2 + seed, data=records.DataState("d1", "s1")), runs_dir)
    rows = list(csv.DictReader(io.StringIO(tables.to_csv(build("paper/t", experiments)))))
    assert len(rows) == 4
    row = next(row for row in rows if row["row"] == "KITI-FNO" and row["metric"] == "test/relative_l2")
    assert (row["published"], row["n"], row["seeds"], row["baseline"]) == ("0.00166", "2", "0 1", "FNO")
    assert float(row["mean"]) == pytest.approx(0.6)
    assert float(row["difference"]) == pytest.approx(-0.1)
    assert row["config_hash"] == compose([*KITI, "scale=smoke"]).hash


def test_latex_is_escaped(runs_dir, experiments):
    spec = TABLE | {"title": "50 % of A_B & {C}", "note": "x < 1e-3 ± -0.5"}
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(spec))
    save(recorded(VANILLA, 0, 0.1, data=records.DataState("d", "s", "noise for u_0")), runs_dir)
    text = formats.latex(tables.grid(build("paper/t", experiments)))
    assert r"\caption{50 \% of A\_B \& \{C\} (scale smoke)}" in text
    assert r"x $<$ 1e-3 $\pm$ $-$0.5" in text
    assert r"noise for u\_0" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0].splitlines()
    assert {line.replace(r"\&", "").count("&") for line in body if line.endswith(r"\\")} == {len(columns) - 1}


def test_a_terminal_prints_constant_columns_once(runs_dir, experiments):
    save(recorded(VANILLA, 0, 0.1), runs_dir)
    console = Console(record=True, width=200, file=io.StringIO())
    formats.show(tables.full_grid(build("paper/t", experiments)), console)
    text = console.export_text()
    assert "problem: Burgers; scale: smoke" in text
    assert "0.1 (n=1)" in text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.mean_and_std(0.0021734, 0.0000452), "0.002173 ± 0.000045"),
        (formats.mean_and_std(2.1734e-6, 4.5e-8), "(2.173 ± 0.045)e-06"),
        (formats.mean_and_std(123456.0, 12.0), "(1.23456 ± 0.00012)e+05"),
        (formats.mean_and_std(16.39461, 0.5), "16.39 ± 0.50"),
        (formats.mean_and_std(0.25, 0.0), "0.25 ± 0"),
        (formats.mean_and_std(0.123456789, math.nan), "0.1235"),
        (formats.mean_and_std(1.0, 1e-12), "1.00000 ± 0.00000"),
        (formats.difference_and_interval(-0.00051, -0.00061, -0.00041), "-0.00051 [-0.00061, -0.00041]"),
        (formats.difference_and_interval(0.0, 0.0, 0.0), "0 [0, 0]"),
        (formats.difference_and_interval(-0.5, math.nan, math.nan), "-0.5"),
        (formats.percent(-0.23502), "-23.5 %"),
        (formats.percent(0.0), "0 %"),
        (formats.percent(-0.0000312), "-0.003 %"),
        (formats.duration(48.2), "48 s"),
        (formats.duration(731.0), "12 min"),
        (formats.duration(12345.0), "3.4 h"),
        (formats.p_value(0.0123), "0.012"),
        (formats.p_value(1e-9), "<0.001"),
        (formats.p_value(1.0), "1"),
        (formats.p_value(math.nan), "–"),
    ],
)
def test_numbers_are_written_to_their_significant_digits(written, expected):
    assert written == expected


def shown(grid, width):
    console = Console(record=True, width=width, file=io.StringIO())
    formats.show(grid, console)
    return console.export_text().splitlines()


WORDS = ["last frame repeated", "16.39461\nΔ -5.5 %", "0.01758 ± 0.00012\n(n=5)", "-3.2 %\n[-14.1, +9.4]", "undecided"]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_terminal_breaks_no_word_and_no_number(width):
    header = ["problem", "row", "published", "ours", "Δ [95 % CI]", "verdict"]
    grid = formats.Grid("A table", header, [["Airfoil", *WORDS], ["Heat", *WORDS]], ["a note"], grouped=True)
    text = shown(grid, width)
    for part in ("0.01758 ± 0.00012", "(n=5)", "[-14.1, +9.4]", "Δ -5.5 %", "undecided", "repeated", "verdict"):
        assert sum(part in line for line in text) >= 1, part
    assert sum(line.strip() == "Airfoil" for line in text) == 1
    assert sum(line.strip() == "Heat" for line in text) == 1
    if width >= 80:
        assert max(map(len, text)) <= width


def test_a_line_feed_in_a_cell_is_one_in_markdown_and_a_space_in_latex():
    grid = formats.Grid("A table", ["a", "b"], [["1", "2\n(n=5)"]], [])
    assert "| 2<br>(n=5) |" in formats.markdown(grid)
    assert "1 & 2 (n=5)" in formats.latex(grid)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.effect(-0.23502, "relative"), "-23.5 %"),
        (formats.effect(0.6666, "points"), "+0.667"),
        (formats.effect(0.0, "points"), "0"),
        (formats.size(0.2345, "relative"), "23 %"),
        (formats.size(1.2345, "relative"), "123 %"),
        (formats.size(0.6666, "points"), "0.67"),
        (formats.size(math.nan, "points"), "–"),
        (formats.effect_and_interval(-0.0892, -0.2443, 0.0671, "relative"), "-9 %\n[-24, +7]"),
        (formats.effect_and_interval(0.123, -0.07, 0.31, "points"), "+0.12\n[-0.07, +0.31]"),
        (formats.effect_and_interval(0.123, math.nan, math.nan, "points"), "+0.123"),
    ],
)
def test_effects(written, expected):
    assert written == expected
