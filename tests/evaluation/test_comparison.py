"""Two models item by item, and what is kept of each."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from kiti.data import DataError
from kiti.evaluation.comparison import compare, mcnemar
from kiti.evaluation.kept_results import TaskResult, keep, latest
from kiti.evaluation.printing import comparison_table, results_table


def choices(right: list[bool], norm: list[bool] | None = None, ids: str = "piqa/", **record: Any) -> TaskResult:
    rows = [
        {"id": f"{ids}{at}", "content": f"{at}", "right": one, "right_norm": norm[at] if norm else None}
        for at, one in enumerate(right)
    ]
    schema = {"id": pa.string(), "content": pa.string(), "right": pa.bool_(), "right_norm": pa.bool_()}
    found = {"value": sum(right) / len(right), "error": math.nan, "beyond_chance": False, "ties": 2}
    record = {"task": "piqa", "kind": "multiple_choice", "n": len(right), "acc": found, "taken": "acc"} | record
    record |= {"chance": 0.5, "weighting": None, "truncated": 1, "not_finite": 0} | (
        {"acc_norm": found} if norm else {}
    )
    return TaskResult("piqa", record, {"piqa/acc": found["value"]}, pa.Table.from_pylist(rows, pa.schema(schema)))


def answers(nll: list[float], tokens: list[int]) -> TaskResult:
    rows = [
        {"id": f"sums/{at}", "content": "", "nll": one, "tokens": tokens[at], "cut": False}
        for at, one in enumerate(nll)
    ]
    value = math.exp(sum(nll) / sum(tokens))
    record = {"task": "sums", "kind": "perplexity", "n": len(nll), "taken": "perplexity_of_tokens", "truncated": 0}
    record |= {"perplexity_of_tokens": value, "mean_perplexity_of_items": 2.0, "mean_perplexity_of_items_error": 0.1}
    return TaskResult("sums", record, {"sums/perplexity_of_tokens": value}, pa.Table.from_pylist(rows))


def test_mcnemar_is_the_exact_binomial_test() -> None:
    first, second = [True] * 9 + [False] * 3 + [True] * 5, [False] * 9 + [True] * 3 + [True] * 5
    expected = 2 * sum(math.comb(12, k) for k in range(4)) / 2**12
    assert mcnemar(first, second) == (9, 3, pytest.approx(expected))
    assert mcnemar(first, first) == (0, 0, 1.0)


def test_accuracies_are_compared_on_the_items_that_differ(tmp_path: Path) -> None:
    first, second = [True] * 40 + [False] * 60, [True] * 30 + [False] * 10 + [True] * 30 + [False] * 30
    keep([choices(first, second)], tmp_path / "a", {})
    keep([choices(second, first)], tmp_path / "b", {})
    found, norm = compare(tmp_path / "a", tmp_path / "b")
    assert (found.metric, found.first, found.second, found.n) == ("acc", 0.4, 0.6, 100)
    assert (found.only_first, found.only_second) == (10, 30)
    assert found.change == pytest.approx(0.2)
    # The standard error of a mean of 100 differences, 10 of −1, 30 of 1 and 60 of 0.
    error = math.sqrt((0.4 - 0.2**2) / 100)
    assert (found.low, found.high) == pytest.approx((0.2 - 1.96 * error, 0.2 + 1.96 * error), abs=0.02)
    assert (norm.metric, norm.change) == ("acc_norm", pytest.approx(-0.2))
    assert compare(tmp_path / "a", tmp_path / "b") == [found, norm], "the same resamples each time"


def test_perplexities_are_compared_as_a_ratio(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    tokens = draw.integers(1, 9, 50)
    nll = tokens * draw.uniform(1, 2, 50)
    keep([answers(nll.tolist(), tokens.tolist())], tmp_path / "a", {})
    keep([answers((nll - 0.1 * tokens).tolist(), tokens.tolist())], tmp_path / "b", {})
    [found] = compare(tmp_path / "a", tmp_path / "b")
    assert found.change == pytest.approx(math.exp(-0.1))
    assert (found.low, found.high) == pytest.approx((math.exp(-0.1), math.exp(-0.1)))
    assert found.first == pytest.approx(math.exp(nll.sum() / tokens.sum()))
    assert found.p is None


def test_other_items_are_not_compared(tmp_path: Path) -> None:
    keep([choices([True, False])], tmp_path / "a", {})
    keep([choices([True, False, True])], tmp_path / "b", {})
    keep([choices([True, False], ids="other/")], tmp_path / "c", {})
    keep([answers([1.0, 2.0], [1, 2])], tmp_path / "d", {})
    keep([answers([1.0, 2.0], [1, 3])], tmp_path / "e", {})
    for other, complaint in (
        ("b", r"piqa: the two were evaluated on other items \(2 and 3 of them\)"),
        ("c", "other items"),
        ("d", "have no task in common: piqa and sums"),
    ):
        with pytest.raises(DataError, match=complaint):
            compare(tmp_path / "a", tmp_path / other)
    with pytest.raises(DataError, match="into other tokens"):
        compare(tmp_path / "d", tmp_path / "e")
    with pytest.raises(DataError, match="a: no results of sums; there are piqa"):
        compare(tmp_path / "a", tmp_path / "d", ["sums"])


def test_the_last_evaluation_of_a_task_counts(tmp_path: Path) -> None:
    keep([choices([True, False])], tmp_path, {"time": "then"})
    keep([answers([1.0], [1])], tmp_path, {"time": "now"})
    keep([choices([True, True])], tmp_path, {"time": "now"})
    found = latest(tmp_path)
    assert found["piqa"].items["right"].to_pylist() == [True, True]
    assert found["sums"].items["nll"].to_pylist() == [1.0]
    lines = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert [line["time"] for line in lines] == ["then", "now", "now"]
    assert lines[0]["metrics"] == {"piqa/acc": 0.5}
    assert lines[0]["tasks"][0]["acc"]["error"] is None, "JSON has no nan"


def test_damage_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"kiti-eval .* --tasks … makes it"):
        latest(tmp_path)
    keep([choices([True, False])], tmp_path, {})
    [items] = (tmp_path / "items").iterdir()
    whole = items.read_bytes()
    items.write_bytes(whole[:-1] + b"x")
    with pytest.raises(DataError, match="its checksum is not the one in its name"):
        latest(tmp_path)
    items.unlink()
    with pytest.raises(DataError, match="No such file"):
        latest(tmp_path)
    (tmp_path / "evaluations.jsonl").write_text("{\n")
    with pytest.raises(DataError, match="line 1 is damaged"):
        latest(tmp_path)
    (tmp_path / "evaluations.jsonl").write_text('{"metrics": {}}\n')
    with pytest.raises(DataError, match="no tasks"):
        latest(tmp_path)


def test_tables_fit_80_columns(tmp_path: Path) -> None:
    name = "stand_in_commonsenseqa"
    result = choices([True, False] * 20, [False, True] * 20)
    long = TaskResult(name, result.record | {"task": name}, {}, result.items)
    problems = answers([1.0, 2.0], [1, 2])
    for folder in ("a", "b"):
        keep([long, problems], tmp_path / folder, {})
    console = Console(file=io.StringIO(), width=80)
    console.print(results_table([long, problems]))
    console.print(comparison_table(compare(tmp_path / "a", tmp_path / "b")))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed, "nothing is cut off"
    for expected in (
        name,
        "acc *",
        "acc_norm",
        "at chance (0.5)",
        "2 ties",
        "1 truncated",
        "perplexity *",
        "[+0.000, +0.000]",
    ):
        assert expected in printed
