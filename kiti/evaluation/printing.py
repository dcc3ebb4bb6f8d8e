"""Results and comparisons as tables for a terminal of 80 columns."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Column, Table

from kiti.evaluation.comparison import CONFIDENCE, Compared
from kiti.evaluation.kept_results import TaskResult


def results_table(results: Sequence[TaskResult]) -> Table:
    """A line for each metric; the one that tables take has a star."""
    table = _table("value", "error", "n", "notes")
    for result in results:
        rows = _perplexity_rows if result.record["kind"] == "perplexity" else _accuracy_rows
        table.add_row(result.task)
        for metric, *cells in rows(result.record):
            table.add_row(f"  {metric}", *cells)
    return table


def _perplexity_rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    cut, n = _counts(record), str(record["n"])
    yield ["perplexity *", _number(record["perplexity_of_tokens"]), "", n, ", ".join(["over tokens", *cut])]
    error = _number(record["mean_perplexity_of_items_error"])
    yield ["perplexity", _number(record["mean_perplexity_of_items"]), error, n, "mean over items"]


def _accuracy_rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    n = str(record["n"])
    for metric in (name for name in ("acc", "acc_norm") if name in record):
        found = record[metric]
        at_chance = [] if found["beyond_chance"] else [f"at chance ({record['chance']:.3g})"]
        ties = [f"{found['ties']} ties"] if found["ties"] else []
        star = " *" if record["taken"] == metric else ""
        notes = ", ".join([*at_chance, *ties, *_counts(record)])
        yield [f"{metric}{star}", f"{found['value']:.4f}", _number(found["error"]), n, notes]
    if weighting := record["weighting"]:
        notes = f"mean of {weighting['number_of_subjects']} subjects"
        yield ["acc", f"{weighting['subjects']:.4f}", _number(weighting["subjects_error"]), n, notes]


def comparison_table(compared: Sequence[Compared]) -> Table:
    """A line for each metric: both values, the change with its interval, and p."""
    table = _table("n", "A", "B", "change", f"{100 * CONFIDENCE:.0f} %", "p")
    named = None
    for one in compared:
        if one.task != named:
            table.add_row(named := one.task)
        if one.p is None:
            metric, values = "perplexity, B / A", [_number(one.first), _number(one.second), f"×{one.change:.3f}"]
            interval, p = f"[{one.low:.3f}, {one.high:.3f}]", ""
        else:
            metric, values = f"{one.metric}, B − A", [f"{one.first:.3f}", f"{one.second:.3f}", f"{one.change:+.3f}"]
            interval, p = f"[{one.low:+.3f}, {one.high:+.3f}]", f"{one.p:.2g}"
        table.add_row(f"  {metric}", str(one.n), *values, interval, p)
    return table


def _table(*headers: str) -> Table:
    """Its first column has the task and below it the metrics; only names too long for it are broken."""
    return Table(Column("task", overflow="fold"), *headers, box=None, pad_edge=False, padding=(0, 1))


def _counts(record: Mapping[str, Any]) -> list[str]:
    named = {"truncated": "truncated", "not_finite": "without a finite score"}
    return [f"{record[name]} {text}" for name, text in named.items() if record.get(name)]


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "infinite" if value > 0 else "–"
