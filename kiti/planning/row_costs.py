"""Works out what the runs of a table's rows cost, and how long they take here."""

from collections.abc import Sequence
from math import ceil

from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.planning.costs import RowCost, RunCost
from kiti.planning.meta_step import Steps
from kiti.report.sheets import TableSpec
from kiti.report.table_runs import Archive, Plan, TableRun, row_overrides
from kiti.training.device import of_this_machine


def run_cost(composed: Composed, steps: Steps) -> RunCost:
    """Raises ConfigError where the cost is unknown: the residual does not fit, or the data declare no samples."""
    config = composed.checked
    data, trainer = config.data, config.trainer
    sizes = data.sizes()
    if sizes is None or data.sample(training=True) is None:
        raise ConfigError(f"data={data.name} declares no sample() and sizes(); see docs/what-it-costs.md")
    if data.batch_size % steps.devices:
        raise ConfigError(f"data.batch_size={data.batch_size} is not divisible by --devices {steps.devices}")
    step = steps.of(composed)
    epochs: int = trainer.max_epochs  # type: ignore[attr-defined]
    samples = epochs * sizes.samples(data.batch_size)
    tested = sizes.test * (1 + epochs * sizes.validates)
    return RunCost(
        step=step,
        steps=epochs * ceil(sizes.batches(data.batch_size) / trainer.accumulate_grad_batches),  # type: ignore[attr-defined]
        samples=samples,
        flops=samples * step.training_flops + tested * step.test_flops + sizes.train_eval * step.train_eval_flops,
    )


def row_costs(spec: TableSpec, scale: str, plan: Plan, archive: Archive, steps: Steps) -> list[RowCost]:
    """The costs of the rows, in their order."""
    settings = spec.scales[scale]
    first: dict[str, str] = {}
    found = []
    for row in spec.rows:
        run = plan[row_overrides(row.run_at(scale), scale, settings)]
        if not isinstance(run, TableRun):
            found.append(RowCost(row, settings.seeds, reason=str(run)))
            continue
        try:
            cost = run_cost(run.composed, steps)
        except ConfigError as error:
            found.append(RowCost(row, settings.seeds, reason=str(error)))
            continue
        name = f"{row.group}, {row.label}"
        again = first.setdefault(run.composed.hash, name)
        hours = _hours_here(run, settings.seeds, archive)
        found.append(RowCost(row, settings.seeds, cost, again="" if again == name else again, hours_here=hours))
    return found


def _hours_here(run: TableRun, seeds: Sequence[int], archive: Archive) -> float | None:
    records = [stored.record for stored in archive.records(run, seeds).values()]
    seconds = [record.wall_seconds for record in records if of_this_machine(record.device_name)]
    return sum(seconds) / len(seconds) * len(seeds) / 3600 if seconds else None
