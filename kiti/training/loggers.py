"""Loggers. Each function returns a Lightning logger that writes below the run's directory."""

import os
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger


def _part(folder: Path) -> str:
    """part-0, part-1, …: a resumed run writes a new part and overwrites nothing."""
    return f"part-{len(list(folder.glob('part-*')))}"


def csv(run_dir: Path, name: str) -> Logger:
    """`<run_dir>/csv/part-<n>/metrics.csv`."""
    return CSVLogger(run_dir, name="csv", version=_part(run_dir / "csv"), flush_logs_every_n_steps=200)


def tensorboard(run_dir: Path, name: str) -> Logger:
    """`<run_dir>/tensorboard/part-<n>/`. Needs the extra `tensorboard`."""
    return TensorBoardLogger(run_dir, name="tensorboard", version=_part(run_dir / "tensorboard"))


def wandb(run_dir: Path, name: str, project: str, entity: str | None) -> Logger:
    """`<run_dir>/wandb/`, uploaded if there is an API key, otherwise kept offline for `wandb sync`."""
    offline = not (os.environ.get("WANDB_API_KEY") or (Path.home() / ".netrc").exists())
    return WandbLogger(
        name=name,
        id=name.replace("/", "-"),
        save_dir=run_dir,
        project=project,
        entity=entity,
        offline=offline,
    )
