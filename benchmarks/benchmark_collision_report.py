"""Marks and a table from a record of benchmark_collision.py."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks import benchmarking
from benchmarks.benchmarking import Mark, judge, mib_text, milliseconds, timing_text
from benchmarks.measuring import PEAK_RESOLUTION_BYTES
from kiti.report.formats import NOTHING, Grid

OPERATOR_PARTICLES = 128  # the mark "operator within 3x of reading and writing" is for at most this many


def marks(rows: Sequence[dict[str, Any]], device: str, threads: int) -> list[Mark]:
    """The marks of issue 3. A case with one particle has no pair, and only "never slower" applies to it."""
    few, thirty = (0, 1), (15, 60)  # partners per particle; around thirty is within a factor of two
    judged = []
    for kind, fast, dense in (("cpu", 50, 4), ("cuda", 100, 20)):
        here = rows if kind == device else []
        paired = [row for row in here if row["particles"] > 1]
        for least, (low, high), condition in (
            (fast, few, "at most one partner a particle is accepted"),
            (dense, thirty, "around thirty partners are (15 to 60)"),
        ):
            chosen = [row for row in paired if low <= row["implementations"]["literal"]["partners"] <= high]
            text = f"{kind}: at least {least}x the literal form where {condition}"
            judged.append(judge_by_size(text, chosen, "times_faster", least))
        judged.append(judge_by_size(f"{kind}: never slower than the literal form", here, "times_faster", 1))
        unseen = threads * PEAK_RESOLUTION_BYTES if kind == "cpu" else 0
        judged.append(judge_memory(f"{kind}: at most 1/20 of the literal form's peak memory", paired, 20, unseen))
    operator = [(row["case"], row["operator"]["times_add"]) for row in rows if row["operator"]]
    text = f"cuda: within 3x of reading x, v and writing x' once (at most one partner, N <= {OPERATOR_PARTICLES})"
    return [*judged, judge(text, operator, at_most=3, unit="x")]


def judge_by_size(text: str, rows: Sequence[dict[str, Any]], of: str, least: float) -> Mark:
    """`judge`, which also gives the N from which the mark is always reached."""
    values = [(row, least_of(row, of)) for row in rows]
    mark = judge(text, [(f"{row['case']} (N={row['particles']})", v) for row, v in values], at_least=least, unit="x")
    missing = [row["particles"] for row, value in values if value is not None and value < least]
    if mark.state != "not reached" or max(missing) == max(row["particles"] for row in rows):
        return mark
    beyond = min(row["particles"] for row in rows if row["particles"] > max(missing))
    return replace(mark, detail=f"{mark.detail}, all with N >= {beyond}")


def judge_memory(text: str, rows: Sequence[dict[str, Any]], least: float, unseen: int) -> Mark:
    """`judge_by_size`, without cases in which x' and its gradients, which any form returns, already take too much.

    `unseen`: bytes below the resolution of the measurement.
    """
    possible, names = [], []
    for row in rows:
        value, literal = least_of(row, "memory"), row["implementations"]["literal"]["peak_bytes"]
        returned = row["implementations"][row["auto"]]["returned_bytes"]
        if value is not None and value < least and least * (returned + unseen) > literal:
            names.append(f"{row['case']} (N={row['particles']})")
        else:
            possible.append(row)
    mark = judge_by_size(text, possible, "memory", least)
    if not names:
        return mark
    return replace(mark, detail=f"{mark.detail}; left out, x' and its gradients alone being more: {', '.join(names)}")


def least_of(row: dict[str, Any], of: str) -> float | None:
    """How many times faster than `literal`, or smaller in memory, the implementation that `auto` picks is."""
    literal, auto = row["implementations"]["literal"], row["implementations"][row["auto"]]
    if of == "times_faster":
        return auto["times_faster"]
    if literal["peak_bytes"] is None or auto["peak_bytes"] is None:
        return None
    return literal["peak_bytes"] / max(1, auto["peak_bytes"])


def grid(record: dict[str, Any]) -> Grid:
    """A line for each case and implementation other than `literal`."""
    header = [
        "model",
        "heads",
        "N",
        "coll_coef",
        "scale",
        "systems",
        "partners",
        "literal ms",
        "implementation",
        "ms",
        "times faster",
        "literal MiB",
        "MiB",
        "difference",
        "auto",
        "times add",
    ]
    lines = [line(case, name) for case in record["cases"] for name in case["implementations"] if name != "literal"]
    models = {case["case"]: case["model"] for case in record["cases"]}
    copied = {f"{case['model']} as {models[case['same_as']]}": None for case in record["cases"] if case["same_as"]}
    notes = [
        "one forward and backward; median (least…most) of interleaved runs, less the first of a turn that has several; "
        "times faster: ratio of the medians (least…most within a round)",
        f"{record['settings']['dtype']}; features normal with standard deviation `scale`; systems used of those in a "
        "training step of the model: ResNet batch 128 at 32x32, GPT-2 8x1024 tokens, BERT 32x512, FNO batch 20",
        "partners: accepted a particle; MiB: peak of one forward and backward above what was held before",
        "difference: largest of values and gradients from `literal` on the same directions, in units of the largest "
        "entry; a pair within a rounding of the threshold may be accepted by one alone (± pairs)",
        "auto: what `auto` picks, and the fastest where it is another",
        *([f"cut down to the same systems, and measured once: {'; '.join(copied)}"] if copied else []),
        benchmarking.provenance(record),
    ]
    return Grid(f"The collision, implementations against the literal form, {record['device']}", header, lines, notes)


def line(case: dict[str, Any], name: str) -> list[str]:
    literal, this = case["implementations"]["literal"], case["implementations"][name]
    difference = max(this["value_difference"], this["gradient_difference"])
    apart = f" ({this['pairs_apart']:+d} pairs)" if this["pairs_apart"] else ""
    faster = f"{this['times_faster']:.3g} ({this['times_faster_lowest']:.3g}…{this['times_faster_highest']:.3g})"
    return [
        case["model"],
        str(case["collision_heads"]),
        str(case["particles"]),
        f"{case['coll_coef']:g}",
        f"{case['scale']:g}",
        f"{case['systems']} of {case['model_systems']}",
        f"{this['partners']:.3g}",
        milliseconds(literal["median_s"]),
        name,
        timing_text(this),
        faster,
        mib_text(literal["peak_bytes"]),
        mib_text(this["peak_bytes"]),
        f"{difference:.1e}{apart}",
        case["auto"] + ("" if case["auto"] == case["fastest"] else f" (fastest: {case['fastest']})"),
        f"{case['operator']['times_add']:.3g}" if case["operator"] else NOTHING,
    ]
