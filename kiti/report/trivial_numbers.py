"""Committed numbers of predictors without a network, which need no run: experiments/trivial/*.jsonl.

`scripts/trivial_predictors.py --into` writes them. Records of runs that did not yet measure such predictors lack their
metrics; these are found by the identity of the data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pydantic

from kiti.configuration.compose import Composed, compose
from kiti.storage.records import DataState, Record, RecordError, validation_line

FOLDER = "trivial"


@dataclass(frozen=True)
class TrivialNumbers:
    """The metrics `trivial/…` on the data of one seed of a run with these `overrides`, which name its scale too."""

    experiment: str
    scale: str
    overrides: tuple[str, ...]
    seed: int
    data: DataState
    metrics: dict[str, float]

    def are_of(self, composed: Composed) -> bool:
        """Whether a run of this configuration would have the same data."""
        if (composed.experiment, composed.scale) != (self.experiment, self.scale):
            return False
        theirs: object = compose([*self.overrides, f"seed={self.seed}"]).config["data"]
        return bool(composed.config["data"] == theirs)


_LINE = pydantic.TypeAdapter(TrivialNumbers)


def read(folder: Path) -> list[TrivialNumbers]:
    """All lines of the files in `folder`; RecordError for an invalid one."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                found.append(_LINE.validate_json(line))
            except pydantic.ValidationError as error:
                raise RecordError(f"{path}, line {number}: {validation_line(error)}") from None
    return found


def completed(record: Record, lines: Iterable[TrivialNumbers]) -> Record:
    """The record with the metrics that it lacks and a line has that was made on the same data."""
    for line in lines:
        if (line.data.identity, line.data.split) == (record.data.identity, record.data.split):
            return replace(record, metrics={**line.metrics, **record.metrics})
    return record


def by_seed(lines: Sequence[TrivialNumbers], key: str) -> dict[int, float]:
    """A metric by seed."""
    return {line.seed: line.metrics[key] for line in lines if key in line.metrics}
