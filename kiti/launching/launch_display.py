"""Progress display of a launch: live on a terminal, one line per event elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@dataclass
class Plain:
    """One line per event, for logs and pipes."""

    console: Console
    total: int
    done: int = 0

    def __enter__(self) -> "Plain":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def started(self, name: str) -> None:
        self._say(f"started {name}")

    def ended(self, name: str, line: str) -> None:
        self.done += 1
        self._say(f"[{self.done}/{self.total}] {line}")

    def elsewhere(self, name: str) -> None:
        self._say(f"{name} is running elsewhere: waiting for it")

    def stopping(self, running: int) -> None:
        self._say(f"stopping: {running} run(s) are saving; once more to kill them")

    def update(self, statuses: Mapping[str, Mapping[str, Any]]) -> None:
        pass

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass
class Live:
    """A progress bar over all runs with the time left, and a line for each active run."""

    console: Console
    total: int
    done: int = 0
    tasks: dict[str, TaskID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            speed_estimate_period=600.0,
        )
        self.overall = self.progress.add_task("[bold]all runs", total=self.total, text=f"0/{self.total}")

    def __enter__(self) -> "Live":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def started(self, name: str) -> None:
        self.tasks[name] = self.progress.add_task(name, total=None, text="starting")

    def ended(self, name: str, line: str) -> None:
        self.done += 1
        self.progress.remove_task(self.tasks.pop(name))
        self.console.print(line, markup=False, highlight=False)

    def elsewhere(self, name: str) -> None:
        self.progress.remove_task(self.tasks.pop(name))
        self.console.print(f"{name} is running elsewhere: waiting for it", markup=False, highlight=False)

    def stopping(self, running: int) -> None:
        self.console.print(f"stopping: {running} run(s) are saving; once more to kill them")

    def update(self, statuses: Mapping[str, Mapping[str, Any]]) -> None:
        share = 0.0
        for name, status in statuses.items():
            state, step, total, loss = (status.get(key) for key in ("state", "step", "total", "loss"))
            if not state:
                continue
            text = state + (f" {step}/{total}" if total else "") + ("" if loss is None else f"  loss {loss:.3g}")
            self.progress.update(self.tasks[name], completed=step or 0, total=total or None, text=text)
            if state == "training" and total:
                share += (step or 0) / total
            elif state == "testing":
                share += 1
        self.progress.update(self.overall, completed=self.done + share, text=f"{self.done}/{self.total}")
