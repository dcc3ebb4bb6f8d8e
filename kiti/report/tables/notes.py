"""The notes below a table: what its numbers are, and which runs they come from."""

from collections import Counter
from collections.abc import Mapping, Sequence

from kiti.configuration import identity
from kiti.configuration.compose import Composed, compose
from kiti.report import formats
from kiti.report.sheets import TableSpec
from kiti.report.table_runs import Overrides, Plan, StoredRecord, TableRun, differences, row_overrides
from kiti.storage.records import Record

PAPER = "paper"


def notes(
    spec: TableSpec, scale: str, plan: Plan, found: Sequence[StoredRecord], outdated: Sequence[Record]
) -> list[str]:
    """The note of the YAML file, the scale, the seeds and statistics, and the origin of the records.

    `outdated` are records of the same configurations that are not used, as a unit's revision has changed since.
    """
    printed = any(row.is_printed or row.claimed for row in spec.rows)
    warning = "" if scale == PAPER else f" and are not comparable with numbers at scale {scale}"
    sentences = [
        *([spec.note.strip()] if spec.note else []),
        _scale_note(spec, scale, plan),
        *([f"Published numbers come from the paper's own protocol{warning}."] if printed else []),
        f"{_seeds(spec, scale)} {_statistics(spec)}",
        *_draws(plan),
        *([_family(spec, scale)] if any(row.against for row in spec.rows) else []),
        _records_note(found),
        *_code_notes([one.record for one in found]),
        *_outdated_notes(outdated),
    ]
    return [" ".join(note.split()) for note in sentences]


def _statistics(spec: TableSpec) -> str:
    """What the numbers of the columns are."""
    if not spec.ratios:
        return (
            "Ours is the mean ± sample standard deviation over seeds. "
            "Δ is the mean of ours minus the baseline, seed by seed, with its 95 % t interval, relative to the "
            "baseline if it has %. Sees: the smallest true difference that this number of seeds would have shown with "
            "80 % power, two-sided at 5 %, by the observed spread of the differences."
        )
    [metric] = spec.metrics
    final = "last value" if metric.last == 1 else f"mean of the last {metric.last} values"
    extreme = "maximum" if metric.higher_is_better else "minimum"
    timed = "Time: seconds of training with its validations, evenly over the steps. " if "time" in spec.ratios else ""
    return (
        f"ratio: where a run first is as good as the {final} of its baseline with the same seed, over the baseline's "
        f"whole training; the run is followed by its running {extreme}, linear between two values. {timed}"
        "The ratio is the median over seeds with its 95 % bootstrap interval (10,000 draws of seeds). > is a lower "
        "bound: a run that does not reach the value counts as later than all others. A curve with noise passes its "
        "own final value before its end, so a ratio below 1 need not be a gain. Two lines show ratios where nothing "
        "differs: the baseline to its own final value (itself), and each of its seeds to that of every other (other "
        "seeds). ahead: how often a run is before its baseline at the worse of their two final values, which both "
        "reach; in half of the seeds, if nothing differs. p is from the two-sided sign test on that, for which six "
        "seeds are needed."
    )


def _seeds(spec: TableSpec, scale: str) -> str:
    """Which seeds, and by problem those that were planned from a pilot."""
    settings = spec.scales[scale]
    groups = dict.fromkeys(row.group for row in spec.rows)
    planned = [f"{group} {ranges(settings.seeds_of(group))}" for group in groups if group in settings.planned]
    if not planned:
        return f"Seeds {ranges(settings.seeds)}."
    pilot = f"as calculated from a pilot of seeds {ranges(settings.seeds)}, which is left out"
    others = "" if len(planned) == len(groups) else f"; the others {ranges(settings.seeds)}"
    return f"Seeds: {', '.join(planned)}, {pilot}{others}."


_DRAWS = {
    "fixed": "the same samples for all seeds, so that intervals do not cover the choice of data",
    "per_seed": "each seed draws its own samples, so that intervals cover the choice of data too",
}


def _draws(plan: Plan) -> list[str]:
    """Of data that are drawn at random, whether seeds share them."""
    found: dict[str, dict[str, None]] = {}
    for run in plan.values():
        if isinstance(run, TableRun) and (draw := getattr(run.composed.checked.data, "draw", "")):
            found.setdefault(draw, {})[run.composed.checked.data.name] = None
    return [f"Data ({', '.join(names)}): {_DRAWS[draw]}." for draw, names in found.items()]


def _family(spec: TableSpec, scale: str) -> str:
    """Which comparisons decide, and what the verdicts mean."""
    if not spec.primary:
        return "No comparison here is a primary one: there are differences, but no verdicts."
    if spec.ratios:
        return (
            f"Primary: the ratios of {', '.join(spec.primary)} that the paper claims, or else the first. Their p are "
            "corrected together by Holm's method, and a verdict requires a corrected p < 0.05; else undecided. Other "
            "ratios get no verdict."
        )
    deciding = dict.fromkeys(metric.label for row in spec.rows for metric in spec.deciding(row, scale))
    return (
        f"Primary: each of {', '.join(spec.primary)} with the first of its baselines, by {', '.join(deciding)}. "
        "Their p are from the two-sided paired t-test, corrected together by Holm's method. Equivalent: the 90 % "
        "interval lies within the margin, which is half the printed difference unless the sheet gives another. Better "
        "or worse: else, with a corrected p < 0.05. Undecided: else. Other comparisons get no verdict."
    )


def ranges(seeds: Sequence[int]) -> str:
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
        _, places = identity.split_overrides(composed.checked, spec.scales[scale].overrides)
        paper = compose([*run, *places, f"scale={PAPER}"])
        keys = [
            f"{key} {ours} ({theirs})"
            for key, (ours, theirs) in differences(composed.config, paper.config).items()
            if key != "scale"
        ]
        differing.append(f"{experiment} differs from scale paper (in brackets) in {', '.join(keys) or 'nothing'}")
    return f"Scale {scale}: {'; '.join(differing)}."


def _code_notes(records: Sequence[Record]) -> list[str]:
    """Which units' source differs among records that are averaged or compared; `unknown` is that of old records."""
    versions: dict[tuple[str, str], Counter[str]] = {}
    for record in records:
        for group in record.config:
            unit = record.config[group].get("unit") if isinstance(record.config[group], Mapping) else None
            if unit and group in record.revisions:
                known = (record.fingerprint or {}).get(group, "unknown")
                versions.setdefault((group, unit), Counter())[known] += 1
    return [
        f"Code: the records of {group}={unit} come from {len(counted)} versions of its source, of one revision: "
        + ", ".join(f"{version} ({number})" for version, number in sorted(counted.items()))
        + "."
        for (group, unit), counted in versions.items()
        if len(counted) > 1
    ]


def _outdated_notes(records: Sequence[Record]) -> list[str]:
    if not records:
        return []
    of = sorted({f"{group} {revision}" for record in records for group, revision in record.revisions.items()})
    return [f"Not used: {len(records)} records of other revisions ({', '.join(of)}); --run repeats these runs."]


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
