"""Builds the objects of a run from its configuration."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import Strategy
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from kiti.configuration.compose import Composed, build_model
from kiti.configuration.explain import ConfigError
from kiti.configuration.schema.optimizer_keys import TrainerKeys
from kiti.data.data_module import Data
from kiti.models.tied_weights import with_tied_names
from kiti.residual import ResidualFactory
from kiti.storage.processes import world_size
from kiti.storage.records import Record, RecordError
from kiti.storage.weights_file import WEIGHTS, require_own_weights
from kiti.tasks.task import Task
from kiti.training.callbacks.accumulation import Accumulation
from kiti.training.callbacks.cost import Cost
from kiti.training.callbacks.curves import Curves
from kiti.training.checkpoint_files import CheckpointFiles, Identity
from kiti.training.fully_sharded import FullySharded
from kiti.training.started_processes import StartedProcesses, own_device
from kiti.training.sync_batchnorm import SyncBatchNormInPlace


def data(composed: Composed) -> Data:
    return instantiate(composed.node.data)


def model(composed: Composed, residual: ResidualFactory | None = None) -> nn.Module:
    """The model with the configured residual at its seams, or with another one. ConfigError if it does not fit."""
    return build_model(composed, residual)


def task(composed: Composed, learner: nn.Module | None = None) -> Task:
    """The task around `learner`, by default the configured model."""
    node = composed.node
    collision = dict(node.collision)
    neurons = collision.pop("neurons", [])
    return instantiate(
        node.task,
        model=learner if learner is not None else model(composed),
        optimizer=instantiate(node.optimizer, _convert_="all"),
        scheduler=instantiate(node.scheduler) if "_target_" in node.scheduler else None,
        collision=instantiate(OmegaConf.create(collision)) if collision else None,
        neurons=list(neurons),
        seed=composed.seed,
        _recursive_=False,
        _convert_="all",
    )


def compile_model(composed: Composed, learner: Task) -> None:
    """With `compile=true`, let torch.compile trace the model at its first call; its `state_dict` stays as it is."""
    if composed.checked.compile:
        # Dynamic only where it has to be: with a dynamic batch size Inductor of torch 2.14 fails in ConvNeXt.
        learner.model.compile(dynamic=composed.checked.model.sizes_vary)
        # Callbacks add and remove hooks during training, which compiled code would not notice.
        torch._dynamo.config.skip_nnmodule_hook_guards = False


def trainer(composed: Composed) -> pl.Trainer:
    """A trainer over the processes that torchrun or srun started, or only this one; it does not start processes.

    Raises ConfigError if the global batch size is not divisible by their number, or something needs a GPU and there
    is none.
    """
    node, processes = composed.node, world_size()
    check_batch_size(composed)
    _check_device(composed.checked.trainer, processes)
    name = f"{composed.experiment}/{composed.hash}/seed-{composed.seed}"
    loggers = [instantiate(node.logger, run_dir=composed.run_dir, name=name)] if "_target_" in node.logger else []
    curves = Curves()
    # Before checkpointing, so that the last checkpoint contains the averaged network, as the record does.
    averaging = [instantiate(node.averaging)] if "_target_" in node.averaging else []
    built: pl.Trainer = instantiate(
        node.trainer,
        devices=own_device(composed.checked.trainer.accelerator),
        strategy=_strategy(composed.checked.trainer, processes),
        logger=[*loggers, curves.logger],
        callbacks=[Accumulation(), Cost(), curves, *averaging, *instantiate(node.callbacks).values()],
        plugins=[
            StartedProcesses() if processes > 1 else LightningEnvironment(),
            CheckpointFiles(Identity.of(composed)),
            *([SyncBatchNormInPlace()] if node.trainer.sync_batchnorm else []),
        ],
        default_root_dir=str(composed.run_dir),
        use_distributed_sampler=False,  # our loaders shard themselves, without padding
        # What FSDP2 gathers in inference mode could not be trained with afterwards.
        inference_mode=composed.checked.trainer.strategy != "fsdp2",
        enable_checkpointing=False,  # kiti.training.callbacks.checkpointing does it
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
    )
    # Lightning's handler of SIGTERM communicates with the other ranks, in the middle of what they communicate anyway.
    # kiti.storage.stop_signals handles all signals, and Checkpointing asks the ranks between two steps.
    built._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return built


def _strategy(keys: TrainerKeys, processes: int) -> Strategy | str:
    """One process has nothing to share, whatever the strategy."""
    if processes == 1:
        return "auto"
    return FullySharded(processes) if keys.strategy == "fsdp2" else "ddp"


def check_batch_size(composed: Composed) -> None:
    """ConfigError if the processes cannot share a batch equally."""
    if composed.checked.data.batch_size % world_size():
        raise ConfigError(
            f"data.batch_size={composed.checked.data.batch_size} is the batch over all processes "
            f"and is not divisible by {world_size()}; choose a multiple"
        )


def _check_device(keys: TrainerKeys, processes: int) -> None:
    """ConfigError if the accelerator, the precision or BatchNorm needs a GPU that is not there or not used.

    Lightning would train with bfloat16 on a CPU, under the hash of float16.
    """
    if keys.sync_batchnorm and processes > 1 and (keys.accelerator == "cpu" or not CUDAAccelerator.is_available()):
        raise ConfigError(
            "trainer.sync_batchnorm=true: torch synchronises BatchNorm on GPUs only; on a CPU train with one process"
        )
    if CUDAAccelerator.is_available() or MPSAccelerator.is_available():
        return
    if keys.accelerator == "gpu":
        raise ConfigError("trainer.accelerator=gpu: there is no GPU; choose auto or cpu")
    if keys.precision == "16-mixed":
        raise ConfigError("trainer.precision=16-mixed needs a GPU, and there is none; choose 32-true or bf16-mixed")


def load_weights(model: nn.Module, record: Record, run_dir: Path) -> None:
    """Load the weights of a finished run into `model`.

    Raises DamagedWeights if they are not those of the record, RecordError if they do not fit the model.
    """
    require_own_weights(record, run_dir)
    path = run_dir / WEIGHTS
    try:
        tensors = with_tied_names(model, load_file(path))
        own = model.state_dict()
    except (OSError, SafetensorError) as error:
        raise RecordError(f"weights {path}: {error}; run it again") from None
    differing = {
        "missing": [name for name in own if name not in tensors],
        "unexpected": [name for name in tensors if name not in own],
        "of another shape": [name for name in own if name in tensors and own[name].shape != tensors[name].shape],
    }
    if found := [f"{what}: {_few(names)}" for what, names in differing.items() if names]:
        raise RecordError(f"weights {path} do not fit the model ({'; '.join(found)}); the model has changed since")
    model.load_state_dict(tensors)


def quiet_trainer(composed: Composed, max_epochs: int | None = None, precision: Any = None) -> pl.Trainer:
    """A single-process trainer without files, for calibration and evaluation."""
    return pl.Trainer(
        precision=precision,
        max_epochs=max_epochs,
        accelerator=composed.checked.trainer.accelerator,
        devices=1,
        plugins=[LightningEnvironment()],
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def hush_lightning() -> None:
    """Silence Lightning's messages about devices, tips and loaders."""
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
