"""Committed files: the records behind a table, and the outputs built from those records alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kiti.report import sheets, shown_examples, verdicts
from kiti.report.claims import written as claims_pages
from kiti.report.drawing import draw
from kiti.report.sheets import HeatmapSpec, PictureSpec, Sheet, StepsSpec, SweepSpec, TableSpec
from kiti.report.table_runs import Archive, plan
from kiti.report.tables import Table, build, shown
from kiti.report.tables import outputs as table_outputs
from kiti.storage import records


def outputs(sheet: Sheet, table: Table) -> dict[str, bytes]:
    """All output files by extension: of a table md, csv, tex; of a figure md, csv, png, svg; of others all five.

    Others are sweeps and steps to a value.
    """
    contents = table_outputs(table)
    if isinstance(sheet, TableSpec):
        return contents
    if not isinstance(sheet, SweepSpec | StepsSpec):
        del contents["tex"]
    return contents | draw(sheet, table)


def write(contents: Mapping[str, bytes], stem: Path) -> list[Path]:
    """Write each content atomically to `stem`.<extension> and return the paths."""
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        records.write_whole(path, content)
    return paths


def publish(shown_tables: Sequence[tuple[Sheet, Table]], experiments: Path, replicate: str | None = None) -> list[Path]:
    """Merge the local records of these tables into the committed ones and rewrite every output they affect.

    As a `replicate` they stand beside the committed ones of the same runs.

    Tables share runs, so all outputs of a paper and scale are regenerated. RecordError if there is nothing to publish:
    neither local records nor, for a table without records, numbers of predictors without a network.
    """
    found = [(table, one) for _, table in shown_tables for line in table.lines for one in line.filled.records.values()]
    local = [(table, one.record) for table, one in found if not one.committed]
    if not local and not any(line.filled.given for _, table in shown_tables for line in table.lines):
        names = ", ".join(f"{table.name} at scale {table.scale}" for _, table in shown_tables)
        if found:
            raise records.RecordError(f"{names}: all records are committed already")
        raise records.RecordError(f"{names}: no records on this machine; create them with --run")
    files: dict[Path, dict[tuple[str, int, str], records.Record]] = {}
    for table, record in local:
        path = (experiments / table.name).parent / "records" / f"{record.experiment}-{table.scale}.jsonl"
        named = replace(record, replicate=replicate)
        files.setdefault(path, {})[named.key] = named
    for path, behind in files.items():
        records.publish(behind.values(), path)
    for sheet, table in shown_tables:
        if isinstance(sheet, PictureSpec | HeatmapSpec) and not replicate:
            drawn = [one.key for one in sheet.heatmaps] if isinstance(sheet, HeatmapSpec) else []
            shown_examples.publish(shown(table).values(), (experiments / table.name).parent / "records", drawn)
    mine = {(table.name, table.scale) for _, table in shown_tables}
    touched = {((experiments / name).parent, scale) for name, scale in mine}
    sharing = {
        (name, scale)
        for name, scale in sheets.committed(experiments)
        if ((experiments / name).parent, scale) in touched
    }
    written = _write_all(sorted(sharing | mine), experiments, experiments)
    written += _write_figures({name.split("/")[0] for name, _ in mine}, experiments, experiments)
    return written + claims_pages.write(claims_pages.names(experiments), experiments, experiments)


def rebuild(experiments: Path, into: Path, names: Sequence[str] = ()) -> list[Path]:
    """Regenerate the committed outputs (of `names`, or all) from committed records alone, below `into`.

    The figure of a paper's verdicts needs all its outputs, so it is written if these are there. Pages of claims and of
    coverage come last, as they are written from what is committed.
    """
    chosen, everything = sheets.committed(experiments, names), sheets.committed(experiments)
    papers = {name.split("/")[0] for name, _ in chosen}
    if into != experiments:
        papers -= {name.split("/")[0] for name, scale in everything if (name, scale) not in chosen}
    written = _write_all(chosen, experiments, into) + _write_figures(papers, experiments, into)
    pages = [name for name in claims_pages.names(experiments) if not names or name in names]
    return written + claims_pages.write(pages, experiments, into)


def _write_figures(papers: Iterable[str], experiments: Path, into: Path) -> list[Path]:
    return [
        path
        for paper in sorted(papers)
        for path in write(
            verdicts.figure(paper, experiments, into), sheets.outputs_stem(f"{paper}/{verdicts.NAME}", into)
        )
    ]


def _write_all(chosen: Iterable[tuple[str, str]], experiments: Path, into: Path) -> list[Path]:
    written = []
    for name, scale in chosen:
        sheet = sheets.load(name, experiments)
        sheets.scale_of(sheet, name, scale)
        spec = sheet.table(scale)
        archive = Archive.of_paper((experiments / name).parent, local=False)
        written += write(
            outputs(sheet, build(name, spec, scale, plan(spec, scale), archive)),
            sheets.outputs_stem(f"{name}.{scale}", into),
        )
    return written
