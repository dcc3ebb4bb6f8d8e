"""Which runs lack files that they need: said once for all of them, before any is started."""

import json
from collections.abc import Sequence
from pathlib import Path

from kiti.configuration.compose import Composed, check_files
from kiti.configuration.explain import ConfigError
from kiti.data import DataError
from kiti.launching.launch import Run
from kiti.report.table_runs import Plan, TableRun


def startable(runs: Sequence[Run], plans: Sequence[Plan]) -> tuple[list[Run], list[str]]:
    """The runs whose files are there, and a line for each thing that others lack."""
    reasons: dict[str, str] = {}  # by data and model, as a hub out of reach takes seconds to find
    of_folder: dict[Path, str] = {}
    for plan in plans:
        for run in plan.values():
            if isinstance(run, TableRun):
                key = _files_of(run.composed)
                if key not in reasons:
                    reasons[key] = _lacking(run.composed)
                of_folder[run.composed.run_dir.parent] = reasons[key]
    ready: list[Run] = []
    lacking: dict[str, list[str]] = {}
    for one in runs:
        if reason := of_folder[one.run_dir.parent]:
            lacking.setdefault(reason, []).append(one.name)
        else:
            ready.append(one)
    return ready, [f"not started: {_several(names)}: {reason}" for reason, names in lacking.items()]


def _files_of(composed: Composed) -> str:
    checked = composed.checked
    return json.dumps([checked.data.model_dump(), checked.model.model_dump()], sort_keys=True, default=str)


def _lacking(composed: Composed) -> str:
    try:
        check_files(composed)
    except (ConfigError, DataError) as error:
        return str(error)
    return ""


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"
