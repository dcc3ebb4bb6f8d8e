"""A process that imports torch, which takes seconds, while the sheets are read; then it works out their costs."""

import gc
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from typing import Protocol

from kiti.planning.costs import RowCost
from kiti.report.sheets import TableSpec
from kiti.report.table_runs import Archive, Plan


@dataclass(frozen=True)
class Planned:
    """The runs of one table at a scale, and where their records are."""

    spec: TableSpec
    scale: str
    plan: Plan
    archive: Archive


class Costs(Protocol):
    """From tables to the costs of their rows, for a batch that `devices` share."""

    def __call__(self, tables: Sequence[Planned], devices: int) -> list[list[RowCost]]: ...


@contextmanager
def cost_process() -> Iterator[Costs]:
    """Yield what works out costs: in a process of its own, unless torch is imported here already."""
    if "torch" in sys.modules:
        yield _costs
        return
    with get_context("spawn").Pool(1, initializer=_prepare) as pool:  # killed at the end, even while it imports
        yield lambda tables, devices: pool.apply(_costs, (tables, devices))


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both processes; the other one ends this one
    gc.disable()  # a short process with many small objects
    import_module("kiti.planning.row_costs")
    import_module("torchvision")  # the models of most sheets need it


def _costs(tables: Sequence[Planned], devices: int) -> list[list[RowCost]]:
    from kiti.planning.meta_step import Steps
    from kiti.planning.row_costs import row_costs

    steps = Steps(devices)
    return [row_costs(one.spec, one.scale, one.plan, one.archive, steps) for one in tables]
