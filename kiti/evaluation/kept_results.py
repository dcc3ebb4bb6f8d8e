"""Results of tasks in a folder: a line in `evaluations.jsonl`, and the items in `items/<task>-<digits>.parquet`."""

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kiti.data import DataError
from kiti.storage import evaluations
from kiti.storage.records import write_whole

FOLDER = "items"
_DIGITS = 12


@dataclass(frozen=True)
class TaskResult:
    """What was found on one task.

    Attributes:
        task: its name.
        record: what it was measured on and how, and the results, as JSON has them. Values that are not finite are None.
        metrics: the results alone, by `<task>/<metric>`.
        items: one row an item (`kiti.evaluation.choice_items.ChoiceItem`; or id, content, nll, tokens, cut).
    """

    task: str
    record: dict[str, Any]
    metrics: dict[str, float]
    items: pa.Table


@dataclass(frozen=True)
class Kept:
    """The record of a task, and the table of its items."""

    record: dict[str, Any]
    items: pa.Table


def keep(results: Sequence[TaskResult], folder: Path, about: Mapping[str, Any]) -> Path:
    """Write the items, each file whole or not at all, and then the line that names them; returns the lines' file.

    Args:
        folder: a run's, or any other; it is made if there is none.
        about: what the line says beside the tasks: time, weights, versions.
    """
    records: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}
    for result in results:
        buffer = io.BytesIO()
        pq.write_table(result.items, buffer, compression="zstd")
        content = buffer.getvalue()
        name = f"{FOLDER}/{result.task}-{hashlib.sha256(content).hexdigest()[:_DIGITS]}.parquet"
        write_whole(folder / name, content)
        records.append(_plain(result.record) | {"items": name})
        metrics |= result.metrics
    return evaluations.append(folder, metrics, {**about, "tasks": records})


def latest(folder: Path) -> dict[str, Kept]:
    """The last result of each task in a folder. DataError if there is none, or a file is damaged."""
    path = folder / evaluations.FILE_NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; kiti-eval {folder} --tasks … makes it") from error
    records: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            records |= {record["task"]: record for record in json.loads(line).get("tasks", [])}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: line {number} is damaged ({type(error).__name__})") from error
    if not records:
        raise DataError(f"{path}: no tasks; kiti-eval {folder} --tasks … evaluates some")
    return {task: Kept(record, _items(folder / record["items"])) for task, record in records.items()}


def _items(path: Path) -> pa.Table:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; evaluate the task again") from error
    if hashlib.sha256(content).hexdigest()[:_DIGITS] != path.stem.rpartition("-")[2]:
        raise DataError(f"{path}: damaged, its checksum is not the one in its name; evaluate the task again")
    return pq.read_table(io.BytesIO(content))


def _plain(value: Any) -> Any:
    """As JSON has it: numbers that are not finite are None."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
