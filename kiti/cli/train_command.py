"""Train one model and write its record.

kiti-train experiment=burgers residual=kiti collision=soft seed=1 scale=laptop
kiti-train experiment=burgers --again               set a finished run aside and train again
kiti-train -m experiment=burgers residual=add,kiti seed=range(3) hydra/launcher=joblib
torchrun --nproc-per-node 2 -m kiti.train experiment=burgers
"""

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from kiti.configuration import identity
from kiti.configuration.command import command
from kiti.configuration.compose import Composed
from kiti.launching.sweep import Sweep
from kiti.storage import stop_signals
from kiti.storage.exit_status import ExitStatus
from kiti.storage.processes import world_size
from kiti.storage.records import FILE_NAME, RecordError, read
from kiti.storage.run_dirs import finished, locked_run_dir, set_aside


@command("train", Sweep)
def main(composed: Composed) -> ExitStatus:
    """Train, unless the record exists already: FINISHED or DIVERGED. Exits with LOCKED, or with STOPPED on a signal."""
    with ExitStack() as locks:
        if world_size() == 1:
            ended = _begin(composed, locks)
        else:
            from kiti.training import building, first_rank

            building.check_batch_size(composed)  # before the ranks wait for each other
            ended = locks.enter_context(first_rank.decides(lambda: _begin(composed, locks)))
        return train(composed) if ended is None else ended


def _begin(composed: Composed, locks: ExitStack) -> ExitStatus | None:
    """Lock the run's directories and make way for the run; how it ended, if there is nothing to train."""
    run_dirs = [composed.run_dir_of(seed) for seed in composed.seeds]
    for run_dir in run_dirs:
        locks.enter_context(locked_run_dir(run_dir))
    if composed.checked.resume == "never":
        for run_dir in run_dirs:
            if aside := set_aside(run_dir):
                print(f"moved the earlier run to {aside}", file=sys.stderr)
    elif all(finished(run_dir) for run_dir in run_dirs):
        print("\n".join(finished_already(run_dir / FILE_NAME, composed) for run_dir in run_dirs))
        return recorded_status(run_dirs)
    return None


def recorded_status(run_dirs: Iterable[Path]) -> ExitStatus:
    """DIVERGED if one of these finished runs has, else FINISHED."""
    diverged = any(read(run_dir / FILE_NAME).state == "diverged" for run_dir in run_dirs)
    return ExitStatus.DIVERGED if diverged else ExitStatus.FINISHED


def finished_already(path: Path, composed: Composed) -> str:
    """One line, which names the modules whose source has changed since."""
    line = f"finished already: {path}"
    try:
        earlier = read(path).sources
    except RecordError as error:
        return f"{line}; {error}"
    if earlier is None:
        return line
    current = identity.sources(composed.checked)
    changed = sorted(name for name in earlier.keys() | current.keys() if earlier.get(name) != current.get(name))
    if not changed:
        return line
    named = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
    return f"{line}; its code has changed since ({named}): --again runs it again"


@stop_signals.kept()
def train(composed: Composed) -> ExitStatus:
    """Build data, model, task and trainer; fit, test and record. Exits with STOPPED if asked to stop.

    Every rank returns the same status.
    """
    # Imported here so that errors in the configuration are reported before torch is loaded.
    import torch
    from pytorch_lightning import seed_everything

    from kiti.training import building, recording
    from kiti.training.callbacks.checkpointing import Checkpointing, Stopped
    from kiti.training.callbacks.progress import Status

    building.hush_lightning()
    code = recording.Code.now(composed)
    run_dir, resuming = composed.run_dir, composed.run_dir / Checkpointing.FILE
    run_dir.mkdir(parents=True, exist_ok=True)
    status = Status(run_dir / "status.json")
    status.write("data", force=True)
    seed_everything(composed.seed, verbose=False)
    data, task, trainer = building.data(composed), building.task(composed), building.trainer(composed)
    resumes = composed.checked.resume == "auto" and resuming.exists()
    try:
        trainer.fit(task, data, ckpt_path=resuming if resumes else None, weights_only=True)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(ExitStatus.STOPPED)
    status.write("testing", force=True)
    trainer.test(task, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    ended = ExitStatus.FINISHED
    if trainer.is_global_zero:
        for record in recording.record(composed, data, task, trainer, code):
            for name, value in sorted(record.metrics.items()):
                print(f"{name} {value:.6g}")
            print(composed.run_dir_of(record.seed) / FILE_NAME)
        ended = recorded_status(composed.run_dir_of(seed) for seed in composed.seeds)
    ended = trainer.strategy.broadcast(ended)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return ended


if __name__ == "__main__":
    main()
