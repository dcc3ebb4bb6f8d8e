"""Works out what the runs of a table's rows cost, and how long they take here. Without torch."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import ceil

from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.planning.costs import RowCost, RunCost, Step
from kiti.planning.kept_steps import KeptSteps
from kiti.planning.kinds import Kind, kind_of
from kiti.planning.step_processes import StepProcesses
from kiti.report.sheets import TableSpec
from kiti.report.table_runs import Archive, Plan, TableRun, row_overrides
from kiti.storage.processor import this_machine


@dataclass(frozen=True)
class Planned:
    """The runs of one table at a scale, and where their records are."""

    spec: TableSpec
    scale: str
    plan: Plan
    archive: Archive
    kept: KeptSteps


def table_costs(tables: Sequence[Planned], processes: StepProcesses, devices: int) -> list[list[RowCost]]:
    """The costs of each table's rows, in their order, for a batch that `devices` share."""
    steps: dict[Kind, Step | ConfigError] = {}
    unknown = []
    for table in tables:
        for run in table.plan.values():
            if isinstance(run, TableRun) and not why_unknown(run.composed, devices):
                if devices == 1 and (step := table.kept.find(run.composed)):
                    steps[kind_of(run.composed)] = step
                else:
                    unknown.append(run.composed)
    steps |= processes.take(unknown, devices)
    machine = this_machine()
    return [_row_costs(table, steps, devices, machine) for table in tables]


def why_unknown(composed: Composed, devices: int) -> str:
    """Why nothing can be counted; empty if it can."""
    data = composed.checked.data
    if data.sizes() is None or data.sample(training=True) is None:
        return f"data={data.name} declares no sample() and sizes(); see docs/what-it-costs.md"
    if data.batch_size % devices:
        return f"data.batch_size={data.batch_size} is not divisible by --devices {devices}"
    return ""


def run_cost(composed: Composed, step: Step) -> RunCost:
    """The cost of a run whose steps are such."""
    data, trainer = composed.checked.data, composed.checked.trainer
    sizes = data.sizes()
    assert sizes is not None
    epochs: int = trainer.max_epochs  # type: ignore[attr-defined]
    samples = epochs * sizes.samples(data.batch_size)
    tested = sizes.test * (1 + epochs * sizes.validates)
    return RunCost(
        step=step,
        steps=epochs * ceil(sizes.batches(data.batch_size) / trainer.accumulate_grad_batches),  # type: ignore[attr-defined]
        samples=samples,
        flops=samples * step.training_flops + tested * step.test_flops + sizes.train_eval * step.train_eval_flops,
    )


def _row_costs(
    table: Planned, steps: Mapping[Kind, Step | ConfigError], devices: int, machine: Set[str]
) -> list[RowCost]:
    settings = table.spec.scales[table.scale]
    first: dict[str, str] = {}
    found = []
    for row in table.spec.rows:
        if row.is_trivial:
            continue  # measured by the runs of other rows, or without any
        run = table.plan[row_overrides(row.run_at(table.scale), table.scale, settings)]
        seeds = settings.seeds_of(row.group)
        if not isinstance(run, TableRun):
            found.append(RowCost(row, seeds, reason=str(run)))
            continue
        if reason := why_unknown(run.composed, devices):
            found.append(RowCost(row, seeds, reason=reason))
            continue
        step = steps[kind_of(run.composed)]
        if isinstance(step, ConfigError):
            found.append(RowCost(row, seeds, reason=str(step)))
            continue
        name = f"{row.group}, {row.label}"
        again = first.setdefault(run.composed.hash, name)
        hours = _hours_here(run, seeds, table.archive, machine)
        cost = run_cost(run.composed, step)
        found.append(RowCost(row, seeds, cost, again="" if again == name else again, hours_here=hours))
    return found


def _hours_here(run: TableRun, seeds: Sequence[int], archive: Archive, machine: Set[str]) -> float | None:
    records = [stored.record for stored in archive.records(run, seeds).values()]
    # Of a processor, also the number of threads is recorded.
    seconds = [one.wall_seconds for one in records if {one.device_name, one.device_name.rpartition(", ")[0]} & machine]
    return sum(seconds) / len(seconds) * len(seeds) / 3600 if seconds else None
