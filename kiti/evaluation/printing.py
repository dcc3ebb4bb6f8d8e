"""Results and comparisons as tables for a terminal of 80 columns."""

import math
from collections.abc import Sequence

from rich.table import Table

from kiti.evaluation.comparison import CONFIDENCE, Compared
from kiti.evaluation.task_results import TaskResult


def results_table(results: Sequence[TaskResult]) -> Table:
    """A line for each metric; the one that tables take has a star."""
    table = Table("task", "metric", "value", "error", "n", "notes", box=None, pad_edge=False)
    for result in results:
        record = result.record
        counts = [f"{record[name]} {name}" for name in ("truncated", "not_finite") if record.get(name)]
        if record["kind"] == "perplexity":
            error = _number(record["mean_perplexity_of_items_error"])
            for metric, of in (("perplexity_of_tokens", ""), ("mean_perplexity_of_items", error)):
                row = [f"{metric}{_star(record, metric)}", _number(record[metric]), of, str(record["n"])]
                table.add_row(result.task, *row, ", ".join(counts))
            continue
        for metric in (name for name in ("acc", "acc_norm") if name in record):
            found = record[metric]
            ties = [f"{found['ties']} ties"] if found["ties"] else []
            at_chance = [] if found["beyond_chance"] else [f"at chance ({record['chance']:.3g})"]
            values = [f"{found['value']:.4f}", f"{found['error']:.4f}", str(record["n"])]
            table.add_row(result.task, metric + _star(record, metric), *values, ", ".join([*at_chance, *ties, *counts]))
        if weighting := record["weighting"]:
            values = [f"{weighting['subjects']:.4f}", f"{weighting['subjects_error']:.4f}"]
            subjects = f"mean of {weighting['number_of_subjects']} subjects"
            table.add_row(result.task, "acc_by_subject", *values, str(record["n"]), subjects)
    return table


def comparison_table(compared: Sequence[Compared]) -> Table:
    """A line for each metric: both values, the change with its interval, and p."""
    table = Table("task", "metric", "n", "A", "B", "B − A", f"{100 * CONFIDENCE:.0f} %", "p", box=None, pad_edge=False)
    for one in compared:
        if one.p is None:
            values = [_number(one.first), _number(one.second), f"×{one.change:.3f}", f"{one.low:.3f} … {one.high:.3f}"]
        else:
            values = [f"{one.first:.4f}", f"{one.second:.4f}", f"{one.change:+.4f}"]
            values.append(f"{one.low:+.3f} … {one.high:+.3f}")
        metric = "perplexity" if one.p is None else one.metric
        table.add_row(one.task, metric, str(one.n), *values, "" if one.p is None else f"{one.p:.3g}")
    return table


def _star(record: dict[str, object], metric: str) -> str:
    return " *" if record["taken"] == metric else ""


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "infinite" if value > 0 else "–"
