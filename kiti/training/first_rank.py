"""What rank 0 decides before training, told to the other ranks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kiti.storage.exit_status import ExitStatus
from kiti.storage.processes import rank, world_size
from kiti.training import building

_KEY = "kiti/ended"


@contextmanager
def decides(ended: ExitStatus | None) -> Iterator[ExitStatus | None]:
    """Every rank gets what rank 0 passes, through torch's store; the block ends when no rank needs the store.

    Without it the others would wait for a rank 0 that has ended, because the run is finished or locked.
    The store is kept for the whole block, since Lightning's process group connects to the same address.
    """
    environment = building._environment()
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    store, _, _ = next(torch.distributed.rendezvous("env://", rank(), world_size()))
    if rank() == 0:
        store.set(_KEY, "" if ended is None else str(int(ended)))
    said = store.get(_KEY).decode()
    store.set(f"{_KEY}/{rank()}", "heard")
    if rank() == 0:
        store.wait([f"{_KEY}/{other}" for other in range(world_size())])
    yield ExitStatus(int(said)) if said else None
