"""The names of this machine's processor and GPUs, as records have them. Without torch."""

import platform
import subprocess
from pathlib import Path
from shutil import which


def processor_name() -> str:
    """As Linux gives it; elsewhere its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def this_machine() -> set[str]:
    """The processor and the GPUs here; a GPU's name is the same for its driver and for torch."""
    names = {processor_name()}
    if which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        names |= {line.strip() for line in asked.stdout.splitlines() if asked.returncode == 0}
    return names
