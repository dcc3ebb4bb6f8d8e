"""Processes that take steps on the meta device. They import torch, which takes seconds, while the sheets are read."""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running

from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.planning.costs import Step
from kiti.planning.kinds import Kind, kind_of

PROCESSES = 2

Steps = Mapping[Kind, Step | ConfigError]
"""Steps by kind, or why there is none."""


class StepProcesses:
    """Takes steps: in processes of their own, unless torch is imported here already."""

    def __init__(self) -> None:
        self._context: ForkServerContext | None = None

    def start(self) -> None:
        """Start importing torch."""
        if self._context is None and "torch" not in sys.modules:
            self._context = get_context("forkserver")
            self._context.set_forkserver_preload(["kiti.planning.preloaded"])
            ensure_running()

    def take(self, configurations: Sequence[Composed], devices: int) -> Steps:
        """The steps of configurations whose data declare their samples, for a batch that `devices` share."""
        wanted = list({kind_of(composed): composed for composed in reversed(configurations)}.values())
        if not wanted:
            return {}
        self.start()
        if self._context is None:
            return _steps(wanted, devices)
        with self._context.Pool(PROCESSES) as pool:
            found = [pool.apply_async(_steps, (part, devices)) for part in _parts(wanted)]
            return {kind: step for some in found for kind, step in some.get().items()}


def _parts(configurations: Sequence[Composed]) -> list[list[Composed]]:
    """What one process does after another: all of a network, as they share its test; the largest part first."""
    networks: dict[str, list[Composed]] = defaultdict(list)
    for composed in configurations:
        networks[kind_of(composed).network].append(composed)
    if len(networks) < PROCESSES:
        return [part for i in range(PROCESSES) if (part := list(configurations[i::PROCESSES]))]
    return sorted(networks.values(), key=len, reverse=True)


def _steps(configurations: Sequence[Composed], devices: int) -> dict[Kind, Step | ConfigError]:
    from kiti.planning import meta_step

    steps = meta_step.Steps(devices)
    found: dict[Kind, Step | ConfigError] = {}
    for composed in configurations:
        try:
            found[kind_of(composed)] = steps.of(composed)
        except ConfigError as error:
            found[kind_of(composed)] = error
    return found
