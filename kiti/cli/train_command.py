"""Train one model and write its record.

kiti-train experiment=burgers residual=kiti collision=soft seed=1 scale=laptop
kiti-train experiment=burgers --again               set a finished run aside and train again
kiti-train -m experiment=burgers residual=add,kiti seed=range(3) hydra/launcher=joblib
torchrun --nproc-per-node 2 -m kiti.train experiment=burgers
"""

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from kiti.configuration import identity
from kiti.configuration.command import command
from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.configuration.own_record import own_record
from kiti.storage.processes import rank
from kiti.storage.records import FILE_NAME, DamagedRecord, RecordError, read
from kiti.storage.run_dirs import locked_run_dir, set_aside
from kiti.storage.weights_file import WEIGHTS, DamagedWeights, require_own_weights


@command("train")
def main(composed: Composed) -> None:
    """Train, unless the record exists already."""
    _exit_cleanly_on_sigterm()
    run_dirs = [composed.run_dir_of(seed) for seed in composed.seeds]
    with ExitStack() as locks:
        for run_dir in run_dirs:
            locks.enter_context(locked_run_dir(run_dir))
        # Only `auto` checks for finished runs: with `never`, other ranks may get here before rank 0 has set them aside.
        if composed.checked.resume == "never":
            for run_dir in run_dirs if rank() == 0 else ():
                if aside := set_aside(run_dir):
                    print(f"moved the earlier run to {aside}", file=sys.stderr)
        elif not [seed for seed in composed.seeds if not has_finished(composed, seed)]:
            if rank() == 0:
                print("\n".join(finished_already(run_dir / FILE_NAME, composed) for run_dir in run_dirs))
            return
        train(composed)


def has_finished(composed: Composed, seed: int) -> bool:
    """Whether the run has a record that is its own, with the weights it names. Damaged ones are set aside by rank 0.

    Other ranks may get here before or after rank 0 has moved files; they come to the same answer.
    """
    run_dir = composed.run_dir_of(seed)
    path = run_dir / FILE_NAME
    try:
        if (record := own_record(composed, seed)) is None:
            return False
        if (run_dir / WEIGHTS).exists():  # they may have been deleted to save space
            require_own_weights(record, run_dir)
        return path.exists()
    except DamagedRecord as error:
        if rank() == 0:
            # The record first: where it is, the weights beside it count as its own.
            damaged = [path, *([run_dir / WEIGHTS] if isinstance(error, DamagedWeights) else [])]
            aside = ", ".join(str(moved) for moved in map(set_aside, damaged))
            _warn(f"{error.complaint}; set aside as {aside}; running it again")
        return False
    except RecordError as error:
        if path.exists():
            raise ConfigError(str(error)) from error
        return False


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


def train(composed: Composed) -> None:
    """Build data, model, task and trainer; fit, test and record. Exits 0 without a record if asked to stop."""
    # Imported here so that errors in the configuration are reported before torch is loaded.
    import torch
    from pytorch_lightning import seed_everything

    from kiti.training import building, checkpoint_files, recording
    from kiti.training.callbacks.checkpointing import Stopped
    from kiti.training.callbacks.progress import Status

    building.hush_lightning()
    code = recording.Code.now(composed)
    run_dir = composed.run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    status = Status(run_dir / "status.json")
    status.write("data", force=True)
    seed_everything(composed.seed, verbose=False)
    data, task, trainer = building.data(composed), building.task(composed), building.trainer(composed)
    trainer.strategy.setup_environment()  # Lightning would do it later; from here on the ranks hear each other
    resuming = None
    if trainer.is_global_zero and composed.checked.resume == "auto":
        resuming = checkpoint_files.to_resume(run_dir, checkpoint_files.Identity.of(composed), _warn)
    resuming = trainer.strategy.broadcast(resuming)
    try:
        trainer.fit(task, data, ckpt_path=resuming, weights_only=True)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130 if stopped.signal == signal.SIGINT else 0)
    status.write("testing", force=True)
    trainer.test(task, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    if trainer.is_global_zero:
        for record in recording.record(composed, data, task, trainer, code):
            for name, value in sorted(record.metrics.items()):
                print(f"{name} {value:.6g}")
            print(composed.run_dir_of(record.seed) / FILE_NAME)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _warn(line: str) -> None:
    print(f"kiti-train: {line}", file=sys.stderr)


def _exit_cleanly_on_sigterm() -> None:
    """Before training there is nothing to save: data files are written atomically."""

    def leave(number: int, frame: FrameType | None) -> None:
        print("stopped before the first step; the same command starts it again", file=sys.stderr)
        sys.exit(0)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, leave)


if __name__ == "__main__":
    main()
