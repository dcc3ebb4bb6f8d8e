"""Progress reports of long-running data generation."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

Report = Callable[[int, int], None]
"""Called as report(done, total)."""

_SECONDS_BETWEEN_LINES = 15.0


@contextmanager
def progress_report(description: str) -> Iterator[Report]:
    """A progress bar on stderr if it is a terminal; otherwise an occasional line."""
    if not sys.stderr.isatty():
        yield _lines(description)
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(description: str) -> Report:
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{description}: {done} of {total}", file=sys.stderr, flush=True)

    return report
