"""The sentences that belong under a table: what its numbers are, and of which runs."""

from collections.abc import Sequence

from kiti.configuration.config import Composed, compose
from kiti.report import formats
from kiti.report.sheets import TableSpec
from kiti.report.table_runs import Cell, Found, Overrides, Plan, differences, row_overrides

PAPER = "paper"


def notes(spec: TableSpec, scale: str, cells: Plan, found: Sequence[Found]) -> list[str]:
    """What the note of its YAML says, what the scale and the seeds are, where the records come from."""
    said = [
        *([spec.note.strip()] if spec.note else []),
        _scale_note(spec, scale, cells),
        f"Seeds {_ranges(spec.scales[scale].seeds)}. Ours is the mean ± sample standard deviation over seeds; "
        "Δ is ours minus the baseline, seed by seed, with the 95 % t interval of its mean; p is that of the "
        "two-sided paired t-test, not corrected for the number of rows.",
        _records_note(found),
    ]
    if any(row.is_printed for row in spec.rows):
        warning = "" if scale == PAPER else f" and are not comparable with numbers at scale {scale}"
        said.insert(-2, f"Published numbers come from the paper's own protocol{warning}.")
    return [" ".join(note.split()) for note in said]


def _ranges(seeds: Sequence[int]) -> str:
    """`0–4, 7, 8`."""
    ordered = sorted(seeds)
    starts = [seed for seed in ordered if seed - 1 not in seeds]
    ends = [seed for seed in ordered if seed + 1 not in seeds]
    runs = [
        f"{a}–{b}" if b > a + 1 else ", ".join(map(str, range(a, b + 1))) for a, b in zip(starts, ends, strict=True)
    ]
    return ", ".join(runs)


def _scale_note(spec: TableSpec, scale: str, cells: Plan) -> str:
    """What the scale is: the keys in which its configurations differ from the paper's."""
    if scale == PAPER:
        return "Scale paper: the paper's protocol."
    known: dict[str, tuple[Overrides, Composed]] = {}
    for row in spec.rows:
        cell = cells[row_overrides(row.run_at(scale), scale, spec.scales[scale])]
        if isinstance(cell, Cell):
            known.setdefault(cell.composed.experiment, (tuple(row.run_at(scale)), cell.composed))
    differing = []
    for experiment, (run, composed) in known.items():
        paper = compose([*run, f"scale={PAPER}"])
        keys = [
            f"{key} {ours} ({theirs})"
            for key, (ours, theirs) in differences(composed.config, paper.config).items()
            if key != "scale"
        ]
        differing.append(f"{experiment} differs from scale paper (in brackets) in {', '.join(keys) or 'nothing'}")
    return f"Scale {scale}: {'; '.join(differing)}."


def _records_note(found: Sequence[Found]) -> str:
    if not found:
        return "No records: nothing here was run."
    # Rows may share a run, so count runs, not cells.
    runs = {(one.record.config_hash, one.record.seed): one for one in found}
    records = [one.record for one in runs.values()]
    committed = sum(one.committed for one in runs.values())
    commits = sorted({record.git.commit[:10] + (" with changes" if record.git.dirty else "") for record in records})
    devices = sorted({record.device_name for record in records})
    torch = sorted({record.versions["torch"] for record in records if "torch" in record.versions})
    seconds = sum(record.wall_seconds for record in records)
    return (
        f"Runs: {len(runs)} ({len(runs) - committed} of this machine, {committed} committed), "
        f"{formats.duration(seconds)} in all; commit {', '.join(commits)}; on {', '.join(devices)}"
        + (f"; torch {', '.join(torch)}." if torch else ".")
    )
