"""Writes the record and the weights of a finished run."""

import math
from dataclasses import dataclass
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from pytorch_lightning import Callback, Trainer
from safetensors.torch import save_file

from kiti.configuration import identity
from kiti.configuration.compose import Composed
from kiti.configuration.locations import CHECKOUT
from kiti.data.data_module import Data
from kiti.models.tied_weights import stored_once
from kiti.storage import examples, records
from kiti.storage.run_dirs import finished
from kiti.storage.weights_file import WEIGHTS, sha256
from kiti.tasks.task import Task
from kiti.training.callbacks.collision_monitor import CollisionMonitor
from kiti.training.callbacks.cost import Cost
from kiti.training.callbacks.curves import Curves
from kiti.training.callbacks.similarity_monitor import SimilarityMonitor
from kiti.training.callbacks.throughput import Throughput
from kiti.training.counting import flops
from kiti.training.device import device_name, peak_memory_mib
from kiti.training.fully_sharded import whole

Kind = TypeVar("Kind", bound=Callback)
PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "transformers",
    "timm",
    "hydra-core",
    "numpy",
    "scipy",
    "numba",
    "triton",
    "kiti",
)


@dataclass(frozen=True)
class Code:
    """The code of a process, read when it starts, since files may change while it trains."""

    git: records.GitState
    fingerprint: dict[str, str]
    sources: dict[str, str]

    @classmethod
    def now(cls, composed: Composed) -> "Code":
        checked = composed.checked
        return cls(records.git_state(CHECKOUT), identity.fingerprint(checked), identity.sources(checked))


def record(composed: Composed, data: Data, task: Task, trainer: Trainer, code: Code) -> list[records.Record]:
    """Write `weights.safetensors`, the example and then `record.json` for every trained seed.

    The record comes last, so that the other files exist if it does. An existing record is left as it is. Every rank
    calls this, since the model may be sharded; rank 0 writes, and the others return no records.
    """
    similarity = _callback(trainer, SimilarityMonitor)
    weights = {name: tensor.contiguous() for name, tensor in whole(stored_once(task.model)).items()}
    measured = _measured(composed, data, task, trainer)
    if not trainer.is_global_zero:
        return []
    logged = {name: float(value) for name, value in trainer.logged_metrics.items()}
    common = _configured(composed, code) | measured
    written = []
    for replica, seed in enumerate(composed.seeds):
        run_dir = composed.run_dir_of(seed)
        if finished(run_dir):
            continue
        own = weights if task.replicas is None else {name: w[replica : replica + 1] for name, w in weights.items()}
        run_dir.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in own.items()}, run_dir / WEIGHTS)
        if example := {**task.example, **similarity.heatmaps(replica)}:
            examples.write({name: tensor.numpy() for name, tensor in example.items()}, run_dir / examples.FILE_NAME)
        divergence = task.divergences.get(replica)
        metrics = logged | task.of_replica[replica]
        if divergence:
            metrics = {name: value if task.outlives(name, divergence) else math.nan for name, value in metrics.items()}
        finite = all(map(math.isfinite, metrics.values()))
        overrides, places = identity.split_overrides(composed.checked, _overrides(seed, len(composed.seeds)))
        written.append(
            records.Record(
                seed=seed,
                overrides=overrides,
                places=places,
                data=data_state(data, replica),
                metrics=metrics,
                state="finished" if finite and not divergence else "diverged",
                divergence=divergence,
                weights=sha256(run_dir / WEIGHTS),
                **common,
            )
        )
        records.write(written[-1], run_dir)
    return written


def _configured(composed: Composed, code: Code) -> dict[str, Any]:
    return {
        "experiment": composed.experiment,
        "scale": composed.scale,
        "config_hash": composed.hash,
        "config": composed.config,
        "revisions": identity.revisions(composed.checked),
        "fingerprint": code.fingerprint,
        "sources": code.sources,
        "git": code.git,
        "lock": records.lock_digest(),
        "versions": records.package_versions(PACKAGES),
    }


def _measured(composed: Composed, data: Data, task: Task, trainer: Trainer) -> dict[str, Any]:
    """The values shared by all seeds that this process trained; seconds and operations are per seed."""
    clock, monitor = _callback(trainer, Cost), _callback(trainer, CollisionMonitor)
    device, together = trainer.strategy.root_device, len(composed.seeds)
    # Lightning has moved the task back to the CPU.
    sample = tuple(tensor[:1].to(task.device) for tensor in next(iter(data.test_dataloader())))
    sample = trainer.precision_plugin.convert_input(sample)
    seconds = clock.seconds / together
    tokens = _callback(trainer, Throughput).all_tokens()
    counts = {**data.counts, **({"modules_without_a_collision": silent} if (silent := monitor.silent()) else {})}
    return {
        "device": device.type,
        "device_name": device_name(device),
        "precision": str(trainer.precision),
        "dtype": str(next(task.model.parameters()).dtype).removeprefix("torch."),
        "world_size": trainer.world_size,
        "started": clock.started,
        "wall_seconds": seconds,
        "train_samples_per_second": clock.samples / seconds if seconds else None,
        "train_tokens_per_second": tokens / seconds if tokens and seconds else None,
        "peak_memory_mib": peak_memory_mib(device),
        "parameters": sum(p.numel() for p in task.model.parameters()) // together,
        "flops_per_sample": flops(task.model, lambda: task.call(sample)) // together,
        "collisions": monitor.collisions(),
        "counts": counts or None,
        "implementations": monitor.implementations(),
        "ko": monitor.ko(),
        "ko_pairs": monitor.ko_pairs(),
        # With replicas, logged values are means over all of them, not curves of a single one.
        "curves": _callback(trainer, Curves).curves() if together == 1 else None,
        "replicas": together,
    }


def data_state(data: Data, replica: int) -> records.DataState:
    """What a record says of the data of one of the seeds that are trained together."""
    fingerprint = data.fingerprint_of(replica)
    return records.DataState(
        content=fingerprint["content"],
        recipe=fingerprint.get("recipe"),
        split=", ".join(f"{name} {size}" for name, size in data.fingerprint["split"].items()),
        stand_in=data.stand_in,
    )


def _callback(trainer: Trainer, kind: type[Kind]) -> Kind:
    [found] = [c for c in trainer.callbacks if isinstance(c, kind)]  # type: ignore[attr-defined]  # set in a connector
    return found


def _overrides(seed: int, together: int) -> list[str]:
    """The overrides that start the run of this seed alone."""
    given = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    if together == 1:
        return given
    return [*(o for o in given if o.split("=")[0] not in {"seed", "replicas"}), f"seed={seed}"]
