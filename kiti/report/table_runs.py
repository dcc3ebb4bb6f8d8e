"""Which runs fill a table's cells, and which records of them there are.

A cell is one configuration; its records are those whose hash equals the composed one's, one a seed. This
machine's record wins over a committed one of the same run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiti.configuration.config import Composed, ConfigError, build_model, compose
from kiti.report.sheets import Scale, TableSpec
from kiti.storage.records import FILE_NAME, Record, RecordError, read, read_lines

Overrides = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A composed configuration and the overrides (without seed) that start its runs."""

    overrides: Overrides
    composed: Composed

    def run_dir(self, seed: int) -> Path:
        """Where the run with `seed` leaves its record."""
        return self.composed.run_dir_of(seed)


@dataclass(frozen=True)
class Found:
    """A record, whether it is a committed one (otherwise this machine's), and the folder it lies in."""

    record: Record
    committed: bool
    folder: Path


# A configuration that cannot be composed at this scale stands as its ConfigError.
Plan = Mapping[Overrides, Cell | ConfigError]


def row_overrides(run: Sequence[str], scale: str, settings: Scale) -> Overrides:
    """The overrides of a row's run at a scale, without the seed."""
    return (*run, *settings.overrides, f"scale={scale}")


def plan(spec: TableSpec, scale: str) -> Plan:
    """Compose each distinct configuration of the table once. ConfigError where a row must and cannot."""
    settings = spec.scales[scale]
    cells: dict[Overrides, Cell | ConfigError] = {}
    for row in spec.rows:
        overrides = row_overrides(row.run_at(scale), scale, settings)
        if overrides not in cells:
            try:
                composed = compose([*overrides, f"seed={settings.seeds[0]}"])
                if row.may_not_compose:
                    _require_a_seam(composed)
                cells[overrides] = Cell(overrides, composed)
            except ConfigError as error:
                if not row.may_not_compose:
                    raise ConfigError(f"row {row.group}/{row.label}: {error}") from error
                cells[overrides] = error
    return cells


def _require_a_seam(composed: Composed) -> None:
    """ConfigError where the model has no place for the residual: what only the model knows, made without its numbers."""
    if not hasattr(composed.checked.residual, "collision_heads"):
        return
    import torch

    with torch.device("meta"):
        build_model(composed)


def runs_dir(cells: Plan) -> Path:
    """This machine's folder for runs, as the cells were composed."""
    return next(cell.composed.runs_dir for cell in cells.values() if isinstance(cell, Cell))


class Archive:
    """The records a table may use: its paper's committed ones and, where `local`, this machine's."""

    def __init__(self, committed: Iterable[Record], local: bool, folder: Path) -> None:
        self._committed = {(record.config_hash, record.seed): record for record in committed}
        self._local = local
        self._folder = folder

    @classmethod
    def of_paper(cls, folder: Path, local: bool = True) -> "Archive":
        """The committed records are those in `folder`/records/*.jsonl."""
        files = sorted((folder / "records").glob("*.jsonl"))
        return cls((record for file in files for record in read_lines(file)), local, folder / "records")

    def records(self, cell: Cell, seeds: Sequence[int]) -> dict[int, Found]:
        """The cell's records by seed. RecordError when one lies where another configuration's belongs."""
        found = {}
        for seed in seeds:
            path = cell.run_dir(seed) / FILE_NAME
            if self._local and path.exists():
                record = read(path)
                if record.seed != seed:
                    raise RecordError(f"record {path}: is of seed {record.seed}; move it away and run the run again")
                require_same_configuration([record], cell.composed.hash, cell.composed.config)
                found[seed] = Found(record, committed=False, folder=path.parent)
            elif (cell.composed.hash, seed) in self._committed:
                record = self._committed[cell.composed.hash, seed]
                found[seed] = Found(record, committed=True, folder=self._folder)
        return found


def aggregate(records: Sequence[Record], key: str) -> dict[int, float]:
    """The metric `key` by seed. RecordError when the records are of several configurations, or lack it."""
    if records:
        require_same_configuration(records, records[0].config_hash, records[0].config)
    values = {}
    for record in records:
        if key not in record.metrics:
            raise RecordError(
                f"record {record.config_hash} seed {record.seed}: no metric {key!r};"
                f" it has: {', '.join(record.metrics)}"
            )
        values[record.seed] = record.metrics[key]
    return values


def require_same_configuration(records: Sequence[Record], config_hash: str, config: Mapping[str, Any]) -> None:
    """RecordError, naming both hashes and the keys that differ, unless all are of the given configuration."""
    for record in records:
        if record.config_hash != config_hash:
            differing = differences(config, record.config)
            keys = "; ".join(f"{key}: {ours} and {theirs}" for key, (ours, theirs) in differing.items())
            raise RecordError(
                f"configurations {config_hash} and {record.config_hash} (seed {record.seed}) differ"
                f" and cannot be averaged ({keys or 'the same keys, another version of the code'})"
            )


def require_same_data(records: Sequence[Record], remedy: str) -> None:
    """RecordError unless all records saw the same data, and those of one seed the same split of it."""
    splits: dict[int, Record] = {}
    for record in records:
        for other, what in ((records[0], "content"), (splits.setdefault(record.seed, record), "split")):
            # Of computed data it is the recipe that must agree: the last bit depends on the processor.
            key = "identity" if what == "content" else what
            ours, theirs = getattr(record.data, key), getattr(other.data, key)
            if ours != theirs:
                raise RecordError(
                    f"records {other.config_hash} seed {other.seed} and {record.config_hash}"
                    f" seed {record.seed} cannot be compared: they were made with different data"
                    f" ({what} {theirs} and {ours}); {remedy}"
                )


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys at which two nested dicts differ, with both values (None where a key is missing)."""
    flat_a, flat_b = _flat(a), _flat(b)
    keys = [*flat_a, *(key for key in flat_b if key not in flat_a)]
    return {key: (flat_a.get(key), flat_b.get(key)) for key in keys if flat_a.get(key) != flat_b.get(key)}


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
