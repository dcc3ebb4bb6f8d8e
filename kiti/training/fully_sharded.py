"""Training of a model that is sharded over the ranks (FSDP2), with checkpoints and weights like those of one process.

A checkpoint holds whole tensors under the same names as that of any other strategy, so that a run may go on with
another number of ranks, or without sharding.
"""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.optim import Optimizer

from kiti.ko.sharding import gathered, sharded_like
from kiti.models.tied_weights import tied_names
from kiti.storage.processes import rank
from kiti.training.checkpoint_files import CheckpointFiles


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy for FSDP2 over all ranks; the task shards its model in `configure_model`.

    Lightning's own way of saving does not use its CheckpointIO, and so neither our labels nor our checksums. Here rank
    0 writes whole tensors, which all ranks gather one at a time, with `CheckpointFiles`. When a run resumes, each rank
    maps the file into its memory and takes its parts.
    """

    # As with DDP, so that callbacks find the same order of hooks.
    restore_checkpoint_after_setup = False
    lightning_restore_optimizer = True

    def __init__(self, ranks: int) -> None:
        super().__init__(data_parallel_size=ranks, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        if self._device_mesh is None:  # Lightning calls this for the test too
            super().setup_environment()

    def lightning_module_state_dict(self) -> dict[str, Tensor]:
        assert self.lightning_module is not None
        return whole_state(self.lightning_module)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.lightning_module is not None
        own = self.lightning_module.state_dict()
        saved: dict[str, Tensor] = checkpoint["state_dict"]
        placed = {name: _part(tensor, own[name]) if name in own else tensor for name, tensor in saved.items()}
        self.lightning_module.load_state_dict(placed, strict=strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """As `optimizer.state_dict()` of one process; on other ranks than 0 its tensors are left out. Collective."""
        plain = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        state = plain.state_dict()
        kept = {index: whole(values) for index, values in state["state"].items()}
        return {"state": kept, "param_groups": state["param_groups"]}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state = {
                index: {key: _part(value, parameters[index]) for key, value in values.items()}
                for index, values in saved["state"].items()
            }
            optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        Strategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        files = self.checkpoint_io
        assert isinstance(files, CheckpointFiles)
        return files.mapped(checkpoint_path)


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state with whole tensors on the CPU, tied ones as one tensor; empty on other ranks than 0.

    Collective if the model is sharded.
    """
    tied = tied_names(model)
    state = model.state_dict()
    found = whole({name: tensor for name, tensor in state.items() if name not in tied})
    return {name: found[tied.get(name, name)] for name in state if tied.get(name, name) in found}


def whole(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, tensors whole and on the CPU; empty on other ranks than 0. Collective if any is sharded."""
    found = {}
    for name, value in values.items():
        kept = gathered(value.detach()).cpu() if isinstance(value, Tensor) else value
        if rank() == 0:
            found[name] = kept
    return found


def _part(value: Any, like: Tensor) -> Any:
    """This rank's part of a saved tensor that is as large as `like`; anything else as it is."""
    if not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    # Not a view of the file.
    return sharded_like(value.to(like.device), like).clone()
