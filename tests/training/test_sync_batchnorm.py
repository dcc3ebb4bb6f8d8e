"""trainer.sync_batchnorm: torch's SyncBatchNorm in models with hooks, and the refusal on CPUs."""

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.models.resnet import build_resnet
from kiti.residual import KITIResidual
from kiti.training import building
from kiti.training.sync_batchnorm import SyncBatchNormInPlace

RUN = ["experiment=fashion_kitinet", "scale=smoke", "residual=kiti", "trainer.sync_batchnorm=true"]


def hooks(model: nn.Module) -> dict[str, int]:
    return {name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in model.named_modules()}


def test_every_batch_norm_is_synchronised_and_keeps_its_hooks() -> None:
    model = build_resnet(18, width=0.125, residual=lambda: KITIResidual(2, 0.9), drop_path=0.5)
    norms = {name: m for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    before, keys, sync = hooks(model), list(model.state_dict()), SyncBatchNormInPlace()
    assert any(before[name] for name in norms)
    images = torch.rand(2, 3, 32, 32)
    expected = model.eval()(images)
    assert sync.apply(model) is model
    assert all(type(model.get_submodule(name)) is nn.SyncBatchNorm for name in norms)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert hooks(model) == before
    assert list(model.state_dict()) == keys
    assert torch.equal(model(images), expected)
    sync.revert(model)
    assert {name: m for name, m in model.named_modules() if type(m) is nn.BatchNorm2d} == norms
    assert torch.equal(model(images), expected)


def test_another_kind_of_batch_norm_is_named() -> None:
    class Mine(nn.BatchNorm1d):
        pass

    with pytest.raises(TypeError, match=r"cannot synchronise 1, a Mine"):
        SyncBatchNormInPlace().apply(nn.Sequential(nn.Linear(2, 2), Mine(2)))


def test_it_is_refused_on_several_processes_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = compose([*RUN, "trainer.accelerator=cpu"])
    assert isinstance(building.trainer(composed), Trainer)  # one process has nothing to synchronise
    monkeypatch.setattr(building, "world_size", lambda: 2)
    with pytest.raises(ConfigError, match=r"^trainer\.sync_batchnorm=true: torch .* on GPUs only") as error:
        building.trainer(composed)
    assert "\n" not in str(error.value)


def test_only_synchronised_runs_have_another_hash() -> None:
    plain, off, on = (compose([*RUN[:3], *more]) for more in ([], ["trainer.sync_batchnorm=false"], RUN[3:]))
    assert plain.hash == off.hash != on.hash
