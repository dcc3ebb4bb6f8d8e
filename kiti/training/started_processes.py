"""Tells Lightning which processes torchrun or srun started, so that it neither starts any nor judges how they were.

Lightning's own SLURMEnvironment ends a run whose step was not described by --ntasks-per-node.
"""

import os
import socket
import subprocess

import torch
from pytorch_lightning.plugins.environments import ClusterEnvironment, SLURMEnvironment

from kiti.configuration.explain import ConfigError
from kiti.storage import processes

_FIRST_PORT, _PORTS = 20_000, 12_000  # below those that Linux gives out by itself


def own_device(accelerator: str) -> int | list[int]:
    """What `Trainer(devices=...)` takes for the one device of this process.

    srun may show each process only its own GPUs, or all GPUs of the node to all.

    Raises:
        ConfigError: torchrun started more processes here than there are GPUs.
    """
    if accelerator not in {"auto", "gpu", "cuda"} or not torch.cuda.is_available():
        return 1
    local_rank, visible = processes.local_rank(), torch.cuda.device_count()
    if local_rank >= visible and not processes.by_srun():
        raise ConfigError(
            f"local rank {local_rank} has no GPU: {visible} visible here; "
            f"start at most {visible} processes per node, or give trainer.accelerator=cpu"
        )
    return [local_rank % visible]


class StartedProcesses(ClusterEnvironment):
    """The processes as `kiti.storage.processes` reads them. Each gives its trainer one device, its own."""

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        """MASTER_ADDR if it is set, as by torchrun; otherwise the first node of the step."""
        if given := os.environ.get("MASTER_ADDR"):
            return given
        if os.environ.get("SLURM_STEP_NUM_NODES", "1") == "1":
            return "127.0.0.1"
        return _reachable(SLURMEnvironment.resolve_root_node_address(os.environ["SLURM_STEP_NODELIST"]))

    @property
    def main_port(self) -> int:
        """MASTER_PORT if it is set; otherwise a number that other steps on the same node are unlikely to have."""
        if given := os.environ.get("MASTER_PORT"):
            return int(given)
        job, step = int(os.environ["SLURM_JOB_ID"]), int(os.environ["SLURM_STEP_ID"])
        return _FIRST_PORT + (job * 61 + step) % _PORTS

    @staticmethod
    def detect() -> bool:
        return processes.world_size() > 1

    def world_size(self) -> int:
        return processes.world_size()

    def set_world_size(self, size: int) -> None:
        pass  # Lightning's guess from the number of devices

    def global_rank(self) -> int:
        return processes.rank()

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return 0  # the position in the list of its devices, which has one

    def node_rank(self) -> int:
        return processes.node_rank()


def _reachable(node: str) -> str:
    """A name or address of a SLURM node that resolves here. SLURM may know a node by a name that DNS does not."""
    address = node
    if not _resolves(node):
        try:
            shown = subprocess.run(["scontrol", "show", "node", node], capture_output=True, text=True).stdout
        except FileNotFoundError:
            shown = ""
        address = next((word[9:] for word in shown.split() if word.startswith("NodeAddr=")), node)
    if not _resolves(address):
        raise ConfigError(f"the first node of this step, {node}, has no address known here; set MASTER_ADDR to one")
    return address


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True
