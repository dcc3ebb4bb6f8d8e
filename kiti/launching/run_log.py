"""The log of a run that is started for a table or a sweep: appended by each attempt."""

import os
from collections.abc import Sequence
from pathlib import Path

from kiti.configuration.compose import Composed

_TAIL_BYTES = 16384


def name_of(composed: Composed, seeds: range) -> str:
    """The name of the process that trains `seeds`, and of its log."""
    name = f"{composed.experiment}-{composed.hash}-seed-{seeds.start}"
    return f"{name}-to-{seeds[-1]}" if len(seeds) > 1 else name


def begin(log: Path, command: Sequence[str]) -> int:
    """Write the command, of `python`, into the log, and return where its output begins."""
    log.parent.mkdir(parents=True, exist_ok=True)
    # Append, never truncate: if the run is already running elsewhere, it is writing this log.
    with log.open("ab") as file:
        file.write(f"$ python {' '.join(command)}\n".encode())
        return file.tell()


def last_line(log: Path, start: int) -> str:
    """The last line with text from `start` on; empty if there is none."""
    with log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(start, end - _TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
