"""The device of this process, by name, and the memory used there."""

import platform
import resource
from pathlib import Path

import torch


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's and the number of torch's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {torch.get_num_threads()} threads"


def of_this_machine(name: str) -> bool:
    """Whether a record's `device_name` is a GPU or the processor here, with whatever number of threads."""
    here = {device_name(torch.device("cpu")).rpartition(", ")[0]}
    here |= {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    return name in here or name.rpartition(", ")[0] in here


def peak_memory_mib(device: torch.device) -> float:
    """Peak memory of the GPU, or of the process on a CPU (resident, including data and libraries)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
