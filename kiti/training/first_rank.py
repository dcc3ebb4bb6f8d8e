"""What rank 0 decides before training, told to the other ranks."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from kiti.storage.exit_status import ExitStatus, of_exception
from kiti.storage.processes import rank, world_size
from kiti.training.started_processes import StartedProcesses

_KEY = "kiti/ended"


@contextmanager
def decides(decide: Callable[[], ExitStatus | None]) -> Iterator[ExitStatus | None]:
    """Every rank gets what `decide()` returns on rank 0, or the status with which it ends there, by torch's store.

    Without it the others would wait for a rank 0 that has ended, because the run is finished or locked. The store is
    kept for the whole block, since Lightning's process group connects to the same address.
    """
    environment = StartedProcesses()
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    store, _, _ = next(torch.distributed.rendezvous("env://", rank(), world_size()))

    def say(ended: ExitStatus | None) -> None:
        store.set(_KEY, "" if ended is None else str(int(ended)))
        store.wait([f"{_KEY}/heard by {other}" for other in range(1, world_size())])

    if rank() == 0:
        try:
            ended = decide()
        except BaseException as error:
            say(of_exception(error))
            raise
        say(ended)
        yield ended
    else:
        said = store.get(_KEY).decode()
        store.set(f"{_KEY}/heard by {rank()}", "yes")
        yield ExitStatus(int(said)) if said else None
