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
from kiti.configuration.compose import Composed, check_files
from kiti.configuration.explain import ConfigError
from kiti.configuration.own_record import own_record
from kiti.launching.sweep import Sweep
from kiti.storage import stop_signals
from kiti.storage.exit_status import ExitStatus
from kiti.storage.processes import world_size
from kiti.storage.records import FILE_NAME, DamagedRecord, RecordError, read
from kiti.storage.run_dirs import locked_run_dir, set_aside
from kiti.storage.weights_file import WEIGHTS, DamagedWeights, require_own_weights


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
        check_files(composed)
        for run_dir in run_dirs:
            if aside := set_aside(run_dir):
                print(f"moved the earlier run to {aside}", file=sys.stderr)
        return None
    finished = [has_finished(composed, seed) for seed in composed.seeds]  # looks at each: it may set files aside
    if not all(finished):
        check_files(composed)
        return None
    print("\n".join(finished_already(run_dir / FILE_NAME, composed) for run_dir in run_dirs))
    return recorded_status(run_dirs)


def recorded_status(run_dirs: Iterable[Path]) -> ExitStatus:
    """DIVERGED if one of these finished runs has, else FINISHED."""
    diverged = any(read(run_dir / FILE_NAME).state == "diverged" for run_dir in run_dirs)
    return ExitStatus.DIVERGED if diverged else ExitStatus.FINISHED


def has_finished(composed: Composed, seed: int) -> bool:
    """Whether the run has a record that is its own, with the weights it names. Damaged files are set aside.

    Raises ConfigError if the record cannot be read.
    """
    run_dir = composed.run_dir_of(seed)
    path = run_dir / FILE_NAME
    try:
        if (record := own_record(composed, seed)) is None:
            return False
        if (run_dir / WEIGHTS).exists():  # they may have been deleted to save space
            require_own_weights(record, run_dir)
        return True
    except DamagedRecord as error:
        # The record first: where it is, the weights beside it count as its own.
        damaged = [path, *([run_dir / WEIGHTS] if isinstance(error, DamagedWeights) else [])]
        aside = ", ".join(str(moved) for moved in map(set_aside, damaged))
        _warn(f"{error.complaint}; set aside as {aside}; running it again")
        return False
    except RecordError as error:
        raise ConfigError(str(error)) from error


def finished_already(path: Path, composed: Composed) -> str:
    """One line, which says where the run diverged and names the modules whose source has changed since."""
    line = f"finished already: {path}"
    try:
        record = read(path)
    except RecordError as error:
        return f"{line}; {error}"
    if record.divergence:
        line += f"; diverged: {record.divergence}"
    earlier = record.sources
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

    from kiti.training import building, checkpoint_files, recording
    from kiti.training.callbacks.checkpointing import Stopped
    from kiti.training.callbacks.progress import Status
    from kiti.training.checkpoint_space import require_space

    building.hush_lightning()
    code = recording.Code.now(composed)
    run_dir = composed.run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    status = Status(run_dir / "status.json")
    status.write("data", force=True)
    seed_everything(composed.seed, verbose=False)
    data, task, trainer = building.data(composed), building.task(composed), building.trainer(composed)
    building.compile_model(composed, task)
    require_space(task, run_dir, composed.checked.callbacks.checkpointing.keep, "_target_" in composed.node.averaging)
    data.prepare_alone()
    trainer.strategy.connect(task)
    trainer.strategy.setup_environment()  # Lightning would do it later; from here on the ranks hear each other
    resuming = None
    if trainer.is_global_zero and composed.checked.resume == "auto":
        resuming = checkpoint_files.to_resume(run_dir, checkpoint_files.Identity.of(composed), _warn)
    resuming = trainer.strategy.broadcast(resuming)
    try:
        trainer.fit(task, data, ckpt_path=resuming, weights_only=True)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(ExitStatus.STOPPED)
    status.write("testing", force=True)
    trainer.test(task, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    ended = ExitStatus.FINISHED
    written = recording.record(composed, data, task, trainer, code)
    if trainer.is_global_zero:
        for record in written:
            for name, value in sorted(record.metrics.items()):
                print(f"{name} {value:.6g}")
            print(composed.run_dir_of(record.seed) / FILE_NAME)
        ended = recorded_status(composed.run_dir_of(seed) for seed in composed.seeds)
    ended = trainer.strategy.broadcast(ended)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return ended


def _warn(line: str) -> None:
    print(f"kiti-train: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
