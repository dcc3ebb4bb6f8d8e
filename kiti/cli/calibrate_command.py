"""Find the collision_heads and coll_coef for which about one pair per system collides, on a model's own features.

    kiti-calibrate experiment=burgers scale=laptop
    kiti-calibrate experiment=burgers scale=laptop calibration.epochs=0 'calibration.collision_heads=[2,8]'

Trains with residual=add for `calibration.epochs`, measures the features at every residual connection, and writes a
table (CSV, Markdown) and a plot (PNG, SVG) to <runs_dir>/calibrations/.
"""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kiti.configuration.command import command
from kiti.configuration.compose import Composed
from kiti.launching.sweep import Sweep
from kiti.storage.exit_status import ExitStatus
from kiti.storage.run_dirs import locked_run_dir

if TYPE_CHECKING:
    from kiti.calibration.acceptance import Acceptance


@command("calibrate", partial(Sweep, recorded=False))
def main(composed: Composed) -> ExitStatus:
    place = composed.runs_dir / "calibrations" / f"{composed.experiment}.{composed.scale}"
    with locked_run_dir(place):
        calibrate(composed, place)
    return ExitStatus.FINISHED


def calibrate(composed: Composed, place: Path) -> None:
    """Measure, print and write. `place` is the output path without a suffix."""
    from rich.console import Console
    from rich.markdown import Markdown

    from kiti.calibration import calibration_report as report
    from kiti.storage.records import write_whole

    wanted = composed.checked.calibration
    assert wanted is not None  # conf/calibrate.yaml sets it
    measured = measure(composed)
    setting = f"{composed.experiment}, scale={composed.scale}, after {wanted.epochs} epochs with residual=add"
    table = report.markdown(measured, setting)
    outputs = {"md": table.encode(), "csv": report.comma_separated(measured).encode()}
    for ending, content in (outputs | report.draw(measured, setting)).items():
        write_whole(place.with_name(f"{place.name}.{ending}"), content)
    Console().print(Markdown(table))
    print(f"{place}.md, .csv, .png, .svg")


def measure(composed: Composed) -> "dict[str, list[Acceptance]]":
    """{module: one Acceptance for each collision_heads} after `calibration.epochs` of training with residual=add."""
    import torch
    from pytorch_lightning import seed_everything

    from kiti.calibration.acceptance import Tap, acceptance
    from kiti.training import building

    wanted = composed.checked.calibration
    assert wanted is not None
    building.hush_lightning()
    seed_everything(composed.seed, verbose=False)
    axis = getattr(composed.checked.residual, "system_axis", composed.checked.collision_defaults.system_axis)
    data = building.data(composed)
    model = building.model(composed, lambda: Tap(axis))
    task, trainer = building.task(composed, model), building.quiet_trainer(composed, wanted.epochs)
    print(f"training {wanted.epochs} epochs with residual=add", file=sys.stderr)
    trainer.fit(task, data)
    taps = {name: module for name, module in model.named_modules() if isinstance(module, Tap)}
    model.train()
    for tap in taps.values():
        tap.open = True
    with torch.no_grad():
        for _, batch in zip(range(wanted.batches), data.train_dataloader(), strict=False):
            task.call(batch)
    measured = {}
    for name, tap in taps.items():
        x, v = (torch.cat(parts) for parts in zip(*tap.systems, strict=True))
        heads = [h for h in wanted.collision_heads if x.shape[-1] % h == 0 and x.shape[-1] // h > 1]
        measured[name] = [acceptance((x, v), h, wanted.coll_coef, composed.seed) for h in heads]
    return measured


if __name__ == "__main__":
    main()
