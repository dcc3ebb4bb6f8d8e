"""How the members of a sweep ended: a file for each, and a table of them all."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from kiti.storage import records
from kiti.storage.exit_status import ExitStatus

# The metric that a table shows: the first of these that the record has, else the first of its test set.
_METRICS = ("test/accuracy", "test/relative_l2", "test/momentum_rmse", "test/mse")
_STATES = {
    ExitStatus.FINISHED: "finished",
    ExitStatus.DIVERGED: "diverged",
    ExitStatus.LOCKED: "running elsewhere",
    ExitStatus.STOPPED: "stopped",
    ExitStatus.BAD_INPUT: "bad input",
    ExitStatus.FAILED: "failed",
}
_MEANING = {
    ExitStatus.DIVERGED: "recorded, but a metric is not finite",
    ExitStatus.LOCKED: "another process has this run",
    ExitStatus.STOPPED: "the same command goes on with it",
}


@dataclass
class Member:
    """One of a sweep's runs; `status` is None until it has ended, and stays so if what waits for it dies."""

    number: int
    overrides: list[str]
    status: ExitStatus | None = None
    reason: str = ""
    seconds: float = 0.0
    log: Path | None = None
    run_dirs: list[Path] = field(default_factory=list)

    @property
    def state(self) -> str:
        return _STATES[self.status] if self.status is not None else "lost"

    def label(self, keys: tuple[str, ...]) -> str:
        """The overrides of these keys; all, if it has none of them."""
        chosen = [one for one in self.overrides if one.partition("=")[0].lstrip("+") in keys]
        return " ".join(chosen or self.overrides)

    @property
    def metric(self) -> tuple[str, float] | None:
        """The name and value of its metric, averaged over seeds trained side by side; None without a record."""
        paths = [path / records.FILE_NAME for path in self.run_dirs]
        if self.status not in (ExitStatus.FINISHED, ExitStatus.DIVERGED) or not all(path.exists() for path in paths):
            return None
        found = [records.read(path).metrics for path in paths]
        names = [*_METRICS, *sorted(key for key in found[0] if key.startswith("test/")), *sorted(found[0])]
        name = next((name for name in names if name in found[0]), None) if found else None
        return (name, sum(metrics[name] for metrics in found) / len(found)) if name else None

    @property
    def value(self) -> float | None:
        return self.metric[1] if self.metric else None

    @property
    def outcome(self) -> str:
        """What a line about it ends with: the metric, or why there is none."""
        if self.metric:
            return f": {self.metric[0]} {self.metric[1]:.6g}"
        return f": {self.reason}" if self.reason else ""


def write(member: Member, folder: Path) -> None:
    records.write_whole(folder / f"{member.number}.json", json.dumps(asdict(member), default=str).encode())


def read(path: Path) -> Member:
    """Raises ValueError if it is no member's file; they are written whole."""
    found: dict[str, Any] = json.loads(path.read_bytes())
    found["status"] = None if found["status"] is None else ExitStatus(found["status"])
    found["log"] = found["log"] and Path(found["log"])
    found["run_dirs"] = [Path(one) for one in found["run_dirs"]]
    return Member(**found)


def show(members: list[Member], swept: tuple[str, ...], out: Console, errors: Console) -> None:
    """A table of all on `out`, at most 80 columns wide; a line for each that has no record on `errors`."""
    if not members:
        return
    common = [one for one in members[0].overrides if all(one in member.overrides for member in members)]
    names = {member.metric[0] for member in members if member.metric}
    [name] = names if len(names) == 1 else [""]
    table = Table(box=box.SIMPLE, width=min(80, out.width), title=" ".join(common), title_justify="left")
    table.add_column("overrides", overflow="fold", ratio=1)
    table.add_column(name or "metric", justify="right")
    table.add_column("state")
    for member in members:
        own = [one for one in member.overrides if one not in common]
        metric = member.metric
        shown = "" if metric is None else f"{metric[1]:.6g}" if name else f"{metric[0]} {metric[1]:.6g}"
        state = "not started" if member.reason == "not started" else member.state
        table.add_row(_plain(" ".join(own) or member.label(swept)), shown, state)
    out.print(table, highlight=False)
    for member in members:
        if member.status == ExitStatus.FINISHED or member.reason == "not started":
            continue
        reason = member.reason or ("no word of how it ended; it may be running still" if member.status is None else "")
        reason = reason or (_MEANING.get(member.status, "") if member.status is not None else "")
        log = f" (log: {member.log})" if member.log else ""
        line = f"{member.state}: {' '.join(member.overrides)}: {reason}{log}"
        errors.print(line, markup=False, highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
