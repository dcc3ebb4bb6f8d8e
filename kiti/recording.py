"""From a finished run to its record and its weights."""

from hydra.core.hydra_config import HydraConfig
from pytorch_lightning import Callback, Trainer
from safetensors.torch import save_file

from kiti import cost, examples, records
from kiti.config import ROOT, Composed
from kiti.data.in_memory import InMemoryData
from kiti.diagnostics import CollisionMonitor
from kiti.tasks.base import Task

WEIGHTS = "weights.safetensors"
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


def record(composed: Composed, data: InMemoryData, task: Task, trainer: Trainer) -> records.Record:
    """Write `weights.safetensors`, the example, then `record.json`: who finds the record finds the others."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it in a connector
    [clock] = [c for c in callbacks if isinstance(c, cost.Cost)]
    [monitor] = [c for c in callbacks if isinstance(c, CollisionMonitor)]
    metrics = {name: float(value) for name, value in trainer.logged_metrics.items()}
    device = task.device
    sample = tuple(tensor[:1].to(device) for tensor in next(iter(data.test_dataloader())))
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in task.model.state_dict().items()}
    save_file(weights, composed.run_dir / WEIGHTS)
    if task.example:
        examples.write({name: tensor.numpy() for name, tensor in task.example.items()}, composed.run_dir)
    made = records.Record(
        experiment=composed.experiment,
        scale=composed.scale,
        seed=composed.seed,
        config_hash=composed.hash,
        config=composed.config,
        overrides=list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else [],
        git=records.git_state(ROOT),
        versions=records.package_versions(PACKAGES),
        data=records.DataState(
            content=data.fingerprint["content"],
            recipe=data.fingerprint.get("recipe"),
            split=", ".join(f"{name} {size}" for name, size in data.fingerprint["split"].items()),
            stand_in=data.stand_in,
        ),
        device=device.type,
        device_name=cost.device_name(device),
        precision=str(trainer.precision),
        world_size=trainer.world_size,
        started=clock.started,
        wall_seconds=clock.seconds,
        train_samples_per_second=clock.samples / clock.seconds if clock.seconds else None,
        peak_memory_mib=cost.peak_memory_mib(device),
        parameters=sum(p.numel() for p in task.model.parameters()),
        flops_per_sample=cost.flops(task.model, *task.inputs(sample)),
        metrics=metrics,
        collisions=monitor.collisions(),
        implementations=monitor.implementations(),
        ko=monitor.ko(),
    )
    records.write(made, composed.run_dir)
    return made
