"""The notes below a table: what its numbers are, and which runs they come from."""

from collections.abc import Sequence

from kiti.configuration.config import Composed, compose
from kiti.report import formats
from kiti.report.sheets import TableSpec
from kiti.report.table_runs import Overrides, Plan, StoredRecord, TableRun, differences, row_overrides

PAPER = "paper"


def notes(spec: TableSpec, scale: str, plan: Plan, found: Sequence[StoredRecord]) -> list[str]:
    """The note of the YAML file, the scale, the seeds and statistics, and the origin of the records."""
    sentences = [
        *([spec.note.strip()] if spec.note else []),
        _scale_note(spec, scale, plan),
        f"Seeds {_ranges(spec.scales[scale].seeds)}. Ours is the mean ± sample standard deviation over seeds. "
        "Δ is the mean of ours minus the baseline, seed by seed, with its 95 % t interval. p is from the "
        "two-sided paired t-test, not corrected for the number of rows.",
        _records_note(found),
    ]
    if any(row.is_printed for row in spec.rows):
        warning = "" if scale == PAPER else f" and are not comparable with numbers at scale {scale}"
        sentences.insert(-2, f"Published numbers come from the paper's own protocol{warning}.")
    return [" ".join(note.split()) for note in sentences]


def _ranges(seeds: Sequence[int]) -> str:
    """`0–4, 7, 8`."""
    ordered = sorted(seeds)
    starts = [seed for seed in ordered if seed - 1 not in seeds]
    ends = [seed for seed in ordered if seed + 1 not in seeds]
    runs = [
        f"{a}–{b}" if b > a + 1 else ", ".join(map(str, range(a, b + 1))) for a, b in zip(starts, ends, strict=True)
    ]
    return ", ".join(runs)


def _scale_note(spec: TableSpec, scale: str, plan: Plan) -> str:
    """The scale, with the keys in which its configurations differ from the paper's."""
    if scale == PAPER:
        return "Scale paper: the paper's protocol."
    known: dict[str, tuple[Overrides, Composed]] = {}
    for row in spec.rows:
        table_run = plan[row_overrides(row.run_at(scale), scale, spec.scales[scale])]
        if isinstance(table_run, TableRun):
            known.setdefault(table_run.composed.experiment, (tuple(row.run_at(scale)), table_run.composed))
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


def _records_note(found: Sequence[StoredRecord]) -> str:
    if not found:
        return "No records: none of these runs was made."
    # Rows may share a run, so count runs, not rows.
    runs = {(one.record.config_hash, one.record.seed): one for one in found}
    records = [one.record for one in runs.values()]
    committed = sum(one.committed for one in runs.values())
    commits = sorted({record.git.commit[:10] + (" with changes" if record.git.dirty else "") for record in records})
    devices = sorted({record.device_name for record in records})
    torch = sorted({record.versions["torch"] for record in records if "torch" in record.versions})
    seconds = sum(record.wall_seconds for record in records)
    return (
        f"Runs: {len(runs)} ({len(runs) - committed} local, {committed} committed), "
        f"{formats.duration(seconds)} in total; commit {', '.join(commits)}; on {', '.join(devices)}"
        + (f"; torch {', '.join(torch)}." if torch else ".")
    )
