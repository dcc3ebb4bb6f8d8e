"""Processes that take steps on the meta device. They import torch, which takes seconds, while the sheets are read."""

import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running

from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.planning.costs import Step
from kiti.planning.kinds import Kind, kind_of
from kiti.storage.processor import processor_name

PROCESSES = 2


@dataclass(frozen=True)
class Answers:
    """Steps by kind, or why there is none; and the names of the GPUs here."""

    steps: Mapping[Kind, Step | ConfigError]
    gpus: Collection[str]

    def of_this_machine(self, name: str) -> bool:
        """Whether a record's `device_name` is a GPU or the processor here, with whatever number of threads."""
        return name in self.gpus or name.rpartition(", ")[0] == processor_name()


TakeSteps = Callable[[Sequence[Composed], int], Answers]
"""From configurations whose data declare their samples, and the number of devices that share a batch."""


@contextmanager
def step_processes() -> Iterator[TakeSteps]:
    """Yield what takes steps: in processes of their own, unless torch is imported here already."""
    if "torch" in sys.modules:
        yield _in_this_process
        return
    context = get_context("forkserver")
    context.set_forkserver_preload(["kiti.planning.preloaded"])
    ensure_running()
    yield lambda configurations, devices: _in_processes(context, configurations, devices)


def _in_this_process(configurations: Sequence[Composed], devices: int) -> Answers:
    return Answers(_steps(_one_of_each(configurations), devices), _gpus())


def _in_processes(context: ForkServerContext, configurations: Sequence[Composed], devices: int) -> Answers:
    parts = _parts(_one_of_each(configurations))
    with context.Pool(PROCESSES) as pool:
        steps = [pool.apply_async(_steps, (part, devices)) for part in parts]
        gpus = pool.apply_async(_gpus)
        return Answers({kind: step for some in steps for kind, step in some.get().items()}, gpus.get())


def _one_of_each(configurations: Sequence[Composed]) -> list[Composed]:
    return list({kind_of(composed): composed for composed in reversed(configurations)}.values())


def _parts(configurations: Sequence[Composed]) -> list[list[Composed]]:
    """What one process does after another: all of a network, as they share its test; the largest part first."""
    networks: dict[str, list[Composed]] = defaultdict(list)
    for composed in configurations:
        networks[kind_of(composed).network].append(composed)
    if len(networks) < PROCESSES:
        return [part for i in range(PROCESSES) if (part := list(configurations[i::PROCESSES]))]
    return sorted(networks.values(), key=len, reverse=True)


def _steps(configurations: Sequence[Composed], devices: int) -> dict[Kind, Step | ConfigError]:
    from kiti.planning.meta_step import Steps

    steps = Steps(devices)
    found: dict[Kind, Step | ConfigError] = {}
    for composed in configurations:
        try:
            found[kind_of(composed)] = steps.of(composed)
        except ConfigError as error:
            found[kind_of(composed)] = error
    return found


def _gpus() -> set[str]:
    import torch

    return {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
