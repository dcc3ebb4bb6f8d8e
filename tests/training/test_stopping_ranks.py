"""Ranks that torchrun starts end with one status, and a stopped run continues each rank's own sums."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from run_cases import same_result

from kiti.configuration.compose import compose
from kiti.storage import records
from kiti.storage.exit_status import EXIT_FILE, ExitStatus
from kiti.storage.run_dirs import locked_run_dir
from kiti.tasks.rank_sums import gathered, part_of

ROOT = Path(__file__).parents[2]
RANKS = 2


class OneOf(Trainer):
    """A trainer that says it is one of several ranks."""

    def __init__(self, rank: int, ranks: int) -> None:
        self._rank, self._ranks = rank, ranks

    @property
    def global_rank(self) -> int:
        return self._rank

    @property
    def world_size(self) -> int:
        return self._ranks


def test_each_rank_gets_its_own_sum() -> None:
    saved = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert [part_of(OneOf(rank, 2), saved).tolist() for rank in (0, 1)] == saved.tolist()
    assert torch.equal(part_of(None, gathered(None, saved[1])), saved[1])


def test_another_number_of_ranks_continues_with_the_total() -> None:
    saved = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert part_of(None, saved).tolist() == [4.0, 6.0]
    shares = [part_of(OneOf(rank, 3), saved) for rank in range(3)]
    assert torch.stack(shares).sum(0).tolist() == [4.0, 6.0]


def start(overrides: list[str], exits: Path) -> list[subprocess.Popen[str]]:
    """The ranks of a torchrun without torchrun, which would stop the others and end with a status of its own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    common |= {"TORCHELASTIC_RUN_ID": "none", "OMP_NUM_THREADS": 1, EXIT_FILE: exits, "GROUP_RANK": 0}
    started = []
    for rank in range(RANKS):
        environment: dict[str, Any] = os.environ | common | {"RANK": rank, "LOCAL_RANK": rank}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "kiti.train", *overrides, "trainer.accelerator=cpu"],
                env={name: str(value) for name, value in environment.items()},
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def ended(started: list[subprocess.Popen[str]], exits: Path) -> ExitStatus:
    """The status of all ranks, which each has noted too."""
    errors = [process.communicate(timeout=120)[1] for process in started]
    [code] = {process.returncode for process in started}
    assert sorted(exits.read_text().splitlines()) == [f"{rank} {code}" for rank in range(RANKS)], errors
    exits.unlink()
    return ExitStatus(code)


@pytest.mark.slow
def test_all_ranks_end_with_one_status_and_resume_their_own_sums(tmp_path: Path) -> None:
    exits = tmp_path / "exits"
    run = ["experiment=burgers", "scale=smoke", "residual=kiti", "data.batch_size=8", "data.n_train=44"]
    run += ["trainer.accumulate_grad_batches=2", "trainer.max_epochs=30", f"data_dir={tmp_path}/data"]
    run += ["callbacks.checkpointing.every_seconds=1e9"]
    pieces = [*run, f"runs_dir={tmp_path}/pieces"]
    composed = compose([*pieces, "trainer.accelerator=cpu"])

    started = start(pieces, exits)
    step_of = composed.run_dir / "status.json"
    deadline = time.monotonic() + 120
    while not (step_of.exists() and '"training"' in step_of.read_text()):
        assert time.monotonic() < deadline
        assert started[0].poll() is None, started[0].communicate()
        time.sleep(0.02)
    started[1].send_signal(signal.SIGUSR2)  # one rank is asked, all save and stop
    assert ended(started, exits) == ExitStatus.STOPPED
    checkpoint = torch.load(composed.run_dir / "last.ckpt", weights_only=True)
    assert checkpoint["train_loss"]["weight"].shape == (RANKS,)

    with locked_run_dir(composed.run_dir):
        assert ended(start(pieces, exits), exits) == ExitStatus.LOCKED
    assert ended(start(pieces, exits), exits) == ExitStatus.FINISHED
    assert ended(start(pieces, exits), exits) == ExitStatus.FINISHED, "finished already"

    assert ended(start([*run, f"runs_dir={tmp_path}/whole"], exits), exits) == ExitStatus.FINISHED
    same_result(composed.run_dir, compose([*run, f"runs_dir={tmp_path}/whole", "trainer.accelerator=cpu"]).run_dir)
    assert records.read(composed.run_dir / "record.json").world_size == RANKS
