"""The device of this process, by name, and the memory used there."""

import resource

import torch

from kiti.storage.processor import processor_name


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's and the number of torch's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {torch.get_num_threads()} threads"


def peak_memory_mib(device: torch.device) -> float:
    """Peak memory of the GPU, or of the process on a CPU (resident, including data and libraries)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
