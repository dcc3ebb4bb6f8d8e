"""The runs behind a table's rows, and the records of these runs.

Each row has one configuration. Its records are those with the same configuration hash, one per seed. A local record
takes precedence over a committed one of the same run.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kiti.configuration import identity
from kiti.configuration.compose import Composed, build_model, compose
from kiti.configuration.explain import ConfigError
from kiti.configuration.own_record import own_record
from kiti.configuration.scales import ScaleError
from kiti.report import trivial_numbers
from kiti.report.sheets import Scale, TableSpec
from kiti.report.trivial_numbers import TrivialNumbers
from kiti.storage.records import Record, RecordError, read_lines
from kiti.units.registry import UndeclaredError

Overrides = tuple[str, ...]


@dataclass(frozen=True)
class TableRun:
    """A composed configuration, the overrides (without seed) that start its runs, and the seeds of these.

    A row that `may_not_compose` may also not fit: only the model knows whether its features can collide that way.
    """

    overrides: Overrides
    composed: Composed
    seeds: tuple[int, ...]
    may_not_fit: bool = False

    @cached_property
    def misfit(self) -> str:
        """Why the model has no place for the residual, empty if it has. Imports torch where that is not known."""
        if not self.may_not_fit or not hasattr(self.composed.checked.residual, "collision_heads"):
            return ""
        import torch

        try:
            with torch.device("meta"):
                build_model(self.composed)
        except ConfigError as error:
            return str(error)
        return ""

    def run_dir(self, seed: int) -> Path:
        """The directory of the run with `seed`."""
        return self.composed.run_dir_of(seed)


@dataclass(frozen=True)
class StoredRecord:
    """A record, whether it is a committed one (otherwise local), and its folder."""

    record: Record
    committed: bool
    folder: Path


# A configuration that cannot be composed at this scale is represented by its ConfigError.
Plan = Mapping[Overrides, TableRun | ConfigError]


def row_overrides(run: Sequence[str], scale: str, settings: Scale) -> Overrides:
    """The overrides of a row's run at a scale, without the seed."""
    return (*run, *settings.overrides, f"scale={scale}")


def plan(spec: TableSpec, scale: str, *, any_commit: bool = False) -> Plan:
    """Compose each distinct configuration of the table once; a row that is `not_run` at this scale has none.

    `any_commit`: as for `compose`. Raises ConfigError if a row does not compose but has to.
    """
    settings = spec.scales[scale]
    runs: dict[Overrides, TableRun | ConfigError] = {}
    seeds: dict[Overrides, dict[int, None]] = {}  # rows of several problems may share a run
    for row in spec.rows:
        overrides = row_overrides(row.run_at(scale), scale, settings)
        seeds.setdefault(overrides, {}).update(dict.fromkeys(settings.seeds_of(row.group)))
    for row in spec.rows:
        overrides = row_overrides(row.run_at(scale), scale, settings)
        if scale in row.not_run:
            runs[overrides] = ConfigError(row.not_run[scale])
        elif overrides not in runs:
            try:
                composed = compose([*overrides, f"seed={settings.seeds[0]}"], any_commit=any_commit)
                runs[overrides] = TableRun(overrides, composed, tuple(seeds[overrides]), row.may_not_compose)
            except ConfigError as error:
                if not row.may_not_compose or isinstance(error, ScaleError):
                    raise ConfigError(f"row {row.group}/{row.label}: {error}") from error
                runs[overrides] = error
    return runs


def runs_dir(plan: Plan) -> Path:
    """The local folder for runs, from the composed configurations. ConfigError, with a reason, if there are none."""
    for run in plan.values():
        if isinstance(run, TableRun):
            return run.composed.runs_dir
    raise ConfigError(f"no row can be run: {next(map(str, plan.values()))}")


class Archive:
    """The records a table may use: its paper's committed ones and, if `local`, those on this machine."""

    def __init__(
        self,
        committed: Iterable[Record],
        local: bool,
        folder: Path,
        replicate: str | None = None,
        trivial: Sequence[TrivialNumbers] = (),
    ) -> None:
        self._every = list(committed)
        self._committed = {record.key[:2]: record for record in self._every if record.replicate == replicate}
        self._local = local
        self._folder = folder
        self.replicate = replicate
        self.trivial = trivial

    @classmethod
    def of_paper(cls, folder: Path, local: bool = True, replicate: str | None = None) -> "Archive":
        """With the committed records in `folder`/records/*.jsonl, or those of a `replicate` of the same runs."""
        files = sorted((folder / "records").glob("*.jsonl"))
        committed = (record for file in files for record in read_lines(file))
        trivial = trivial_numbers.read(folder.parent / trivial_numbers.FOLDER)
        return cls(committed, local, folder / "records", replicate, trivial)

    def replicates(self) -> "list[Archive]":
        """The committed replicates of these records, by name; those of a replicate are none."""
        names = sorted({record.replicate for record in self._every if record.replicate})
        return (
            [] if self.replicate else [Archive(self._every, False, self._folder, name, self.trivial) for name in names]
        )

    def records(self, run: TableRun, seeds: Sequence[int]) -> dict[int, StoredRecord]:
        """The run's records by seed. DamagedRecord when a run directory holds a record that is not its own."""
        found = {}
        for seed in seeds:
            if self._local and (record := own_record(run.composed, seed)):
                found[seed] = StoredRecord(record, committed=False, folder=run.run_dir(seed))
            elif (run.composed.hash, seed) in self._committed:
                record = self._committed[run.composed.hash, seed]
                found[seed] = StoredRecord(record, committed=True, folder=self._folder)
        return found

    def outdated(self, run: TableRun | ConfigError) -> list[Record]:
        """Committed records of the same configuration but of other revisions."""
        if not isinstance(run, TableRun):
            return []
        composed, today = run.composed, identity.revisions(run.composed.checked)
        return [
            record
            for record in self._committed.values()
            if (record.experiment, record.scale) == (composed.experiment, composed.scale)
            and record.revisions != today
            and _hash_today(record, today) == composed.hash
        ]


def _hash_today(record: Record, today: identity.Revisions) -> str:
    """The hash of a record's configuration at these revisions; empty if it names a unit or group that is gone.

    Keys that are newer than the record have their neutral default there.
    """
    try:
        return identity.hash_of(record.config, today)
    except (KeyError, UndeclaredError):
        return ""


def aggregate(records: Sequence[Record], key: str) -> dict[int, float]:
    """The metric `key` by seed; nan if the run diverged before it was measured.

    RecordError when the records have different configurations or lack the metric.
    """
    if records:
        require_same_configuration(records, records[0].config_hash, records[0].config)
    values = {}
    for record in records:
        if key not in record.metrics and record.divergence:
            values[record.seed] = math.nan
            continue
        if key not in record.metrics:
            raise RecordError(
                f"record {record.config_hash} seed {record.seed}: no metric {key!r};"
                f" it has: {', '.join(record.metrics)}"
            )
        values[record.seed] = record.metrics[key]
    return values


def require_same_configuration(records: Sequence[Record], config_hash: str, config: Mapping[str, Any]) -> None:
    """RecordError, naming both hashes and the differing keys, unless all records have the given configuration."""
    for record in records:
        if record.config_hash != config_hash:
            differing = differences(config, record.config)
            keys = "; ".join(f"{key}: {ours} and {theirs}" for key, (ours, theirs) in differing.items())
            raise RecordError(
                f"configurations {config_hash} and {record.config_hash} (seed {record.seed}) differ"
                f" and cannot be averaged ({keys or 'the same keys, other revisions'})"
            )


def require_same_data(records: Sequence[Record], remedy: str) -> None:
    """RecordError unless all records used the same data, and those of one seed the same split.

    With `data.draw=per_seed` those of one seed must have used the same data, and all must be drawn so.
    """
    of_seeds: dict[int, Record] = {}
    for record in records:
        of_seed = of_seeds.setdefault(record.seed, record)
        if draw_of(record) != draw_of(records[0]):
            raise RecordError(
                f"records {records[0].config_hash} and {record.config_hash} cannot be compared:"
                f" data.draw is {draw_of(records[0])} and {draw_of(record)}; {remedy}"
            )
        same = of_seed if draw_of(record) == "per_seed" else records[0]
        for other, what in ((same, "content"), (of_seed, "split")):
            # For computed data the recipe must agree: the last bit depends on the processor.
            key = "identity" if what == "content" else what
            ours, theirs = getattr(record.data, key), getattr(other.data, key)
            if ours != theirs:
                raise RecordError(
                    f"records {other.config_hash} seed {other.seed} and {record.config_hash}"
                    f" seed {record.seed} cannot be compared: they were made with different data"
                    f" ({what} {theirs} and {ours}); {remedy}"
                )


def draw_of(record: Record) -> str:
    """Whether the run's data are `fixed`, the same for all seeds, or drawn `per_seed`."""
    draw: str = record.config["data"].get("draw", "fixed")
    return draw


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The dotted keys where two nested dicts differ, with both values (None for a missing key)."""
    flat_a, flat_b = _flat(a), _flat(b)
    keys = [*flat_a, *(key for key in flat_b if key not in flat_a)]
    return {key: (flat_a.get(key), flat_b.get(key)) for key in keys if flat_a.get(key) != flat_b.get(key)}


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
