"""What the trainer refuses before the first step."""

from pathlib import Path

import pytest
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator

from kiti.cli.train_command import train
from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.data.in_memory_keys import InMemoryKeys
from kiti.training import building

RUN = ["experiment=burgers", "scale=smoke"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.precision=16-mixed", "trainer.precision=16-mixed needs a GPU, and there is none"),
        ("trainer.accelerator=gpu", "trainer.accelerator=gpu: there is no GPU"),
    ],
)
def test_what_needs_a_gpu_is_refused_without_one(
    override: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (CUDAAccelerator, MPSAccelerator):
        monkeypatch.setattr(kind, "is_available", staticmethod(lambda: False))
    with pytest.raises(ConfigError) as error:
        building.trainer(compose([*RUN, override, f"runs_dir={tmp_path}"]))
    assert message in str(error.value)


def test_accumulation_longer_than_an_epoch_is_refused_when_only_the_data_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InMemoryKeys, "batches_per_epoch", None)
    run = [*RUN, f"runs_dir={tmp_path}", f"data_dir={tmp_path}"]
    composed = compose([*run, "trainer.accumulate_grad_batches=3"])
    with pytest.raises(ConfigError, match=r"accumulate_grad_batches=3: an epoch has 2 batches; choose at most that ma"):
        train(composed)
    assert [path.name for path in composed.run_dir.rglob("*") if path.is_file()] == ["status.json"]
    train(compose([*run, "trainer.accumulate_grad_batches=2"]))
